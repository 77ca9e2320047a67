"""Added tokens are matched in the text before all else, so ordinary tokens never spell one."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import Vocabulary, components, space_mark

AFTER_EVERY_BYTE = b"\xff"


class Begun(NamedTuple):
    """An added token whose match has begun in the text, as far as it goes.

    Attributes:
        normalized: whether it is one of those matched in the normalized text, after the others.
        read: its bytes so far.
    """

    normalized: bool
    read: bytes


Live = tuple[Begun, ...]


class AddedMatches:
    """Matches added tokens as the tokenizer does: those that begin first win, and of these the longest.

    Args:
        vocabulary: the vocabulary.
        pieces: [V] bytes of the ordinary tokens, None for the others.
        opened: whether the tokenizer puts a space before texts.

    Attributes:
        matched: ids of the added tokens that are matched in some text.
        spells: [V] bool, whether an ordinary token's bytes hold an added token.

    Raises:
        UnsupportedModelError: an added token looks at what stands beside it, is changed by the normalizer, or begins with
            a space that may be none of the text's.
    """

    def __init__(self, vocabulary: Vocabulary, pieces: Sequence[bytes | None], opened: bool) -> None:
        self._patterns: tuple[set[bytes], set[bytes]] = (set(), set())
        self._of: dict[int, Begun] = {}
        mark, normalizer = space_mark(vocabulary.spec), _normalizer(vocabulary)
        prepended = any(part["type"] == "Prepend" for part in components(vocabulary.spec, "normalizer"))
        for token in vocabulary.spec.get("added_tokens") or []:
            text, index = token["content"], token["id"]
            if is_matched_never(token, mark):
                continue
            if token.get("single_word") or (not token["special"] and (token.get("lstrip") or token.get("rstrip"))):
                raise UnsupportedModelError(
                    f"viable sequences are not known where the added token {text!r} looks at what stands beside it "
                    '(single_word, lstrip, rstrip); use measure="all_strings", which needs no viability'
                )
            normalized = bool(token.get("normalized"))
            if normalized and normalizer is not None:
                text = normalizer.normalize_str(text)
                text = text.replace(mark, " ") if mark else text
                if not token["special"] and text != token["content"]:
                    raise UnsupportedModelError(
                        f"viable sequences are not known where the normalizer changes the added token "
                        f'{token["content"]!r}; use measure="all_strings", which needs no viability'
                    )
            if opened and text.startswith(" ") and not (normalized and prepended):
                raise UnsupportedModelError(
                    f"viable sequences are not known where the added token {text!r} begins with a space and the tokenizer "
                    'puts one before every text; use measure="all_strings", which needs no viability'
                )
            self._patterns[normalized].add(text.encode())
            self._of[index] = Begun(normalized, text.encode())
        broken = {text for text in self._patterns[1] if any(raw in text for raw in self._patterns[0])}
        self._patterns[1].difference_update(broken)
        self.matched = {index for index, own in self._of.items() if own.read in self._patterns[own.normalized]}
        self._beginnings = tuple({p[:size] for p in group for size in range(1, len(p))} for group in self._patterns)
        self._longest = max((len(pattern) for group in self._patterns for pattern in group), default=0)
        self._by_first: dict[bytes, list[bytes]] = {}
        for pattern in self._patterns[0] | self._patterns[1]:
            self._by_first.setdefault(pattern[:1], []).append(pattern)
        self.spells = np.array([piece is not None and self._holds(piece) for piece in pieces], dtype=bool)
        self._ids = [index for index, piece in enumerate(pieces) if piece is not None]
        self._ids.sort(key=lambda index: pieces[index] or b"")
        self._sorted = [pieces[index] or b"" for index in self._ids]
        self._order = np.array(self._ids, dtype=np.int64)
        self._rests: dict[Live, tuple[np.ndarray, np.ndarray]] = {}

    def _holds(self, piece: bytes) -> bool:
        firsts = (first for first in self._by_first if first in piece)
        return any(pattern in piece for first in firsts for pattern in self._by_first[first])

    def _completions(self, begun: Begun) -> Iterator[bytes]:
        """What completes a match that has begun."""
        for pattern in self._by_first.get(begun.read[:1], ()):
            goes_on = len(pattern) > len(begun.read) and pattern.startswith(begun.read)
            if goes_on and pattern in self._patterns[begun.normalized]:
                yield pattern[len(begun.read) :]

    def after_live(self, live: Live) -> tuple[np.ndarray, np.ndarray]:
        """Ordinary ids that matches already begun meet.

        Args:
            live: the matches.

        Returns:
            The ids that complete one; the ids that one goes on through.
        """
        found = self._rests.get(live)
        if found is None:
            complete, through = [self._order[:0]], [self._order[:0]]
            for rest in {rest for begun in live for rest in self._completions(begun)}:
                complete.append(self._range(rest, rest + AFTER_EVERY_BYTE))
                through += [self._range(rest[:size], rest[:size] + b"\x00") for size in range(1, len(rest))]
            found = self._rests[live] = (np.concatenate(complete), np.concatenate(through))
        return found

    def _range(self, first: bytes, stop: bytes) -> np.ndarray:
        return self._order[bisect_left(self._sorted, first) : bisect_left(self._sorted, stop)]

    def read(self, live: Live, piece: bytes) -> Live:
        """Read an ordinary token.

        Args:
            live: matches begun before it.
            piece: its bytes.

        Returns:
            Matches begun now.
        """
        found = [Begun(begun.normalized, begun.read + piece) for begun in live]
        ends = [piece[place:] for place in range(max(0, len(piece) - self._longest + 1), len(piece))]
        found += [Begun(normalized, end) for normalized in (False, True) for end in ends]
        return self._going_on(found)

    def _going_on(self, found: list[Begun]) -> Live:
        return tuple(dict.fromkeys(begun for begun in found if begun.read in self._beginnings[begun.normalized]))

    def following(self, live: Live, ids: Sequence[int]) -> list[int]:
        """Find the added tokens that are matched after matches that have begun: none of these is completed within them.

        Args:
            live: the matches.
            ids: ids of added tokens that are matched in some text.

        Returns:
            Those that are.
        """
        rests = [{rest for b in live if n or not b.normalized for rest in self._completions(b)} for n in (False, True)]
        found = []
        for index in ids:
            normalized, text = self._of[index]
            if not any(text[:size] in rests[normalized] for size in range(1, len(text) + 1)):
                found.append(index)
        return found

    def may_follow(self, live: Live, index: int) -> bool:
        """Tell whether one added token is matched after matches that have begun, as `following` does for several.

        Args:
            live: the matches.
            index: the added token's id.

        Returns:
            Whether it is.
        """
        return bool(self.following(live, [index]))

    def read_added(self, live: Live, index: int) -> Live:
        """Read an added token.

        Args:
            live: matches begun before it.
            index: its id.

        Returns:
            Matches begun now: longer ones, older ones, and in a normalized token those of the others.
        """
        own = self._of[index]
        found = [Begun(b.normalized, b.read + own.read) for b in live if own.normalized or not b.normalized]
        found.append(own)
        if own.normalized:
            found += [Begun(False, own.read[place:]) for place in range(len(own.read))]
        return self._going_on(found)


def is_matched_never(token: dict[str, Any], mark: str | None) -> bool:
    """Whether an added token has the mark of the space, while the text that it is looked for in still has spaces.

    Args:
        token: its entry in tokenizer.json.
        mark: the mark, or None.

    Returns:
        Whether it has.
    """
    return mark is not None and mark in token["content"] and not token.get("normalized")


def _normalizer(vocabulary: Vocabulary) -> Any:
    bare = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
    return Tokenizer.from_str(json.dumps(bare | {"normalizer": vocabulary.spec.get("normalizer")})).normalizer
