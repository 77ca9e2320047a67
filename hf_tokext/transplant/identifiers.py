"""Token ids in config and generation config, translated to the new vocabulary."""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import GENERATION_CONFIG_NAME

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.transplant.plan import Plan
from hf_tokext.transplant.vocabulary_twin import set_vocabulary_size, vocabulary_size_keys
from hf_tokext.vocabulary.roles import roles

SUFFIXES = ("_token_id", "_token_index")
# What a model of text can be without; a marker of images or audio is compared with every input, so it must be a number.
STALE = ("begin_suppress_tokens", "bad_words_ids", "forced_decoder_ids", "sequence_bias")  # lists of ids
OPTIONAL = ("bos", "eos", "pad", "unk", "sep", "cls", "mask", "decoder_start", "forced_bos", "forced_eos")


def update_config(config: PreTrainedConfig, plan: Plan, generation: GenerationConfig | None) -> None:
    """Put the new vocabulary's size and ids into a config and its nested ones, in place.

    Args:
        config: the base's config.
        plan: the plan that the tables were made by.
        generation: the base's generation config, whose end-of-sequence ids count too, or None.

    Raises:
        UnsupportedModelError: the id that decoding starts with has no partner.
    """
    set_vocabulary_size(config, plan.rows)
    if plan.keeps_ids:
        return
    ends = _ends(plan, config, generation)
    for part in {id(part): part for part in (config, config.get_text_config())}.values():
        for name in [name for name in vars(part) if name.endswith(SUFFIXES)]:
            new = _translated(plan, name, getattr(part, name), ends)
            kind = name.rpartition("_token")[0]
            if new is None and getattr(part, name) is not None and kind == "decoder_start":
                raise UnsupportedModelError(
                    f"the base starts decoding with {_text(plan, getattr(part, name))}, for which the new tokenizer has no "
                    "partner: name one of its tokens with --map 'NEW=OLD' (overrides), such as its end of sequence"
                )
            if new is None and getattr(part, name) is not None and kind not in OPTIONAL:
                new = plan.rows  # past the table: no text has it, where the old id would be an ordinary token's
            setattr(part, name, new)


def updated_json(config_json: dict[str, Any], config: PreTrainedConfig, plan: Plan) -> dict[str, Any]:
    """Put sizes and ids of an updated config into config.json as it stood, keeping every other key.

    Args:
        config_json: the base's config.json; not changed.
        config: the config after `update_config`.
        plan: the plan that the tables were made by.

    Returns:
        The new config.json.
    """
    new = copy.deepcopy(config_json)
    for path in vocabulary_size_keys(config):
        section = new
        for key in path[:-1]:
            section = section.setdefault(key, {})
        section[path[-1]] = plan.rows
    text = config.get_text_config()
    for section, part in (
        (new, config),
        *((v, text) for v in new.values() if isinstance(v, dict) and "vocab_size" in v),
    ):
        for name in [name for name in section if name.endswith(SUFFIXES)]:
            section[name] = getattr(part, name, None)
        if "eos_token_id" not in section and "vocab_size" in section:
            section["eos_token_id"] = part.eos_token_id  # a class default would be the base's
    return new


def new_generation_config(
    config: PreTrainedConfig, plan: Plan, generation: GenerationConfig | None
) -> GenerationConfig:
    """Make the generation config of the new checkpoint.

    Args:
        config: the base's config, not yet updated.
        plan: the plan that the tables were made by.
        generation: the base's generation config, or None.

    Returns:
        A copy of the base's with translated ids, and quiet ids suppressed.
    """
    new = GenerationConfig.from_dict(generation.to_dict()) if generation else GenerationConfig.from_model_config(config)
    if plan.keeps_ids:
        new.suppress_tokens = sorted({*(new.suppress_tokens or ()), *plan.quiet}) or None
        return _as_loaded(new)
    ends = _ends(plan, config, generation)
    for name in [name for name in vars(new) if name.endswith("_token_id")]:
        setattr(new, name, _translated(plan, name, getattr(new, name), ends))
    if any(new_id != old_id for new_id, old_id in plan.copied.items()) or len(plan.copied) < plan.rows:
        new.suppress_tokens = plan.quiet or None
        for stale in STALE:
            if getattr(new, stale, None) is not None:  # ids of the old vocabulary
                setattr(new, stale, None)
    return _as_loaded(new)


def lost_ids(
    config: PreTrainedConfig,
    plan: Plan,
    generation: GenerationConfig | None,
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
) -> list[str]:
    """Say what the model relied on and the new tokenizer does not have.

    Args:
        config: the base's config, not yet updated.
        plan: the plan.
        generation: the base's generation config, or None.
        old: the base's tokenizer.
        new: the new tokenizer.

    Returns:
        Warnings: ends of sequence without a partner, a text no longer opened as the model was trained, images or audio
        that cannot be marked any more, and lists of ids that were dropped.
    """
    if plan.keeps_ids:
        return []
    found = []
    partners = set(plan.copied.values())
    gone = [_text(plan, index) for index in sorted(_old_ends(config, generation)) if index not in partners]
    if gone:
        found.append(
            f"generation used to stop at {', '.join(gone)} too, for which the new tokenizer has no partner; --map one"
        )
    if _old_ends(config, generation) and not _ends(plan, config, generation):
        found.append("the new tokenizer has no end of sequence, so generation stops at max_new_tokens only")
    opened = [t("a")["input_ids"][:1] != t("a", add_special_tokens=False)["input_ids"][:1] for t in (old, new)]
    if opened[0] and not opened[1]:
        found.append(
            f"the old tokenizer opened every text with {_text(plan, old('a')['input_ids'][0])}, the new one does not; "
            "the model was trained with it, so put it before your texts yourself"
        )
    values = {**vars(config.get_text_config()), **vars(config)}
    for name in [name for name in values if name.endswith(SUFFIXES) and name.rpartition("_token")[0] not in OPTIONAL]:
        value = values[name]
        if isinstance(value, int) and value not in partners and 0 <= value < len(plan.base):
            found.append(f"{name}: the new tokenizer has no {_text(plan, value)}, so the model takes none any more")
    dropped = [name for name in STALE if getattr(generation, name, None) is not None]
    if dropped and plan.base.pieces != plan.target.pieces:
        found.append(f"generation_config.json: {', '.join(dropped)} named ids of the old vocabulary and were dropped")
    return found


def _text(plan: Plan, index: int | list[int]) -> str:
    if isinstance(index, list):
        return ", ".join(_text(plan, one) for one in index)
    return repr(plan.base.piece(index).decode(errors="replace")) if 0 <= index < len(plan.base) else f"id {index}"


def _as_loaded(generation: GenerationConfig) -> GenerationConfig:
    # many published ones set a temperature without sampling, which transformers saves only unchanged since loading
    with TemporaryDirectory() as scratch:
        generation.to_json_file(Path(scratch) / GENERATION_CONFIG_NAME)
        return GenerationConfig.from_pretrained(scratch)


def _old_ends(config: PreTrainedConfig, generation: GenerationConfig | None) -> set[int]:
    old: set[int] = set()
    for part in (config, config.get_text_config(), generation):
        value = getattr(part, "eos_token_id", None)
        old |= set(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return old


def _ends(plan: Plan, config: PreTrainedConfig, generation: GenerationConfig | None) -> list[int]:
    """All ids at which generation stops: the new tokenizer's own, and the ends that have the row of an old one.

    A bos or unk that shares the row of the old end, for want of another, ends nothing.
    """
    old = _old_ends(config, generation)
    known = roles(plan.target)
    meant = {*known.get("eos", ()), *known.get("turn_end", ())}
    ends = [plan.target.named["eos_token"]] if "eos_token" in plan.target.named else []
    sharing = [(i, j) for i, j in plan.copied.items() if j in old and i not in ends]
    return ends + sorted(
        i for i, j in sharing if i in meant or plan.source[i] != "role" or plan.target.piece(i) == plan.base.piece(j)
    )


def _translated(plan: Plan, name: str, value: Any, ends: list[int]) -> Any:
    if name == "eos_token_id":
        return ends[0] if len(ends) == 1 else ends or None
    attribute = name.removesuffix("_id").removesuffix("_index")
    if value is not None and attribute in plan.target.named:
        return plan.target.named[attribute]
    if isinstance(value, list | tuple):
        new = [_translated(plan, "", one, ends) for one in value]
        return [one for one in new if one is not None] or None
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    partners = [new for new, old in sorted(plan.copied.items()) if old == value]
    return partners[0] if partners else None
