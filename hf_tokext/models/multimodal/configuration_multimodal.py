"""Configuration of a causal LM with codecs."""

from copy import deepcopy
from functools import cache
from inspect import signature
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.models.blocks.backbone import BackboneConfig
from hf_tokext.vocabulary.code_space import CodeSpace
from hf_tokext.vocabulary.spaces import Spaces

INPUTS = ("ids", "codebook", "latent")
_DEFAULTS: dict[str, Any] = {"input": "ids", "dim": None, "projector_size": None, "flow_layers": 3, "fingerprint": None}
_FIELDS = {"codec", "space", *_DEFAULTS}
_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


@strict
class MultimodalConfig(BackboneConfig):
    """A causal LM of transformers whose vocabulary has the codes of codecs beside its own tokens.

    It also takes what any config of transformers takes.

    Attributes:
        backbone_config: config of the causal LM, as an object or a dict with `model_type`. None is Llama's.
        senses: by the name of its space, what each modality is: `codec` (the codec's config), `space` (a `CodeSpace`, as
            JSON has it), `input` ("ids": rows of the embedding matrix; "codebook": the codes' vectors, projected; or
            "latent": the vectors of a continuous codec, projected), `dim` (numbers of a vector, where they are projected),
            `projector_size` (numbers inside the projector; None
            is the width of the LM), `flow_layers` (of the head that draws latents; 3) and `fingerprint` (of the codes
            that the LM has learnt; it is written when the model is saved).
        tuning: what learns: "frozen", the LM and the projectors; "projector", nothing but the projectors; "end_to_end",
            the codecs too, through the LM's loss and `reconstruction_weight` times their own.
        reconstruction_weight: of the codecs' own loss where they learn.
        pad_token_id: id of the padding. It becomes the backbone's; None takes the backbone's. So do those that follow.
        bos_token_id: id before a text.
        eos_token_id: id, or ids, after a text.
        tie_word_embeddings: taken from the backbone.

    Raises:
        ValueError: a modality is described wrongly, or two have ids in common.
    """

    model_type = "tokext_multimodal"

    senses: dict[str, dict[str, Any]] | None = None
    tuning: Literal["frozen", "projector", "end_to_end"] = "frozen"
    reconstruction_weight: float | int = 0.25
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the inner configs objects of this config's own, and agree with the backbone."""
        self.senses = {name: _filled(name, given) for name, given in sorted((self.senses or {}).items())}
        super().__post_init__(**kwargs)
        self._agree_with_backbone(_IDS)

    @property
    def spaces(self) -> Spaces:
        """The ids of the modalities."""
        return Spaces.from_json([each["space"] for each in (self.senses or {}).values()])

    @property
    def vocab_size(self) -> int:
        """Ids of the backbone's tokens and of all codes; PEFT and `resize_token_embeddings` ask for it here."""
        return self.get_text_config().vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        self.get_text_config().vocab_size = value

    def validate_architecture(self) -> None:
        """Refuse modalities that cannot be."""
        if self.reconstruction_weight < 0:
            raise ValueError(f"reconstruction_weight must not be negative, not {self.reconstruction_weight}")
        for name, sense in (self.senses or {}).items():
            _check(name, sense)
        self.spaces  # noqa: B018 (it refuses common ids)

    def auto_classes(self) -> dict[str, str]:
        """Say which models belong to the config.

        Returns:
            Name of the model class by the name of its Auto class.
        """
        kinds = ("CausalLM", "ImageTextToText", "MultimodalLM")
        return {"AutoModel": "MultimodalModel", **{f"AutoModelFor{kind}": "MultimodalForCausalLM" for kind in kinds}}

    def to_dict(self) -> dict[str, Any]:
        """Give everything, the codecs' configs as dicts.

        Returns:
            As upstream.
        """
        found = super().to_dict()
        found["senses"] = {
            name: {**deepcopy({**sense, "codec": None}), "codec": _plain(sense["codec"])}
            for name, sense in (self.senses or {}).items()
        }
        return found


def _plain(config: PreTrainedConfig) -> dict[str, Any]:
    found = config.to_dict()
    return {key: value for key, value in found.items() if key not in ("transformers_version", "_name_or_path")}


def _filled(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """A modality with every field, its codec's config an object of its own; what is wrong with it the check says."""
    unknown, lacking = set(given) - _FIELDS, {"codec", "space"} - set(given)
    if unknown or lacking:
        wrong = f"has the unknown field {min(unknown)!r}" if unknown else f"lacks its {min(lacking)}"
        raise ValueError(f"modality {name!r} {wrong}; it has: {', '.join(sorted(_FIELDS))}")
    found = {**_DEFAULTS, **given}
    codec = found["codec"]
    found["codec"] = deepcopy(codec) if isinstance(codec, PreTrainedConfig) else AutoConfig.for_model(**codec)
    vars(found["codec"]).pop("auto_map", None)
    return found


@cache
def _taken() -> set[str]:
    """Names of arguments: a modality's values are told from others by how their names begin."""
    from transformers import GenerationConfig, GenerationMixin  # imports much of torch, which registering needs not

    return {
        *("text", "answers", "codes", "padding", "truncation", "inputs_embeds", "past_key_values", "cache_position"),
        *("input_ids", "attention_mask", "position_ids", "token_type_ids", "logits_to_keep", "num_items_in_batch"),
        *vars(GenerationConfig()),
        *signature(GenerationMixin.generate).parameters,
    }


def _check(name: str, sense: dict[str, Any]) -> None:
    (space,) = Spaces.from_json([sense["space"]]).values()
    if not isinstance(space, CodeSpace) or space.name != name:
        raise ValueError(f"the space of modality {name!r} must be a CodeSpace of that name, not {sense['space']}")
    if (
        not name.isidentifier()
        or hasattr(nn.ModuleDict(), name)
        or any(f"{key}_".startswith(f"{name}_") for key in _taken())
    ):
        raise ValueError(f"a modality cannot be called {name!r}; take a plain word such as 'image'")
    if sense["input"] not in INPUTS:
        raise ValueError(f"input of modality {name!r} must be one of {', '.join(INPUTS)}, not {sense['input']!r}")
    if (sense["input"] == "latent") != space.is_continuous:
        kind = "is continuous, and read by input='latent' only" if space.is_continuous else "has codes, not latents"
        raise ValueError(f"the codec of modality {name!r} {kind}; input is {sense['input']!r}")
    sizes = getattr(sense["codec"], "codebook_sizes", None)
    if sizes is not None and tuple(sizes) != tuple(space.codebooks):
        raise ValueError(
            f"the codec of modality {name!r} has codebooks of {list(sizes)} codes, its space {list(space.codebooks)}: it "
            "is not the codec that the model was made with"
        )
    if sense["input"] != "ids" and (sense["dim"] or 0) < 1:
        raise ValueError(f"the vectors of modality {name!r} are projected: say their numbers, dim")
    for key in ("flow_layers", "projector_size"):
        given = sense[key]
        if not (isinstance(given, int) and given >= 1) and not (key == "projector_size" and given is None):
            raise ValueError(f"{key} of modality {name!r} is {given!r}; it must be a whole number, at least 1")
