"""What models around another model of transformers share: the inner config, and where the embeddings are."""

from copy import deepcopy
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

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
