"""Configuration of models with side tables."""

from typing import Any

from huggingface_hub.dataclasses import strict
from torch import nn

from hf_tokext.models.blocks.backbone import BackboneConfig

MIXINGS = ("mean", "concat", "published", "published_concat")
_DEFAULTS: dict[str, Any] = {"levels": 1, "mixing": "mean", "trainable_weights": False, "std": 0.0}
_FIELDS = {"size", "weights", *_DEFAULTS}
_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


@strict
class SideChannelConfig(BackboneConfig):
    """A model of transformers whose input embeddings take in further ids that stand beside its tokens.

    It also takes what any config of transformers takes.

    Attributes:
        backbone_config: config of a causal LM or an encoder-decoder, as an object or a dict with `model_type`. None is
            Llama's.
        side_tables: by name, what each table is; the columns of `side_ids` are in the order of the names, sorted:
            `size` (ids 0 to size - 1; -1 is none), `levels` (ids a position; 1), `mixing` ("mean", "concat",
            "published" or "published_concat"; see `SideTable`), `weights` (of the token and of the table; [1, 1], for
            "published" [0.5, 0.5]), `trainable_weights` (False; for "mean" only) and `std` (of new rows; 0, with which
            nothing changes at first).
        pad_token_id: id of the padding. It becomes the backbone's; None takes the backbone's. So do those that follow.
        bos_token_id: id before a text.
        eos_token_id: id, or ids, after a text.
        decoder_start_token_id: id that decoders begin with.
        is_encoder_decoder: taken from the backbone.
        tie_word_embeddings: taken from the backbone.

    Raises:
        ValueError: a table is described wrongly.
    """

    model_type = "tokext_side_channel"

    side_tables: dict[str, dict[str, Any]] | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None
    is_encoder_decoder: bool = False
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the backbone's config an object of this config's own, agree with it, and fill in the tables."""
        # config.json sorts names, so their order must mean nothing
        self.side_tables = {name: _filled(name, table) for name, table in sorted((self.side_tables or {}).items())}
        super().__post_init__(**kwargs)
        self.is_encoder_decoder = bool(self.backbone.is_encoder_decoder)
        self._agree_with_backbone(_IDS)

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
        return self.get_text_config().vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        self.get_text_config().vocab_size = value

    def auto_classes(self) -> dict[str, str]:
        """Say which model belongs to the config.

        Returns:
            Name of the model class by the name of its Auto class.
        """
        if self.is_encoder_decoder:
            return {"AutoModelForSeq2SeqLM": "SideChannelForConditionalGeneration"}
        return {"AutoModelForCausalLM": "SideChannelForCausalLM"}


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
