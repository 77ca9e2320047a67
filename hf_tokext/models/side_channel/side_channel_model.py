"""Any backbone of transformers, with tables of further ids mixed into its input embeddings."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
from hf_tokext.models.side_channel.side_tables import SideTables

SideIds = torch.Tensor | Mapping[str, torch.Tensor]


class SideChannelModel(InstalledCode, PreTrainedModel, GenerationMixin):
    """What the two models share; `forward` and `generate` take the backbone's arguments, and `side_ids`.

    Args:
        config: the configuration.

    Attributes:
        backbone: the model of transformers.
        side: the tables; for PEFT, `modules_to_save=["side"]`.

    Raises:
        UnsupportedModelError: the backbone is of the other kind, or needs the tokens themselves.

    Source: 3D-MolT5 (arXiv 2406.05797), with its mixing decided position by position.
    """

    config_class = SideChannelConfig
    config: SideChannelConfig
    base_model_prefix = "backbone"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    model_tags = ["hf_tokext"]
    _auto: Any = None  # which Auto class makes the backbone
    _encoder_decoder = False

    def __init__(self, config: SideChannelConfig) -> None:
        super().__init__(config)
        _check(config, self._encoder_decoder)
        self.backbone = self._auto.from_config(config.backbone_config)
        config.backbone_config = self.backbone.config  # one object, so that a resized vocabulary is known to both
        self.side = SideTables(config.side_tables or {}, self._embedding().weight.shape[1])
        self._take_after_backbone()
        self.post_init()

    @classmethod
    def from_backbone(cls, model: PreTrainedModel, tables: Mapping[str, Mapping[str, Any]]) -> Any:
        """Put side tables on a pretrained model.

        With the tables' defaults (rows of zeros; weights 1 and 1; "mean" or "concat") the outputs are exactly the
        model's own at the start, whatever the side ids.

        Args:
            model: a causal LM or an encoder-decoder of transformers, for the class that says so. It becomes a part of
                what is returned, not a copy.
            tables: as `SideChannelConfig(side_tables=...)`.

        Returns:
            The model with tables, where the given one lies, in its dtype and mode.

        Raises:
            UnsupportedModelError: the model is of another kind.
        """
        config = SideChannelConfig(
            backbone_config=model.config, side_tables={name: dict(table) for name, table in tables.items()},
            dtype=model.dtype,
        )  # fmt: skip
        with torch.device("meta"):
            found = cls(config)
        known = type(found.backbone)
        if not isinstance(model, known):
            raise UnsupportedModelError(
                f"the model is a {type(model).__name__}; for its config {known.__name__} is wanted, as "
                f"{cls._auto.__name__} loads it"
            )
        found.backbone, config.backbone_config = model, model.config
        weight = found._embedding().weight
        found.side = SideTables(config.side_tables or {}, weight.shape[1]).to(weight.device, model.dtype)
        found.side.start()
        found._take_after_backbone()
        found.train(model.training)
        return found

    def _take_after_backbone(self) -> None:
        own = getattr(self.backbone, "generation_config", None)
        if own is not None:
            self.generation_config = deepcopy(own)
        if hasattr(self.backbone, "accepts_loss_kwargs"):  # the Trainer asks
            self.accepts_loss_kwargs = self.backbone.accepts_loss_kwargs

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the tables alone: they begin as a whole, below; the backbone knows its own."""

    def initialize_weights(self) -> None:
        """Set what no checkpoint has given to where it begins."""
        super().initialize_weights()
        self.side.start()

    def _embedding(self) -> Any:
        """Where the tokens are looked up that the side ids stand beside."""
        return (self.backbone.get_encoder() if self._encoder_decoder else self.backbone).get_input_embeddings()

    def get_input_embeddings(self) -> nn.Module:
        """Give the embedding of the backbone."""
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding of the backbone.

        Args:
            value: module from ids to vectors.
        """
        self.backbone.set_input_embeddings(value)

    def get_output_embeddings(self) -> Any:
        """Give the head of the backbone."""
        return self.backbone.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the head of the backbone.

        Args:
            new_embeddings: module from hidden states to logits.
        """
        self.backbone.set_output_embeddings(new_embeddings)

    def join_side_ids(self, side_ids: SideIds) -> torch.Tensor:
        """Put ids given by the names of their tables side by side.

        Args:
            side_ids: by name, [B, T, levels] or, where there is one level, [B, T]; tables that are left out have none.
                A tensor is returned as it is.

        Returns:
            [B, T, levels of all tables], -1 for none.

        Raises:
            TextError: there is no such table, or nothing is given.
        """
        if isinstance(side_ids, torch.Tensor):
            return side_ids
        columns = self.config.columns
        unknown = [name for name in side_ids if name not in columns]
        if unknown or not side_ids:
            wrong = f"there is no side table {unknown[0]!r}" if unknown else "side_ids names no table"
            raise TextError(f"{wrong}; there are: {', '.join(columns)}")
        given = {name: ids if ids.ndim == 3 else ids[..., None] for name, ids in side_ids.items()}
        first = next(iter(given.values()))
        parts = []
        for name, own in columns.items():
            levels = own.stop - own.start
            part = given.get(name, first.new_full((*first.shape[:2], levels), -1))
            if part.shape != (*first.shape[:2], levels):
                raise TextError(
                    f"the ids of side table {name!r} have the shape {list(part.shape)}; it must be "
                    f"{[*first.shape[:2], levels]} (batch, tokens, levels), with -1 for none"
                )
            parts.append(part)
        return torch.cat(parts, dim=-1)

    def mix(
        self, input_ids: torch.Tensor | None, embeds: torch.Tensor | None, side_ids: SideIds | None
    ) -> torch.Tensor:
        """Make the embeddings that the backbone reads.

        Args:
            input_ids: [B, T] ids of tokens, if `embeds` is None.
            embeds: [B, T, D], what the tokens' embedding would give.
            side_ids: [B, T, levels of all tables], or by name; -1, or None at all, for none.

        Returns:
            [B, T, D].

        Raises:
            TextError: not just one of ids and embeddings is given, or the side ids do not fit.
        """
        if (input_ids is None) == (embeds is None):
            raise TextError("give input_ids or inputs_embeds, and not both")
        found = self._embedding()(input_ids) if embeds is None else embeds
        if side_ids is None or not self.config.side_tables:
            return found
        return self.side(found, self.join_side_ids(side_ids).to(found.device), input_ids)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        side_ids: SideIds | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the backbone on tokens and what stands beside them.

        Args:
            input_ids: [B, T] ids, unless `inputs_embeds` is given.
            attention_mask: [B, T], 1 where a token is seen.
            inputs_embeds: [B, T, D] vectors in place of the tokens'; side ids are mixed into them too.
            side_ids: [B, T, levels of all tables], -1 for none; or a tensor [B, T, levels] by name of table.
            labels: as for the backbone; [B, T], -100 is left out.
            **kwargs: as for the backbone.

        Returns:
            What the backbone gives: loss in nats a token, logits [B, T, V], the cache.
        """
        encoded = kwargs.get("encoder_outputs") is not None
        embeds = None if encoded else self.mix(input_ids, inputs_embeds, side_ids)
        return self.backbone(inputs_embeds=embeds, attention_mask=attention_mask, labels=labels, **kwargs)

    def _expand_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(kwargs.get("side_ids"), Mapping):  # upstream repeats tensors only
            kwargs["side_ids"] = self.join_side_ids(kwargs["side_ids"])
        above: Any = super()
        return above._expand_inputs_for_generation(*args, **kwargs)


def _check(config: SideChannelConfig, encoder_decoder: bool) -> None:
    """Refuse backbones of the other kind, and those that look at tokens themselves."""
    backbone: Any = config.backbone_config
    name = type(backbone).__name__
    if bool(backbone.is_encoder_decoder) is not encoder_decoder:
        other = "ForCausalLM" if encoder_decoder else "ForConditionalGeneration"
        kind = "no encoder-decoder" if encoder_decoder else "an encoder-decoder"
        raise UnsupportedModelError(f"backbone_config is {name}, {kind}; use SideChannel{other}")
    if getattr(backbone.get_text_config(), "hidden_size_per_layer_input", 0):
        raise UnsupportedModelError(
            f"backbone_config is {name}, whose layers look tokens up again, past the embeddings that tables are mixed "
            "into; choose another backbone"
        )
