"""Configuration of models with side tables."""

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.models.blocks.installed import InstalledConfig
from hf_tokext.registry import name_classes

MIXINGS = ("mean", "concat", "published", "published_concat")
_DEFAULTS: dict[str, Any] = {"levels": 1, "mixing": "mean", "trainable_weights": False, "std": 0.0}
_FIELDS = {"size", "weights", *_DEFAULTS}
_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


@strict
class SideChannelConfig(InstalledConfig):
    """A model of transformers whose input embeddings take in further ids that stand beside its tokens.

    It also takes what any config of transformers takes.

    Attributes:
        backbone_config: config of a causal LM or an encoder-decoder, as an object or a dict with `model_type`. None is
            Llama's.
        side_tables: by name, what each table is; the columns of `side_ids` are in the order of the names, sorted:
            `size` (ids 0 to size - 1; -1 is none), `levels` (ids a position; 1), `mixing` ("mean", "concat",
            "published" or "published_concat"; see `SideTable`), `weights` (of the token and of the table; [1, 1], for "published" [0.5, 0.5]),
            `trainable_weights` (False; for "mean" only) and `std` (of new rows; 0, with which nothing changes at first).
        pad_token_id: id of the padding; None takes the backbone's, as for those that follow.
        bos_token_id: id before a text.
        eos_token_id: id, or ids, after a text.
        decoder_start_token_id: id that decoders begin with.
        is_encoder_decoder: taken from the backbone.
        tie_word_embeddings: taken from the backbone.

    Raises:
        ValueError: a table is described wrongly.
    """

    model_type = "tokext_side_channel"
    sub_configs: ClassVar[dict[str, Any]] = {"backbone_config": AutoConfig}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None
    side_tables: dict[str, dict[str, Any]] | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None
    is_encoder_decoder: bool = False
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the backbone's config an object of this config's own, and fill in the tables."""
        given = self.backbone_config
        if isinstance(given, PreTrainedConfig):
            given = deepcopy(given)
        else:
            given = AutoConfig.for_model(**{"model_type": "llama", **(given or {})})
        vars(given).pop("auto_map", None)  # the code that its own checkpoint names is not used here
        self.backbone_config = given
        self.is_encoder_decoder = bool(given.is_encoder_decoder)
        self.tie_word_embeddings = bool(getattr(given, "tie_word_embeddings", False))
        for name in _IDS:
            if getattr(self, name) is None:
                setattr(self, name, getattr(given, name, None))
        # config.json sorts names, so their order must mean nothing
        self.side_tables = {name: _filled(name, table) for name, table in sorted((self.side_tables or {}).items())}
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse tables that cannot be made."""
        for name, table in (self.side_tables or {}).items():
            _check(name, table)

    @property
    def columns(self) -> dict[str, slice]:
        """Where each table's levels lie in the last axis of `side_ids`."""
        found, start = {}, 0
        for name, table in (self.side_tables or {}).items():
            found[name] = slice(start, start + table["levels"])
            start += table["levels"]
        return found

    @property
    def vocab_size(self) -> int:
        """Ids of the backbone's tokens; PEFT and `resize_token_embeddings` ask for it here."""
        return self._backbone().get_text_config().vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        self._backbone().get_text_config().vocab_size = value

    @property
    def hidden_size(self) -> int:
        """Width of the backbone."""
        return self._backbone().get_text_config().hidden_size

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """Give the backbone's config, which says what caches and layers there are.

        Args:
            decoder: as upstream.
            encoder: as upstream.

        Returns:
            The config of text.
        """
        return self._backbone().get_text_config(decoder=decoder, encoder=encoder)

    def _backbone(self) -> PreTrainedConfig:
        if not isinstance(self.backbone_config, PreTrainedConfig):
            raise ValueError("backbone_config must be a config of transformers, or a dict with model_type")
        return self.backbone_config

    def to_json_file(self, json_file_path: Any, use_diff: bool = True) -> None:
        """Write config.json, and name the installed classes in it; those of a subclass are its own affair.

        Args:
            json_file_path: the file.
            use_diff: as upstream.
        """
        super().to_json_file(json_file_path, use_diff)
        if type(self) is not SideChannelConfig:
            return
        model = (
            {"AutoModelForSeq2SeqLM": "SideChannelForConditionalGeneration"}
            if self.is_encoder_decoder
            else {"AutoModelForCausalLM": "SideChannelForCausalLM"}
        )
        name_classes(Path(json_file_path), "hf_tokext", {"AutoConfig": "SideChannelConfig", **model})


def _filled(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """A table with every field; wrong ones are left for the check."""
    unknown = set(table) - _FIELDS
    if unknown or "size" not in table:
        wrong = f"has the unknown field {min(unknown)!r}" if unknown else "lacks its size"
        raise ValueError(f"side table {name!r} {wrong}; it has: {', '.join(sorted(_FIELDS))}")
    found = {"size": table["size"], **_DEFAULTS, **table}
    if found.get("weights") is None:
        found["weights"] = [0.5, 0.5] if found["mixing"] == "published" else [1.0, 1.0]
    found["weights"] = [float(weight) for weight in found["weights"]]
    return found


def _check(name: str, table: dict[str, Any]) -> None:
    if not name.isidentifier() or hasattr(nn.ModuleDict, name) or hasattr(nn.ModuleDict(), name):
        raise ValueError(f"a side table cannot be called {name!r}; take a plain word such as 'shells'")
    for field in ("size", "levels"):
        if not isinstance(table[field], int) or isinstance(table[field], bool) or table[field] < 1:
            raise ValueError(f"{field} of side table {name!r} must be a whole number above zero, not {table[field]!r}")
    if table["mixing"] not in MIXINGS:
        raise ValueError(f"mixing of side table {name!r} must be one of {', '.join(MIXINGS)}, not {table['mixing']!r}")
    if len(table["weights"]) != 2:
        raise ValueError(f"weights of side table {name!r} are two, of the token and of the table: {table['weights']}")
    if table["trainable_weights"] and table["mixing"] != "mean":
        raise ValueError(f'side table {name!r}: trainable_weights goes with mixing="mean" only')
    if not table["std"] >= 0:
        raise ValueError(f"std of side table {name!r} must not be negative: {table['std']}")
