"""A causal LM over tokens as a causal LM over bytes."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from hf_tokext.errors import CheckpointError, TextError, UnsupportedModelError
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.models.byte_level.byte_cache import ByteCache
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.configuration_byte_level import ByteLevelConfig
from hf_tokext.models.byte_level.ids import BYTES

BASE_TOKENIZER = "base_tokenizer"  # the folder in a checkpoint
HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "proxies")


class ByteLevelForCausalLM(InstalledCode, PreTrainedModel, GenerationMixin):
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
    supports_gradient_checkpointing = False
    _supports_sdpa = True
    _supports_attention_backend = True
    model_tags = ["hf_tokext"]

    def __init__(self, config: ByteLevelConfig) -> None:
        super().__init__(config)
        self.base = AutoModelForCausalLM.from_config(config.base_config)
        self.base_tokenizer: Any = None
        self._view: ByteView | None = None
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint, with the base's tokenizer that lies in its folder `base_tokenizer`.

        Args:
            pretrained_model_name_or_path: a folder or Hub id.
            *args: as upstream.
            **kwargs: as upstream; revision, token, subfolder and cache_dir hold for the tokenizer too.

        Returns:
            The model; with `output_loading_info=True` also what was loaded.

        Raises:
            CheckpointError: the base's tokenizer is missing or cannot be loaded.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        hub = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
        subfolder = str(PurePosixPath(kwargs.get("subfolder") or "", BASE_TOKENIZER))
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                pretrained_model_name_or_path, subfolder=subfolder, trust_remote_code=False, **hub
            )
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{pretrained_model_name_or_path} has no tokenizer of its base in {subfolder}/, without which bytes have "
                f"no probabilities; save the model anew with save_pretrained ({error})"
            ) from error
        model.set_base_tokenizer(tokenizer)
        return loaded

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Save the model and the base's tokenizer.

        Args:
            save_directory: the folder.
            *args: as upstream.
            **kwargs: as upstream.
        """
        if self.base_tokenizer is not None:
            self.base_tokenizer.save_pretrained(Path(save_directory) / BASE_TOKENIZER)
        super().save_pretrained(save_directory, *args, **kwargs)

    def set_base_tokenizer(self, tokenizer: Any) -> None:
        """Say which tokenizer the base has; `byteify` and `from_pretrained` do.

        Args:
            tokenizer: a transformers tokenizer that is backed by a tokenizer.json.
        """
        self.base_tokenizer, self._view = tokenizer, None

    @property
    def view(self) -> ByteView:
        """The base's bytes; made when first asked for, with the weights in place."""
        if self._view is None:
            if self.base_tokenizer is None:
                raise UnsupportedModelError("the base's tokenizer is unknown; make this model with hf_tokext.byteify")
            config = self.config
            self._view = ByteView(self.base, self.base_tokenizer, config.measure, config.tolerance)
        return self._view

    def get_input_embeddings(self) -> nn.Module:
        """Give the embedding of the base's tokens."""
        return self.base.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Refuse: the vocabulary is that of the base."""
        raise UnsupportedModelError("bytes have no embeddings; change the base's, and byteify it anew")

    def get_output_embeddings(self) -> None:
        """Give None: probabilities of bytes are sums over tokens."""

    def resize_token_embeddings(  # type: ignore[override]
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """Refuse another size.

        Args:
            new_num_tokens: size, or None for the present one.
            pad_to_multiple_of: must be None, or divide the size.
            mean_resizing: as upstream.

        Returns:
            The base's input embeddings.

        Raises:
            UnsupportedModelError: another size is asked for.
        """
        size = self.config.vocab_size
        wanted = size if new_num_tokens is None else new_num_tokens
        if wanted != size or (pad_to_multiple_of is not None and size % pad_to_multiple_of):
            raise UnsupportedModelError(
                f"the vocabulary is 256 bytes and the {size - BYTES} markers of the base; add tokens to the base and byteify "
                "it anew"
            )
        return self.get_input_embeddings()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: ByteCache | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Read bytes and markers.

        Args:
            input_ids: [B, T] ids, those that follow what `past_key_values` holds.
            attention_mask: [B, past + T], 1 where an id is read; None reads all.
            past_key_values: cache of earlier ids.
            labels: must be None.
            use_cache: return the cache.
            logits_to_keep: how many last places get logits; 0 is all.
            **kwargs: taken for compatibility.

        Returns:
            Log probabilities of what comes after each place, [B, T, 256 + markers]; zeros where nothing is read.

        Raises:
            UnsupportedModelError: it is asked to train, or to start from embeddings.
            TextError: an id is outside of the vocabulary, a text is longer than the base's context, or has no
                probability under the measure.
        """
        if labels is not None or self.training:
            raise UnsupportedModelError(
                "ByteLevelForCausalLM is for inference: train the base, whose probabilities these are, and byteify it; "
                "score_bytes gives the log probabilities of texts, and model.eval() leaves training mode"
            )
        if input_ids is None:
            raise UnsupportedModelError("bytes have no embeddings; give input_ids, not inputs_embeds")
        cache = past_key_values if isinstance(past_key_values, ByteCache) else ByteCache()
        rows, columns = input_ids.shape
        if not columns:
            raise TextError("the prompt is empty: begin with the bos marker, or leave input_ids out of generate")
        if not cache.texts:
            cache.texts = self.view.texts(rows)
        seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask[:, -columns:]
        kept = min(logits_to_keep or columns, columns)
        logits = self._read(cache, input_ids.cpu().numpy(), seen.cpu().numpy().astype(bool), kept)
        cache.length += columns
        return CausalLMOutputWithPast(
            logits=logits.to(input_ids.device),  # type: ignore[arg-type]
            past_key_values=cache if use_cache or past_key_values is not None else None,
        )

    def _read(self, cache: ByteCache, ids: np.ndarray, seen: np.ndarray, kept: int) -> torch.Tensor:
        events = [self._events(row[mask]) for row, mask in zip(ids, seen, strict=True)]
        every = kept > 1
        readings = self.view.read(cache.texts, events, every)
        found = np.zeros((len(ids), kept, self.config.vocab_size))
        for row, text, reading, mask in zip(found, cache.texts, readings, seen, strict=True):
            if not text.heads:
                raise TextError(
                    f"the text that ends with {text.text[-20:]!r} has no probability under the measure {self.config.measure}"
                )
            after = reading.events if every and reading.events is not None else text.events()[None]
            places = np.flatnonzero(mask[-kept:])[-len(after) :]
            row[places] = self._columns(after)[-len(places) :] if len(places) else 0
        return torch.from_numpy(found).to(torch.float64 if self.base.dtype == torch.float64 else torch.float32)

    def _events(self, ids: np.ndarray) -> list[int]:
        """Events of the view for ids of this model; generate fills ended rows with padding, which is none."""
        if len(ids) and not (ids.min() >= 0 and ids.max() < self.config.vocab_size):
            wrong = next(int(index) for index in ids if not 0 <= index < self.config.vocab_size)
            raise TextError(f"id {wrong} is neither a byte (0 to 255) nor a marker (to {self.config.vocab_size - 1})")
        events = np.where(ids < BYTES, ids, self._marker_events[np.maximum(ids - BYTES, 0)])
        padding = (events < 0) & (ids == self.config.pad_token_id)
        ids, events = ids[~padding], events[~padding]
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

    def _columns(self, events: np.ndarray) -> np.ndarray:
        """Log probabilities of this model's ids, [n, 256 + markers], for those of the view's events."""
        lacking = np.full((len(events), 1), -np.inf)
        return np.concatenate([events, lacking], axis=1)[:, [*range(BYTES), *self._marker_events[:-1]]]

    def _prepare_cache_for_generation(  # type: ignore[override]
        self, generation_config: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        if generation_config.cache_implementation is not None:
            raise UnsupportedModelError(
                f"cache_implementation={generation_config.cache_implementation!r} is for keys and values; bytes have a "
                "cache of their own, so leave it out"
            )
        if model_kwargs.get("past_key_values") is None and generation_config.use_cache is not False:
            model_kwargs["past_key_values"] = ByteCache()
