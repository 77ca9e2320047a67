"""Configurations of the byte-level family."""

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.models.blocks.backbone import inner_config
from hf_tokext.models.blocks.installed import InstalledConfig
from hf_tokext.models.byte_level.ids import BYTES


class ByteConfig(PreTrainedConfig):
    """The key that `ByteTokenizer` is registered with AutoTokenizer under; it describes no model."""

    model_type = "tokext_byte"


@strict
class MarkedBytesConfig(InstalledConfig):
    """What a model over bytes and markers has.

    Attributes:
        markers: texts of the ids from 256 on.
        pad_token_id: id of the padding.
        bos_token_id: id before a text.
        eos_token_id: id, or ids, after a text.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    markers: list[str] | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the markers a list of this config's own."""
        self.markers = list(self.markers or ())
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse two ids of one text."""
        markers = self.markers or []
        if len(set(markers)) < len(markers):
            raise ValueError(f"markers names a token twice: {markers}")

    @property
    def end_ids(self) -> list[int]:
        """Every id after a text."""
        ends = self.eos_token_id
        return [ends] if isinstance(ends, int) else list(ends or ())

    @property
    def vocab_size(self) -> int:
        """Ids: 256 bytes and the markers."""
        return BYTES + len(self.markers or ())

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        if value != self.vocab_size:
            raise ValueError(f"the vocabulary is {self.vocab_size} ids: the bytes, and the base's special tokens")


@strict
class ByteLevelConfig(MarkedBytesConfig):
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

    base_config: dict[str, Any] | PreTrainedConfig | None = None
    measure: Literal["all_strings", "canonical"] = "all_strings"
    tolerance: float | int = 1e-3

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the base's config an object."""
        self.base_config = inner_config(self.base_config)
        super().__post_init__(**kwargs)

    def auto_classes(self) -> dict[str, str]:
        """Say which models of the package belong to the config.

        Returns:
            Names of model classes by the names of their Auto classes.
        """
        return {"AutoModelForCausalLM": "ByteLevelForCausalLM"}

    def validate_architecture(self) -> None:
        """Refuse two ids of one text, and what is no share."""
        super().validate_architecture()
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is a share of the probability, at least 0 and below 1; not {self.tolerance}")


@strict
class ByteEnsembleConfig(MarkedBytesConfig):
    """Causal LMs over tokens, each read one byte at a time, as one causal LM over bytes.

    It also takes what any config of transformers takes.

    Attributes:
        members: configs of the byte-level models, as objects or dicts.
        weights: how much each counts, positive; only their shares matter. None is the same for all.
        combination: "mixture", the mean of the members' probabilities of the next byte, or "product", their geometric
            mean made to add up to one.
        markers: texts of the ids from 256 on: padding, bos, eos, and what is a marker of all members.
        pad_token_id: id of the padding.
        bos_token_id: id before a text, whatever it is for each member.
        eos_token_id: id after a text: any end of sequence of each member.

    Raises:
        ValueError: a member is no byte-level model, the weights are not one positive number a member, or a marker is
            named twice.
    """

    model_type = "tokext_byte_ensemble"

    members: list[dict[str, Any] | PreTrainedConfig] | None = None
    weights: list[float | int] | None = None
    combination: Literal["mixture", "product"] = "mixture"

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the members' configs objects of this config's own."""
        self.members = [_member(number, given) for number, given in enumerate(self.members or ())]
        self.weights = [1.0] * len(self.members) if self.weights is None else list(self.weights)
        super().__post_init__(**kwargs)

    def auto_classes(self) -> dict[str, str]:
        """Say which models of the package belong to the config.

        Returns:
            Names of model classes by the names of their Auto classes.
        """
        return {"AutoModelForCausalLM": "ByteEnsembleForCausalLM"}

    def validate_architecture(self) -> None:
        """Refuse weights that are not one positive number a member."""
        super().validate_architecture()
        check_weights(self.weights or [], len(self.members or ()))

    def to_dict(self) -> dict[str, Any]:
        """Give everything, the members' configs as dicts.

        Returns:
            As upstream.
        """
        found = super().to_dict()
        members: Any = self.members or ()
        found["members"] = [member.to_dict() for member in members]
        for each in found["members"]:
            del each["transformers_version"], each["_name_or_path"]
        return found


def check_weights(weights: Sequence[float], members: int) -> None:
    """Refuse weights that are not one positive number a member.

    Args:
        weights: how much each member counts.
        members: how many there are.

    Raises:
        UnsupportedModelError: their number is another, or one is zero, negative, infinite or no number.
    """
    if len(weights) != members:
        raise UnsupportedModelError(f"{len(weights)} weights for {members} members; give one a member, or none at all")
    wrong = [weight for weight in weights if not (weight > 0 and math.isfinite(weight))]
    if wrong:
        raise UnsupportedModelError(f"a weight must be above zero, and is {wrong[0]}; leave out who is not to count")


def _member(number: int, given: Any) -> ByteLevelConfig:
    if isinstance(given, dict) and given.get("model_type", ByteLevelConfig.model_type) == ByteLevelConfig.model_type:
        return ByteLevelConfig.from_dict(given)
    if not isinstance(given, ByteLevelConfig):
        kind = given.get("model_type") if isinstance(given, dict) else type(given).__name__
        raise UnsupportedModelError(
            f"member {number} of the ensemble is a {kind}, not a ByteLevelConfig; byteify it first"
        )
    return deepcopy(given)
