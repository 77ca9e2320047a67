"""Any backbone of transformers, with tables of further ids mixed into its input embeddings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel

from hf_tokext.errors import CheckpointError, TextError, UnsupportedModelError
from hf_tokext.models.blocks.backbone import LMOnBackbone, check_backbone
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
from hf_tokext.models.side_channel.fitting import check_config
from hf_tokext.models.side_channel.side_tables import SideTables

SideIds = torch.Tensor | Mapping[str, torch.Tensor]


class SideChannelModel(LMOnBackbone, PreTrainedModel, GenerationMixin):
    """What the two models share; `forward` and `generate` take the backbone's arguments, and `side_ids`.

    Args:
        config: the configuration.

    Attributes:
        backbone: the model of transformers.
        side: the tables; for PEFT, `modules_to_save=["side"]`.

    Raises:
        UnsupportedModelError: the backbone is of the other kind, or needs the tokens themselves; or a causal LM is to be
            mixed by the published rule.

    Source: 3D-MolT5 (arXiv 2406.05797), with its mixing decided position by position.
    """

    config_class = SideChannelConfig
    config: SideChannelConfig
    base_model_prefix = "backbone"
    model_tags = ["hf_tokext"]
    _auto: Any = None  # which Auto class makes the backbone
    _encoder_decoder = False

    def __init__(self, config: SideChannelConfig) -> None:
        super().__init__(config)
        check_config(config, self._encoder_decoder)
        self.backbone = self._auto.from_config(config.backbone_config)
        check_backbone(self.backbone)
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
            UnsupportedModelError: the model is of another kind, or parts of it lie on disk.
        """
        if any(parameter.device.type == "meta" for parameter in model.parameters()):
            raise UnsupportedModelError(
                "parts of the model lie on disk (device_map); load it into memory, put the tables on it and save it: what "
                "is saved may be loaded with a device_map"
            )
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

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the tables alone: they begin as a whole, below; the backbone knows its own."""

    def initialize_weights(self) -> None:
        """Set what no checkpoint has given to where it begins."""
        super().initialize_weights()
        self.side.start()

    def _embedding(self) -> Any:
        """Where the tokens are looked up that the side ids stand beside."""
        return (self.backbone.get_encoder() if self._encoder_decoder else self.backbone).get_input_embeddings()

    def join_side_ids(self, side_ids: SideIds) -> torch.Tensor:
        """Put ids given by the names of their tables side by side.

        Args:
            side_ids: by name, [B, T, levels] or, where there is one level, [B, T]; tables that are left out have none.
                A tensor is returned as it is.

        Returns:
            [B, T, levels of all tables], -1 for none.

        Raises:
            TextError: there is no such table, nothing is given, or something else than tensors.
        """
        if isinstance(side_ids, torch.Tensor):
            return side_ids
        if not isinstance(side_ids, Mapping) or not all(isinstance(ids, torch.Tensor) for ids in side_ids.values()):
            raise TextError(
                "side_ids must be a tensor [batch, tokens, levels of all tables], or tensors by name of table"
            )
        columns = self.config.columns
        unknown = [name for name in side_ids if name not in columns]
        if unknown or not side_ids:
            wrong = f"there is no side table {unknown[0]!r}" if unknown else "side_ids names no table"
            raise TextError(f"{wrong}; there are: {', '.join(columns) or 'none'}")
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
        if side_ids is None and not self._everywhere:
            return found
        if side_ids is None:  # the published rules change positions without ids, too
            levels = sum(table["levels"] for table in (self.config.side_tables or {}).values())
            side_ids = torch.full((*found.shape[:2], levels), -1, device=found.device)
        return self.side(found, self.join_side_ids(side_ids).to(found.device), input_ids)

    @property
    def _everywhere(self) -> bool:
        """Whether a table has a say at positions without ids."""
        return any(table["mixing"].startswith("published") for table in (self.config.side_tables or {}).values())

    def _run(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        side_ids: SideIds | None,
        given: dict[str, Any],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run the backbone on what is mixed, with those of the named arguments that are given, and with the others."""
        encoded = kwargs.get("encoder_outputs") is not None
        embeds = None if encoded else self.mix(input_ids, inputs_embeds, side_ids)
        kwargs |= {name: value for name, value in given.items() if value is not None}
        return self.backbone(inputs_embeds=embeds, **kwargs)

    def _validate_model_kwargs(self, model_kwargs: dict[str, Any]) -> None:
        """What else may be given is for the backbone to say."""
        self.backbone._validate_model_kwargs({key: value for key, value in model_kwargs.items() if key != "side_ids"})

    def _prepare_model_inputs(self, *args: Any, **kwargs: Any) -> Any:
        """Bring the side ids, once a call, into the form in which generation repeats and cuts them."""
        above: Any = super()
        inputs, name, rest = above._prepare_model_inputs(*args, **kwargs)
        if rest.get("side_ids") is not None:
            rest["side_ids"] = self._beside(self.join_side_ids(rest["side_ids"]), inputs, rest)
        return inputs, name, rest

    def _beside(self, side_ids: torch.Tensor, inputs: torch.Tensor, rest: dict[str, Any]) -> torch.Tensor:
        """Side ids for a prompt, [B, T] tokens or [B, T, D]."""
        return side_ids

    def _get_candidate_generator(self, *args: Any, assistant_model: Any = None, **kwargs: Any) -> Any:
        given = dict(kwargs["model_kwargs"])
        side_ids = given.pop("side_ids", None)  # an assistant without tables would refuse them
        if side_ids is not None and isinstance(assistant_model, SideChannelModel):
            # to a causal one, what has been written is a longer prompt
            more = 0 if self._encoder_decoder else kwargs["generation_config"].max_length - side_ids.shape[1]
            given["side_ids"] = nn.functional.pad(side_ids, (0, 0, 0, max(more, 0)), value=-1)
        above: Any = super()
        return above._get_candidate_generator(
            *args, assistant_model=assistant_model, **(kwargs | {"model_kwargs": given})
        )

    def _adjust_missing_and_unexpected_keys(self, loading_info: Any) -> None:
        """Refuse a checkpoint that holds a part of a table, or one that its config does not speak of."""
        for name in self.config.side_tables or {}:
            keys = {key for key in self.state_dict() if key.startswith(f"side.tables.{name}.")}
            lacking = keys & set(loading_info.missing_keys)
            if lacking and lacking != keys:
                raise CheckpointError(
                    f"the checkpoint lacks {min(lacking)}, but has the rest of the side table; save it anew"
                )
        spare = [key for key in loading_info.unexpected_keys if key.startswith("side.tables.")]
        if spare:
            raise CheckpointError(
                f"the checkpoint has {min(spare)}, of a side table that its config does not name or describes otherwise; "
                f"the config has: {', '.join(self.config.side_tables or {}) or 'none'}"
            )
        super()._adjust_missing_and_unexpected_keys(loading_info)
