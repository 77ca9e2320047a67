"""What models around another model of transformers share: the inner config, and where the embeddings are."""

import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.models.blocks.installed import InstalledCode, InstalledConfig


def inner_config(given: dict[str, Any] | PreTrainedConfig | None) -> PreTrainedConfig:
    """Make the config of an inner model an object that nobody else has.

    Args:
        given: a config, or a dict with `model_type`; without one, or None, it is Llama's.

    Returns:
        A copy, without the code that its own checkpoint named: that is not used here.
    """
    if isinstance(given, PreTrainedConfig):
        found = deepcopy(given)
    else:
        found = AutoConfig.for_model(**{"model_type": "llama", **(given or {})})
    vars(found).pop("auto_map", None)
    return found


@strict
class BackboneConfig(InstalledConfig):
    """Config of a model whose layers are those of one other model, and which therefore answers for it.

    PEFT, caches and `resize_token_embeddings` ask for the width and for what layers there are.

    Attributes:
        backbone_config: config of the other model, as an object or a dict with `model_type`. None is Llama's.
    """

    sub_configs: ClassVar[dict[str, Any]] = {"backbone_config": AutoConfig}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the backbone's config an object of this config's own."""
        self.backbone_config = inner_config(self.backbone_config)
        super().__post_init__(**kwargs)

    @property
    def backbone(self) -> PreTrainedConfig:
        """The backbone's config, an object.

        Raises:
            ValueError: something else has been put in its place.
        """
        if not isinstance(self.backbone_config, PreTrainedConfig):
            raise ValueError("backbone_config must be a config of transformers, or a dict with model_type")
        return self.backbone_config

    def _agree_with_backbone(self, ids: Sequence[str]) -> None:
        """Take what ties its matrices from the backbone, and names of ids where this config has none; else it takes these."""
        self.tie_word_embeddings = bool(getattr(self.backbone, "tie_word_embeddings", False))
        for name in ids:
            if getattr(self, name) is None:
                setattr(self, name, getattr(self.backbone, name, None))
            else:  # it is the backbone that shifts labels and knows how to generate
                setattr(self.backbone, name, getattr(self, name))

    @property
    def hidden_size(self) -> int:
        """Width of the backbone."""
        return self.get_text_config().hidden_size

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """Give the backbone's config, which says what caches and layers there are.

        Args:
            decoder: as upstream.
            encoder: as upstream.

        Returns:
            The config of text.
        """
        return self.backbone.get_text_config(decoder=decoder, encoder=encoder)


class OnBackbone(InstalledCode):
    """A model whose input embeddings are those of an inner one; goes before transformers' own base class."""

    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _inner = "backbone"  # the attribute that holds the inner model

    def get_input_embeddings(self) -> nn.Module:
        """Give the embedding of the inner model."""
        return getattr(self, self._inner).get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding of the inner model.

        Args:
            value: module from ids to vectors.
        """
        getattr(self, self._inner).set_input_embeddings(value)


class LMOnBackbone(OnBackbone):
    """A language model whose head is that of an inner one, too, and which generates as that one does."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {}  # the inner one's hold; PEFT asks only where there is a dict

    def get_output_embeddings(self) -> Any:
        """Give the head of the inner model."""
        return getattr(self, self._inner).get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the head of the inner model.

        Args:
            new_embeddings: module from hidden states to logits.
        """
        getattr(self, self._inner).set_output_embeddings(new_embeddings)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> Any:
        """Change the inner model's vocabulary in its own way: BART's, for one, has a bias a token.

        Args:
            new_num_tokens: size, or None for the present one.
            pad_to_multiple_of: the size is rounded up to a multiple of this.
            mean_resizing: as upstream.

        Returns:
            The input embeddings.
        """
        return getattr(self, self._inner).resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)

    def _take_after_backbone(self) -> None:
        inner = getattr(self, self._inner)
        own = getattr(inner, "generation_config", None)
        if own is not None:
            self.generation_config = deepcopy(own)
        if hasattr(inner, "accepts_loss_kwargs"):  # the Trainer asks
            self.accepts_loss_kwargs = inner.accepts_loss_kwargs
        self._is_stateful, self._can_compile_fullgraph = inner._is_stateful, inner._can_compile_fullgraph

    def _supports_logits_to_keep(self) -> bool:
        return getattr(self, self._inner)._supports_logits_to_keep()


class CausalOnBackbone:
    """A causal language model around another; goes before `LMOnBackbone`."""

    def _prepare_position_ids_for_generation(self, *args: Any) -> Any:
        above: Any = super()
        inner = getattr(self, self._inner)  # type: ignore[attr-defined]
        takes = "position_ids" in inspect.signature(inner.forward).parameters
        return above._prepare_position_ids_for_generation(*args) if takes else None


def check_backbone(backbone: Any) -> None:
    """Refuse what cannot be given embeddings, or has no cache to tell how far it has read.

    Args:
        backbone: a model of transformers.

    Raises:
        UnsupportedModelError: its forward lacks an argument.
    """
    for name in ("inputs_embeds", "past_key_values"):
        if name not in inspect.signature(backbone.forward).parameters:
            raise UnsupportedModelError(f"{type(backbone).__name__} takes no {name}; choose another backbone")


def looks_tokens_up(text: Any) -> bool:
    """Say whether layers ask for the ids of tokens: Gemma 3n and 4, Qwen 4's n-grams, DeepSeek V4's hashes, BLT.

    Args:
        text: a config of text.

    Returns:
        Whether they do.
    """
    return bool(
        getattr(text, "hidden_size_per_layer_input", 0)
        or getattr(text, "ple_layer_ids", None)
        or "hash_moe" in (getattr(text, "mlp_layer_types", None) or ())
        or hasattr(text, "encoder_hash_byte_group_size")
    )
