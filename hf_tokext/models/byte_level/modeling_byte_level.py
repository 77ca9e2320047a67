"""A causal LM over tokens as a causal LM over bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.models.byte_level.byte_cache import ByteCache
from hf_tokext.models.byte_level.byte_model import ByteModel
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.configuration_byte_level import ByteLevelConfig
from hf_tokext.models.byte_level.covers import Covers
from hf_tokext.models.byte_level.ids import BYTES

BASE_TOKENIZER = "base_tokenizer"  # the folder in a checkpoint


class ByteLevelForCausalLM(ByteModel):
    """Any causal LM over tokens, read one byte at a time, with the probabilities that its tokens give.

    Ids 0 to 255 are bytes, markers follow; `logits` are log probabilities under the measure of the config, and add up
    to one. For inference only. `byteify` makes one, with its tokenizer.

    Args:
        config: the configuration.

    Source: Phan et al., Exact Byte-Level Probabilities from Tokenized Language Models (arXiv 2410.09303); Hayase et al.,
        Sampling from Your Language Model One Byte at a Time (arXiv 2506.14123); Vieira et al. (arXiv 2412.03719).
    """

    config_class = ByteLevelConfig
    config: ByteLevelConfig
    base_model_prefix = "base"

    def __init__(self, config: ByteLevelConfig) -> None:
        super().__init__(config)
        self.base = AutoModelForCausalLM.from_config(config.base_config)
        self.base_tokenizer: Any = None
        self._view: ByteView | None = None
        self.post_init()

    def base_tokenizers(self) -> dict[str, Any]:
        """Give the base's tokenizer by its folder in a checkpoint; None where it is unknown."""
        return {BASE_TOKENIZER: self.base_tokenizer}

    def _bases(self) -> dict[str, Any]:
        return {BASE_TOKENIZER: self.base}

    def _take_tokenizers(self, tokenizers: dict[str, Any]) -> None:
        self.set_base_tokenizer(tokenizers[BASE_TOKENIZER])

    def set_base_tokenizer(self, tokenizer: Any) -> None:
        """Say which tokenizer the base has; `byteify` and `from_pretrained` do.

        Args:
            tokenizer: a transformers tokenizer that is backed by a tokenizer.json.
        """
        self.base_tokenizer, self._view = tokenizer, None

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        """Move or cast the model; what it has run lies where it was, in the numbers that it had."""
        self._view = None
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles begin anew: what was run belongs to the texts that are being read."""
        return {**self.__dict__, "_view": None}

    @property
    def view(self) -> ByteView:
        """The base's bytes; made when first asked for, with the weights in place, and anew when the config is changed."""
        config = self.config
        if self._view is None or (self._view.measure, self._view.tolerance) != (config.measure, config.tolerance):
            if self.base_tokenizer is None:
                raise UnsupportedModelError("the base's tokenizer is unknown; make this model with hf_tokext.byteify")
            self._view = ByteView(self.base, self.base_tokenizer, config.measure, config.tolerance)
        return self._view

    def get_input_embeddings(self) -> nn.Module:
        """Give the embedding of the base's tokens."""
        return self.base.get_input_embeddings()

    @property
    def _logits_dtype(self) -> torch.dtype:
        return torch.float64 if self.base.dtype == torch.float64 else torch.float32

    def _new_cache(self) -> ByteCache:
        return ByteCache()

    def _read(self, cache: Any, ids: np.ndarray, seen: np.ndarray, kept: int) -> np.ndarray:
        self._begin(cache, ids)
        read = np.stack([self._places(*row) for row in zip(cache.texts, ids, seen, strict=True)])
        found = self.read(cache, ids, read, kept)
        for text in cache.texts:
            if not text.heads:
                raise TextError(
                    f"the text that ends with {text.text[-20:]!r} has no probability under the measure {self.config.measure}"
                )
        return found

    def read(self, cache: ByteCache, ids: np.ndarray, seen: np.ndarray, kept: int) -> np.ndarray:
        """Read on; a text without probability is no error here, and padding is read like all else that is seen.

        Args:
            cache: what stands before; it is read on.
            ids: [B, T] ids.
            seen: [B, T] bool, whether each is read.
            kept: how many last places are asked for.

        Returns:
            Log probabilities of what comes after each, [B, kept, 256 + markers] in float64: zeros where nothing is read,
            but at the last place what comes after all that is; minus infinity where the text has no probability.

        Raises:
            TextError: an id is outside of the vocabulary, or a text is longer than the base's context.
            UnsupportedModelError: the cache is of other rows or of another model.
        """
        self._begin(cache, ids)
        events = [self._events(row[places]) for row, places in zip(ids, seen, strict=True)]
        every = kept > 1
        readings = self.view.read(cache.texts, events, every)
        found = np.zeros((len(ids), kept, self.config.vocab_size))
        for row, text, reading, places in zip(found, cache.texts, readings, seen[:, -kept:], strict=True):
            if every and places.any():
                row[places] = self.columns(reading.events[-places.sum() :])  # type: ignore[index]
            if not every or not places[-1]:
                row[-1] = self.columns(text.events()[None])[0]
        return found

    def _begin(self, cache: ByteCache, ids: np.ndarray) -> None:
        """Begin the texts of an empty cache, and check what is to be read with it."""
        if not cache.texts:
            cache.texts = self.view.texts(len(ids))
        if len(cache.texts) != len(ids) or cache.texts[0].base is not self.view.base:
            raise UnsupportedModelError(
                f"a cache of {len(cache.texts)} rows does not go with {len(ids)}, nor one of another model, or of this one "
                "before it was moved or its measure changed, with this; begin with a new one"
            )
        self.check_ids(ids)

    def _places(self, text: Covers, ids: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Where the ids of a row are read, [T] bool: not what is masked, nor padding.

        Padding that the base has a token for may stand in a text. It is read there, but not after an end of sequence:
        generate fills up the rows that have ended.
        """
        pad, ends = self.config.pad_token_id, self.config.end_ids
        found = seen.copy()
        if pad is None or pad not in ids:
            return found
        never = self._marker_events[pad - BYTES] < 0
        events = self._marker_events[np.array(ends) - BYTES]
        bases = self.view.base.marker_ids[events[events >= 0] - BYTES]
        ended = bool(text.heads) and not text.text and text.heads[0].context.token in bases
        for at in np.flatnonzero(seen).tolist():
            found[at] = ids[at] != pad or not (never or ended)
            ended = ids[at] in ends or (ended and not found[at])
        return found

    def _events(self, ids: np.ndarray) -> list[int]:
        """Events of the view for ids of this model."""
        events = np.where(ids < BYTES, ids, self._marker_events[np.maximum(ids - BYTES, 0)])
        if (events < 0).any():
            marker = (self.config.markers or [])[int(ids[events < 0][0]) - BYTES]
            raise TextError(f"the base has no token for the marker {marker!r}; mask it out, or leave it out")
        return events.tolist()

    @property
    def _marker_events(self) -> np.ndarray:
        """Event of each marker, or -1 where the base has no token for it; [markers], and one more for none."""
        event = {text: BYTES + at for at, text in enumerate(self.view.base.marker_texts)}
        return np.array([*(event.get(text, -1) for text in self.config.markers or ()), -1])

    def ids_of(self, events: Sequence[int]) -> list[int]:
        """Ids of this model for events of its view.

        Args:
            events: bytes, and from 256 on the base's markers in the order of their ids.

        Returns:
            The ids.
        """
        ids = {event: BYTES + at for at, event in enumerate(self._marker_events.tolist())}
        return [event if event < BYTES else ids[event] for event in events]

    def columns(self, events: np.ndarray) -> np.ndarray:
        """Put log probabilities of the view's events in the order of this model's ids.

        Args:
            events: [n, 256 + the base's markers].

        Returns:
            [n, 256 + markers], minus infinity for markers that the base has no token for.
        """
        lacking = np.full((len(events), 1), -np.inf)
        return np.concatenate([events, lacking], axis=1)[:, [*range(BYTES), *self._marker_events[:-1]]]
