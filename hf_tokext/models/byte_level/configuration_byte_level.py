"""Configurations of the byte-level family."""

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.models.blocks.installed import InstalledConfig
from hf_tokext.models.byte_level.ids import BYTES
from hf_tokext.registry import name_classes


class ByteConfig(PreTrainedConfig):
    """The key that `ByteTokenizer` is registered with AutoTokenizer under; it describes no model."""

    model_type = "tokext_byte"


@strict
class ByteLevelConfig(InstalledConfig):
    """A causal LM over tokens, read one byte at a time.

    It also takes what any config of transformers takes.

    Attributes:
        base_config: config of the causal LM over tokens, as an object or a dict with `model_type`. None is Llama's.
        markers: texts of the ids from 256 on; those that are special tokens of the base stand for these.
        measure: which probability of a byte string is meant: "all_strings", of all token strings that spell it, or
            "canonical", of the base kept to what its tokenizer gives.
        tolerance: token sequences whose share of the probability of a text is not above this are dropped; 0 drops none.
        pad_token_id: id of the padding.
        bos_token_id: id before a text.
        eos_token_id: id, or ids, after a text.

    Raises:
        ValueError: a marker is named twice, or the tolerance is no share.
    """

    model_type = "tokext_byte_level"
    sub_configs: ClassVar[dict[str, Any]] = {"base_config": AutoConfig}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    base_config: dict[str, Any] | PreTrainedConfig | None = None
    markers: list[str] | None = None
    measure: Literal["all_strings", "canonical"] = "all_strings"
    tolerance: float | int = 1e-3
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the base's config an object."""
        self.markers = list(self.markers or ())
        given = self.base_config
        if isinstance(given, PreTrainedConfig):
            given = deepcopy(given)
        else:
            given = AutoConfig.for_model(**{"model_type": "llama", **(given or {})})
        vars(given).pop("auto_map", None)  # the code that its own checkpoint names is not used here
        self.base_config = given
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse two ids of one text, and what is no share."""
        markers = self.markers or []
        if len(set(markers)) < len(markers):
            raise ValueError(f"markers names a token twice: {markers}")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is a share of the probability, at least 0 and below 1; not {self.tolerance}")

    @property
    def vocab_size(self) -> int:
        """Ids: 256 bytes and the markers."""
        return BYTES + len(self.markers or ())

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        if value != self.vocab_size:
            raise ValueError(f"the vocabulary is {self.vocab_size} ids: the bytes, and the base's special tokens")

    def to_json_file(self, json_file_path: Any, use_diff: bool = True) -> None:
        """Write config.json, and name the installed classes in it; those of a subclass are its own affair.

        Args:
            json_file_path: the file.
            use_diff: as upstream.
        """
        super().to_json_file(json_file_path, use_diff)
        if type(self) is ByteLevelConfig:
            classes = {"AutoConfig": "ByteLevelConfig", "AutoModelForCausalLM": "ByteLevelForCausalLM"}
            name_classes(Path(json_file_path), "hf_tokext", classes)
