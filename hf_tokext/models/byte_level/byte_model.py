"""What causal LMs over bytes share, whether one model of tokens stands behind them or several."""

from abc import abstractmethod
from contextlib import suppress
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoTokenizer, GenerationConfig, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from hf_tokext.errors import CheckpointError, TextError, UnsupportedModelError
from hf_tokext.models.blocks.fixed_vocabulary import FixedVocabulary
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.models.byte_level.byte_cache import ByteCache
from hf_tokext.models.byte_level.ids import BYTES

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "proxies")


class ByteModel(InstalledCode, FixedVocabulary, GenerationMixin):
    """A causal LM over bytes and markers that rests on models of tokens; for inference only.

    A class of it says what its tokenizers are and in which folders of a checkpoint they lie, and reads.
    """

    supports_gradient_checkpointing = False
    _supports_sdpa = True
    _supports_attention_backend = True
    _is_stateful = True  # texts are not taken back, so that transformers refuses to draft ahead
    model_tags = ["hf_tokext"]

    @abstractmethod
    def base_tokenizers(self) -> dict[str, Any]:
        """Give the tokenizers of the models of tokens by their folders in a checkpoint; None for one that is unknown."""

    @abstractmethod
    def _bases(self) -> dict[str, Any]:
        """The models of tokens, by the same folders."""

    @abstractmethod
    def _take_tokenizers(self, tokenizers: dict[str, Any]) -> None:
        """Take what `base_tokenizers` gives."""

    @abstractmethod
    def _new_cache(self) -> ByteCache:
        """Make a cache of nothing."""

    @abstractmethod
    def _read(self, cache: Any, ids: np.ndarray, seen: np.ndarray, kept: int) -> np.ndarray:
        """Read [B, T] ids where `seen`; log probabilities after the last `kept` places, [B, kept, ids], or an error."""

    @property
    @abstractmethod
    def _logits_dtype(self) -> torch.dtype:
        """Float64 where the models of tokens are, else float32."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint, with the tokenizers of its models of tokens that lie in folders of their own.

        Args:
            pretrained_model_name_or_path: a folder or Hub id.
            *args: as upstream.
            **kwargs: as upstream; revision, token, subfolder and cache_dir hold for the tokenizers too.

        Returns:
            The model; with `output_loading_info=True` also what was loaded.

        Raises:
            CheckpointError: a tokenizer is missing or cannot be loaded.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        hub = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
        tokenizers, bases = {}, model._bases()
        for folder in model.base_tokenizers():
            subfolder = str(PurePosixPath(kwargs.get("subfolder") or "", folder))
            try:
                tokenizers[folder] = AutoTokenizer.from_pretrained(
                    pretrained_model_name_or_path, subfolder=subfolder, trust_remote_code=False, **hub
                )
            except (OSError, ValueError, KeyError) as error:
                raise CheckpointError(
                    f"{pretrained_model_name_or_path} has no tokenizer of its base in {subfolder}/, without which bytes "
                    f"have no probabilities; save the model anew with save_pretrained ({error})"
                ) from error
            with suppress(OSError):  # a base may have none, and so may what was saved before bases kept theirs
                bases[folder].generation_config = _generation(pretrained_model_name_or_path, subfolder, hub)
        model._take_tokenizers(tokenizers)
        return loaded

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Save the model, and the tokenizers and ways of generating of its models of tokens.

        Args:
            save_directory: the folder.
            *args: as upstream.
            **kwargs: as upstream.
        """
        for folder, tokenizer in self.base_tokenizers().items():
            if tokenizer is not None:
                tokenizer.save_pretrained(Path(save_directory) / folder)
        for folder, base in self._bases().items():  # which `complete` goes by where the base itself goes on
            if base.generation_config is not None:
                base.generation_config.save_pretrained(Path(save_directory) / folder)
        super().save_pretrained(save_directory, *args, **kwargs)

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Refuse: the vocabulary is that of the base."""
        raise UnsupportedModelError("bytes have no embeddings; change the base's, and byteify it anew")

    def get_output_embeddings(self) -> None:
        """Give None: probabilities of bytes are sums over tokens."""

    def _fixed_as(self) -> str:
        size: Any = self.config.vocab_size
        return (
            f"the vocabulary is 256 bytes and the {size - BYTES} markers of the base; add tokens to the base and byteify "
            "it anew"
        )

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
            UnsupportedModelError: it is asked to train, to start from embeddings, or to go on from another kind of cache.
            TextError: an id is outside of the vocabulary, a text is longer than the base's context, or has no
                probability under the measure.
        """
        if labels is not None or self.training:
            raise UnsupportedModelError(
                f"{type(self).__name__} is for inference: train the base, whose probabilities these are, and byteify it; "
                "score_bytes gives the log probabilities of texts, and model.eval() leaves training mode"
            )
        if input_ids is None:
            raise UnsupportedModelError("bytes have no embeddings; give input_ids, not inputs_embeds")
        own = self._new_cache()
        if past_key_values is not None and type(past_key_values) is not type(own):
            raise UnsupportedModelError(
                f"past_key_values is a {type(past_key_values).__name__}, and this model has a cache of its own, the "
                f"{type(own).__name__} that it returns with use_cache=True; give that, or leave it out"
            )
        cache = own if past_key_values is None else past_key_values
        columns = input_ids.shape[1]
        if not columns:
            raise TextError("the prompt is empty: begin with the bos marker, or leave input_ids out of generate")
        seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask[:, -columns:]
        kept = min(logits_to_keep or columns, columns)
        logits = self._read(cache, input_ids.cpu().numpy(), seen.cpu().numpy().astype(bool), kept)
        cache.length += columns
        return CausalLMOutputWithPast(
            logits=torch.from_numpy(logits).to(input_ids.device, self._logits_dtype),  # type: ignore[arg-type]
            past_key_values=cache if use_cache or past_key_values is not None else None,
        )

    def check_ids(self, ids: np.ndarray) -> None:
        """Refuse ids that are none of this model.

        Args:
            ids: any shape.

        Raises:
            TextError: there is one.
        """
        size: Any = self.config.vocab_size
        if ids.size and not (ids.min() >= 0 and ids.max() < size):
            wrong = next(index for index in ids.ravel().tolist() if not 0 <= index < size)
            raise TextError(f"id {wrong} is neither a byte (0 to 255) nor a marker (to {size - 1})")

    def _prepare_cache_for_generation(  # type: ignore[override]
        self, generation_config: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        if generation_config.cache_implementation is not None:
            raise UnsupportedModelError(
                f"cache_implementation={generation_config.cache_implementation!r} is for keys and values; bytes have a "
                "cache of their own, so leave it out"
            )
        if generation_config.guidance_scale not in (None, 1):
            raise UnsupportedModelError(
                "guidance_scale weighs logits of two prompts against each other; bytes that cannot come have none, so leave "
                "it out"
            )
        if model_kwargs.get("past_key_values") is None and generation_config.use_cache is not False:
            model_kwargs["past_key_values"] = self._new_cache()


def _generation(name: Any, subfolder: str, hub: dict[str, Any]) -> GenerationConfig:
    """The generation config in a folder of a checkpoint; upstream takes that of the whole where it lies on disk."""
    local = Path(name, subfolder)
    if local.is_dir():
        return GenerationConfig.from_pretrained(local)
    return GenerationConfig.from_pretrained(name, subfolder=subfolder, **hub)
