"""Ids for groups of digits: what a vocabulary lacks is appended, and what it has keeps its id."""

from itertools import product
from typing import Any

from hf_tokext.errors import VocabularyError

DIGITS = "0123456789"


def digit_strings(width: int) -> list[str]:
    """All strings of 1 to `width` digits: 10 or 1,110 with leading zeros, short ones first."""
    return ["".join(letters) for length in range(1, width + 1) for letters in product(DIGITS, repeat=length)]


def add_digit_groups(spec: dict[str, Any], width: int) -> None:
    """See to it that a tokenizer's model makes one token of every group of digits that it is given alone.

    New groups are ordinary entries after the last id. Nothing is taken away and no old id changes; the encoding of text
    that holds no digits cannot change, since every new merge and every changed score is of digits alone.

    Args:
        spec: a parsed tokenizer.json, as `tokenizers` writes it; changed in place.
        width: digits of the longest group.

    Raises:
        VocabularyError: the model marks the ends or the insides of words by its own signs.
    """
    model, wanted = spec["model"], digit_strings(width)
    kind = model["type"]
    if kind == "Unigram":
        _add_to_unigram(spec, wanted)
        return
    if kind == "BPE" and (model.get("end_of_word_suffix") or model.get("continuing_subword_prefix")):
        raise VocabularyError(
            "this BPE marks where words end or go on, and groups of digits would become words of their own; take a "
            "byte-level or SentencePiece tokenizer"
        )
    prefix = model["continuing_subword_prefix"] if kind == "WordPiece" else ""
    forms = [*wanted, *(prefix + group for group in wanted)] if prefix else wanted
    vocabulary: dict[str, int] = model["vocab"]
    missing = [form for form in forms if form not in vocabulary]
    if missing:
        # added tokens that the model does not know are numbered after all that it knows: give them their places first
        for token in spec["added_tokens"]:
            vocabulary.setdefault(token["content"], token["id"])
        start = max(vocabulary.values()) + 1
        vocabulary.update({form: start + place for place, form in enumerate(missing)})
    if kind == "BPE":
        _add_merges(model["merges"], wanted)


def _add_merges(merges: list[list[str]], wanted: list[str]) -> None:
    """Append every way to make a group of two smaller ones.

    With all of them there is no dead end: whichever merge of two digits comes first in "123", one that finishes the
    group follows. A piece of digits holds at most one group, so no merge can join two.
    """
    known = {tuple(merge) for merge in merges}
    ways = ((group[:cut], group[cut:]) for group in wanted for cut in range(1, len(group)))
    merges.extend([left, right] for left, right in ways if (left, right) not in known)


def _add_to_unigram(spec: dict[str, Any], wanted: list[str]) -> None:
    vocabulary: list[list[Any]] = spec["model"]["vocab"]
    lowest = min((score for _, score in vocabulary), default=0.0)
    known = {token for token, _ in vocabulary}
    missing = [group for group in wanted if group not in known]
    if missing:  # ids are places in the list, so added tokens after its end are given theirs first
        after = sorted((token["id"], token["content"]) for token in spec["added_tokens"])
        vocabulary.extend([text, lowest] for index, text in after if index >= len(vocabulary))
        vocabulary.extend([group, lowest] for group in missing)
    if any(len(group) > 1 for group in wanted):
        # the path of the highest sum wins: of these scores that of the whole group, and the lowest score of all, by
        # which the model prices unknown characters, stays what it was
        low, groups = min(lowest, -1.0), set(wanted)
        for entry in vocabulary:
            if entry[0] in groups:
                entry[1] = low if len(entry[0]) == 1 else low / 2
