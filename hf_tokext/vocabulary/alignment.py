"""Two vocabularies side by side: anchors by equal bytes, and everything about them that differs."""

import json
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from hf_tokext.vocabulary.pieces import Vocabulary, components
from hf_tokext.vocabulary.roles import map_roles
from hf_tokext.vocabulary.spelling import Speller

DIGIT_PROBE = "1234567"
PROBES = {
    "capital letters": "Hello World",
    "accents written as two characters": "e\u0301 n\u0303",
    "full-width characters": "\uff21\uff22\uff23",
    "runs of spaces": "a  b    c",
    "line breaks and tabs": "a\n\n\tb\r\n",
    "a space at the start": " a",
}


@dataclass(frozen=True, eq=False)
class Alignment:
    """What two vocabularies have in common.

    Attributes:
        anchors: target id to base id of equal bytes, ordinary tokens only.
        roles: target id to base id of equal text or role, special tokens.
        unreachable: ordinary target ids that no text is encoded to, and whose base partner does occur.
        collisions: groups of target ids that share their bytes; the first is the one that text is encoded to.
        extends: whether the target has every id of the base as the base has it, and perhaps further ones.
        identical: whether both vocabularies are the same, id for id.
        warnings: differences that a user should know of, in plain words.
    """

    anchors: dict[int, int]
    roles: dict[int, int]
    unreachable: frozenset[int]
    collisions: tuple[tuple[int, ...], ...]
    extends: bool
    identical: bool
    warnings: tuple[str, ...]


def align(target: Vocabulary, base: Vocabulary) -> Alignment:
    """Align the vocabulary that is to be put on with the one that the model was trained with.

    Args:
        target: the new vocabulary.
        base: the model's own vocabulary.

    Returns:
        Anchors, roles, unreachable ids, collisions and warnings.
    """
    known = {index: text for index, text in target.special.items() if index < len(base)}
    extends = target.pieces[: len(base)] == base.pieces and known == base.special
    identical = extends and len(target) == len(base)
    anchors = {}
    for index in target.ids:
        if index not in target.special:
            partners = base.ids_of_piece.get(target.piece(index), ())
            same_kind = [partner for partner in partners if (partner in base.fallback) == (index in target.fallback)]
            if partners:
                anchors[index] = index if extends and index < len(base) else (same_kind or partners)[0]
    kept = len(base) if extends else 0
    collisions = tuple(ids for ids in target.ids_of_piece.values() if len(ids) > 1)
    met = tuple(ids for ids in collisions if max(ids) >= kept)
    return Alignment(
        anchors=anchors,
        roles={i: i for i in base.special} if extends else map_roles(target, base),
        unreachable=_unreachable(target, base, anchors, kept),
        collisions=collisions,
        extends=extends,
        identical=identical,
        # the same ids may still be reached by other rules: lower-casing, digits in threes
        warnings=() if target.spec == base.spec else tuple(_differences(target, base, met)),
    )


def _unreachable(target: Vocabulary, base: Vocabulary, anchors: dict[int, int], kept: int) -> frozenset[int]:
    """Unreachable ids of the target but for the first ones, which are the base's own."""
    if target.added.issuperset(range(kept, len(target))):  # an added token is found wherever its text stands
        return frozenset()
    quiet_in_base = Speller(base).unreachable()
    found = (index for index in Speller(target).unreachable() if index >= kept)
    return frozenset(index for index in found if anchors.get(index) not in quiet_in_base)


def digit_scheme(vocabulary: Vocabulary) -> str:
    """Say how a tokenizer cuts the number 1234567: for example "1+1+1+1+1+1+1" or "3+3+1"."""
    tokens = _backend(vocabulary).encode(DIGIT_PROBE, add_special_tokens=False).ids
    lengths = [len(vocabulary.piece(index).strip()) for index in tokens]
    return "+".join(str(length) for length in lengths if length)


def _backend(vocabulary: Vocabulary) -> Tokenizer:
    backend = Tokenizer.from_str(json.dumps(vocabulary.spec))
    backend.no_padding()
    backend.no_truncation()
    return backend


def _changes(vocabulary: Vocabulary) -> set[str]:
    backend = _backend(vocabulary)
    changed = set()
    for name, text in PROBES.items():
        ids = backend.encode(text, add_special_tokens=False).ids
        joined = b"".join(vocabulary.piece(i) for i in ids if i not in vocabulary.special)
        if joined not in (text.encode(), b" " + text.encode()):
            changed.add(name)
    return changed


def _differences(target: Vocabulary, base: Vocabulary, collisions: tuple[tuple[int, ...], ...]) -> list[str]:
    found = [] if _only_has_more(target, base) else _other_rules(target, base)
    ordinary = [ids for ids in collisions if not any(i in target.fallback for i in ids)]
    if ordinary:
        found.append(f"{len(ordinary)} groups of new ids share their bytes; only the first id of each is ever used")
    return found


def _only_has_more(target: Vocabulary, base: Vocabulary) -> bool:
    """Whether all that is new is added tokens, none of which is in a probe, so that each of these is cut as before."""
    known, more = base.spec.get("added_tokens") or [], target.spec.get("added_tokens") or []
    if more[: len(known)] != known or _rules(target) != _rules(base):
        return False
    probes, texts = (DIGIT_PROBE, *PROBES.values()), {token["content"] for token in known}
    return all(
        token["id"] >= len(base)  # an id of the base would have other bytes, or be a control token
        and token["content"] not in texts  # the later one of two with one text has its way
        and not token["normalized"]
        and not any(token["content"] in probe for probe in probes)
        for token in more[len(known) :]
    )


def _rules(vocabulary: Vocabulary) -> dict[str, Any]:
    """All of a tokenizer.json but the added tokens; a part that is null is one that is left out."""
    return {key: value for key, value in vocabulary.spec.items() if key != "added_tokens" and value is not None}


def _other_rules(target: Vocabulary, base: Vocabulary) -> list[str]:
    found = []
    new, old = ([part["type"] for part in components(v.spec, "normalizer")] for v in (target, base))
    if new != old:
        found.append(f"normalizers differ: new {new or 'none'}, old {old or 'none'}")
    lost = sorted(_changes(target) - _changes(base))
    if lost:
        found.append(f"the new tokenizer does not keep what the old one kept: {', '.join(lost)}")
    new_digits, old_digits = digit_scheme(target), digit_scheme(base)
    if new_digits != old_digits:
        found.append(
            f"numbers are cut differently: {DIGIT_PROBE} is now {new_digits}, was {old_digits}; arithmetic suffers "
            "until the model is trained on it"
        )
    return found
