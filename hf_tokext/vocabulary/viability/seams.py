"""Where normalizer and pre-tokenizer let two texts meet: in one word, with a cut between, or not at all.

Both are asked, never imitated. What is taken for granted is that they look at two neighbouring characters at a time, or
at a character with the marks that combine with it; tokenizers with other rules are refused.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate

import numpy as np
from tokenizers import Tokenizer

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import Vocabulary, components, space_mark
from hf_tokext.vocabulary.viability.kept import Kept

NORMALIZERS = frozenset(
    ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend", "Replace", "Strip")
    + ("StripAccents",)
)
CUTTERS = frozenset(
    ("BertPreTokenizer", "CharDelimiterSplit", "Digits", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit")
)
RUN = re.compile(r"(\\s|\[[^\]]*\]|\\?[^\\\w])(\{2,\}|\+)")  # a regular expression for a run of like characters
ANCHORS = "axy0-"  # the first that stays as it is stands for the text around
KINDS = "aA1!_ \n-'é中"  # neighbours that tell characters apart
PARTS = (("\u1100", "\u11ff"), ("\ua960", "\ua97f"), ("\ud7b0", "\ud7ff"), ("\U0001f1e6", "\U0001f1ff"))
KEPT_BYTES = 1 << 24  # answers kept, each as long as the vocabulary


class Place(IntEnum):
    """Where the tail that a text is set after stands: it is all there is, the same in mid-text, or more is before it."""

    START = 0
    FRESH = 1
    INSIDE = 2


class Seam(IntEnum):
    """How two texts meet."""

    NONE = 0
    JOIN = 1
    CUT = 2


class Seams:
    """Says for every token how its text may follow what was read.

    Args:
        vocabulary: the vocabulary.
        texts: [V] text of each id, None where it is no ordinary token; spaces are spaces.

    Attributes:
        opening: what stands before every text.
        whole: [V] bool, whether some text has the token's text in one word, unchanged.

    Raises:
        UnsupportedModelError: the normalizer or the pre-tokenizer is one whose rules look further than these do.
    """

    def __init__(self, vocabulary: Vocabulary, texts: Sequence[str | None]) -> None:
        spec = vocabulary.spec
        _check(spec)
        core = Tokenizer.from_str(json.dumps(spec | {"post_processor": None, "truncation": None, "padding": None}))
        self._normalizer, self._cutter, self._mark = core.normalizer, core.pre_tokenizer, space_mark(spec)
        found = ((each, self.model_text(each)) for each in ANCHORS)
        self._anchor, self.opening = next(
            ((each, text[:-1]) for each, text in found if text.endswith(each)), (ANCHORS[0], "")
        )
        self._named = _named(spec)
        self._neighbours = KINDS + "".join(sorted(self._named - set(KINDS)))
        self._kinds: dict[tuple, int] = {}
        self._kind_of: dict[str, int] = {}
        self._samples: list[str] = []
        self._rows: dict[tuple[Place, str], np.ndarray] = {}
        self._after = Kept(self._find_after, max(KEPT_BYTES // max(len(texts), 1), 16))
        self.whole = np.array([text is not None and self._is_whole(text) for text in texts], dtype=bool)
        leads = [first_cluster(text) if text and whole else "" for text, whole in zip(texts, self.whole, strict=True)]
        self._bound: dict[str, list[int]] = {}  # ids by leads that may change what stands before them
        for index, lead in enumerate(leads):
            if lead and binds(lead[0]):
                self._bound.setdefault(lead, []).append(index)
        self._leads = np.array([self._kind(lead[0]) if lead else 0 for lead in leads], dtype=np.int64)

    def model_text(self, text: str) -> str:
        """A text as the model is given it, all words joined, with spaces for the mark."""
        return "".join(self._words(text))

    def after(self, place: Place, tail: str) -> np.ndarray:
        """How the tokens' texts follow a tail.

        Args:
            place: where the tail stands.
            tail: the last characters read, as `new_tail` keeps them.

        Returns:
            [V] uint8 of `Seam`, read-only.
        """
        return self._after((place, tail))

    def _find_after(self, key: tuple[Place, str]) -> np.ndarray:
        found = self._row(*key)[self._leads]
        for lead, ids in self._bound.items():
            found[ids] = self.between(*key, lead)
        found[~self.whole] = Seam.NONE
        found.flags.writeable = False
        return found

    def between(self, place: Place, tail: str, lead: str) -> Seam:
        """How one text follows a tail."""
        for end in (self._anchor, ""):
            cuts = self._cuts(place, tail + lead + end)
            if cuts is not None:
                return Seam.CUT if not tail or len(lead + end) in cuts else Seam.JOIN
        return Seam.NONE

    def like(self, place: Place, tail: str) -> str:
        """A tail that all characters follow in the same way, marks apart; the same for all tails of a kind."""
        plain = len(tail) == 1 and place is Place.INSIDE and not (binds(tail) or binds_next(tail))
        return self._samples[self._kind(tail)] if plain else tail

    def may_end(self, place: Place, tail: str) -> bool:
        """Whether a text may end after a tail."""
        return not tail or self._cuts(place, tail) is not None

    def new_tail(self, place: Place, tail: str, text: str) -> tuple[Place, str]:
        """The place and tail after more text: the last character with the marks on it, and those before that they change."""
        whole = tail + text
        start = len(whole) - 1
        while start > 0 and (binds(whole[start]) or binds_next(whole[start - 1])):
            start -= 1
        return (Place.INSIDE if start > 0 else place), whole[start:]

    def _words(self, text: str) -> list[str]:
        normal = self._normalizer.normalize_str(text) if self._normalizer is not None else text
        words = [word for word, _ in self._cutter.pre_tokenize_str(normal)] if self._cutter is not None else [normal]
        return [word.replace(self._mark, " ") for word in words] if self._mark else words

    def _cuts(self, place: Place, text: str) -> set[int] | None:
        """Distances of the words' ends from the end of a text that the tokenizer leaves as it is; None where it does not."""
        opened, opening = self.opening + text, self.opening
        if place is Place.INSIDE:
            asked, wanted = [self._anchor + text], [opening + self._anchor + text]
        elif place is Place.FRESH:
            asked, wanted = [text], [text, opened] if text.startswith(opening) else [opened]
        else:
            asked, wanted = ([text[len(opening) :]] if text.startswith(opening) else []) + [text], [text]
        for each in asked:
            words = self._words(each)
            if "".join(words) in wanted:
                return set(accumulate(len(word) for word in reversed(words)))
        return None

    def _is_whole(self, text: str) -> bool:
        for place in (Place.INSIDE, Place.START, Place.FRESH):
            for end in (self._anchor, ""):
                cuts = self._cuts(place, text + end)
                if cuts is not None and not any(len(end) < cut < len(text + end) for cut in cuts):
                    return True
        return False

    def _row(self, place: Place, tail: str) -> np.ndarray:
        """[kinds] uint8: how characters of each kind follow a tail."""
        key = (place, self.like(place, tail))
        row = self._rows.get(key)
        if row is None or len(row) < len(self._samples):
            row = np.array([self.between(*key, sample) for sample in self._samples], dtype=np.uint8)
            self._rows[key] = row
        return row

    def _kind(self, character: str) -> int:
        """Number of the kind of a character; the seams between two kinds are those between their first characters."""
        found = self._kind_of.get(character)
        if found is None:
            inside = Place.INSIDE
            signature = (
                character if character in self._named else "",
                tuple(self.between(inside, character, each) for each in self._neighbours),
                tuple(self.between(inside, each, character) for each in self._neighbours),
                self.between(inside, character, character),
                self.between(Place.START, "", character),
                self.between(Place.FRESH, "", character),
            )
            found = self._kinds.setdefault(signature, len(self._kinds))
            if found == len(self._samples):
                self._samples.append(character)
            self._kind_of[character] = found
        return found


def binds(character: str) -> bool:
    """Whether a character may change, or be changed by, the one before it: marks, joiners, Hangul's parts, modifiers."""
    return character > "\x7f" and (
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf", "Sk") or _in_parts(character)
    )


def binds_next(character: str) -> bool:
    """Whether a character may change what comes after it, mark or not."""
    return unicodedata.category(character) == "Cf" or _in_parts(character)


def _in_parts(character: str) -> bool:
    """Hangul's consonants and vowels, and the letters that make flags in pairs."""
    return any(first <= character <= last for first, last in PARTS)


def first_cluster(text: str) -> str:
    """The first character of a text and all that changes it."""
    stop = 1
    while stop < len(text) and (binds(text[stop]) or binds_next(text[stop - 1])):
        stop += 1
    return text[:stop]


def _named(spec: dict) -> set[str]:
    """Characters that rules name; each is a kind of its own."""
    named = set()
    for section in ("normalizer", "pre_tokenizer"):
        for part in components(spec, section):
            named |= set("".join((part.get("pattern") or {}).values())) if part["type"] == "Replace" else set()
            named |= set(str(part.get("delimiter") or ""))
    return named


def _check(spec: dict) -> None:
    for section, known in (("normalizer", NORMALIZERS), ("pre_tokenizer", CUTTERS)):
        for part in components(spec, section):
            if part["type"] not in known or not _is_local(part):
                raise UnsupportedModelError(
                    f"viable sequences are not known for the {section} {part['type']} of a "
                    f'{spec["model"].get("type")} tokenizer; use measure="all_strings", which needs none'
                )


def _is_local(part: dict) -> bool:
    """Whether a replacement looks at two neighbouring characters at most, or at a run of like ones."""
    if part["type"] != "Replace":
        return True
    pattern = part["pattern"]
    return len(pattern["String"]) <= 2 if "String" in pattern else RUN.fullmatch(pattern["Regex"]) is not None
