"""Unigram's best paths: which strings end the best path of a word when they are set behind it."""

from collections.abc import Mapping

import numpy as np

from hf_tokext.vocabulary.viability.byte_ranges import Rests, SortedStrings
from hf_tokext.vocabulary.viability.kept import Kept

KEPT_BYTES = 1 << 25  # answers kept, each as long as the vocabulary
CLOSE = 1e-6  # scores that differ by less may be equal, or not, as the rounding of their sums goes
NEVER = float("-inf")

Window = tuple[str, tuple[float, ...]]  # text, and the best score up to each of its boundaries, the first one included
EMPTY: Window = ("", (0.0,))


class UnigramLattice:
    """Best paths as the tokenizer finds them: sums of float64 from left to right; of equal sums, the longest last string.

    A window is the end of a word from the last boundary on that every string, whatever follows, respects: what comes
    before it cannot change which string ends a best path.

    Args:
        scores: score of every string of the vocabulary.
        unknown: score of a character that is no string itself, or None if words with one have no encoding.

    Attributes:
        strings: the strings; what this class says of them is in this order.
    """

    def __init__(self, scores: Mapping[str, float], unknown: float | None) -> None:
        self.strings = SortedStrings(scores)
        self._scores = dict(scores)
        self._unknown = unknown
        self._longest = max(map(len, scores))
        self._rests = Rests(self.strings, self.strings)
        self._value = np.array([scores[string.decode()] for string in self.strings.strings])
        self._sizes = np.array([len(string) for string in self.strings.strings], dtype=np.int64)
        self._best, split = self._best_paths()
        self._split = split[self._rests.after(slice(None), 0)]
        self._asked = np.array([self._has_unknown(string.decode()) for string in self.strings.strings], dtype=bool)
        self._margins = Kept(self._compare, max(KEPT_BYTES // len(scores), 16))

    def _has_unknown(self, text: str) -> bool:
        return self._unknown is None and any(character not in self._scores for character in text)

    def _best_paths(self) -> tuple[np.ndarray, np.ndarray]:
        """[R], [R]: of each rest of a string, the best score, and the best of paths of two or more strings."""
        best: dict[bytes, float] = {b"": 0.0}
        split = {b"": NEVER}
        for text in sorted(self._rests.texts, key=len)[1:]:
            if text[0] & 0xC0 == 0x80:  # begins within a character
                best[text] = split[text] = NEVER
                continue
            string = text.decode()
            value = self._unknown_score(string[0]) + best[string[1:].encode()]
            for stop in range(1, len(string)):
                score = self._scores.get(string[:stop])
                if score is not None:
                    value = max(value, score + best[string[stop:].encode()])
            split[text], best[text] = value, max(value, self._scores.get(string, NEVER))
        order = self._rests.texts
        return np.array([best[text] for text in order]), np.array([split[text] for text in order])

    def _unknown_score(self, character: str) -> float:
        return NEVER if self._unknown is None or character in self._scores else self._unknown

    def follows(self, window: Window) -> np.ndarray:
        """Tell which strings end the best path when they come next.

        Args:
            window: what was read of the word.

        Returns:
            [n] bool, in the order of `strings`.
        """
        found, close = self._margins(window[0])
        if len(close):
            found = found.copy()
            for rank in close.tolist():
                found[rank] = self.ends_with(window, self.strings.strings[rank].decode())
        return found

    def _compare(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """[n] bool, the strings that end the best path behind a window; and those that must be asked one by one."""
        steps = self._forward(EMPTY, text) or []
        margin = self._value - self._rivals(text, (0.0, *(value for value, _ in steps)))
        return margin > 0, np.flatnonzero((np.abs(margin) <= CLOSE) | self._asked)

    def _rivals(self, text: str, values: tuple[float, ...]) -> np.ndarray:
        """[n]: the best score, relative to that of the word, of paths that end otherwise than with the string."""
        rivals = self._split.copy()
        for start, value in enumerate(values[:-1]):
            before = text[start:].encode()
            first, last = self.strings.longer_than(before)  # strings that lie across the end of the word
            if first == last:
                continue
            gains = value - values[-1] + self._value[first:last]
            rests = self._rests.after(slice(first, last), len(before))
            starts, stops = self._rests.starts[rests], self._rests.stops[rests]
            counts = stops - starts
            across = np.repeat(np.arange(len(rests)), counts)
            ranks = np.arange(len(across)) - np.repeat(np.cumsum(counts) - counts - starts, counts)
            cuts = (self._sizes[first:last] - len(before))[across]
            np.maximum.at(rivals, ranks, gains[across] + self._best[self._rests.after(ranks, cuts)])
        return rivals

    def ends_with(self, window: Window, text: str) -> bool:
        """Whether the best path of a word with text behind it ends with this text as one string, or unknown character."""
        steps = self._forward(window, text)
        return steps is not None and steps[-1][1] == len(window[0])

    def _forward(self, window: Window, text: str) -> list[tuple[float, int]] | None:
        """Best score of every boundary in the text, and where the last string begins; None if there is no encoding."""
        before, values = window
        whole, best = before + text, list(values)
        steps = []
        for stop in range(len(before) + 1, len(whole) + 1):
            value, begin = NEVER, -1
            for start in range(max(0, stop - self._longest), stop):
                score = self._scores.get(whole[start:stop])
                if score is not None and (begin < 0 or score + best[start] > value):
                    value, begin = score + best[start], start
            if whole[stop - 1] not in self._scores:
                alone = NEVER if self._unknown is None else self._unknown + best[stop - 1]
                if begin < 0 or alone > value:
                    value, begin = alone, stop - 1
                    if self._unknown is None:
                        return None
            best.append(value)
            steps.append((value, begin))
        return steps

    def extend(self, window: Window, text: str) -> Window:
        """The window after a string, or an unknown character, that ends the best path."""
        steps = self._forward(window, text)
        assert steps is not None, "only what ends a best path is read"
        whole, values = window[0] + text, (*window[1], *(value for value, _ in steps))
        start = self._last_firm(whole)
        return whole[start:], values[start:]

    def _last_firm(self, text: str) -> int:
        """The last boundary that no string lies across, whatever follows the text."""
        firm = reach = 0
        for start in range(len(text)):
            if reach <= start:
                firm = start
            first, last = self.strings.longer_than(text[start:].encode())
            if first < last:
                return firm
            ends = (
                stop
                for stop in range(min(len(text), start + self._longest), start, -1)
                if text[start:stop] in self._scores
            )
            reach = max(reach, next(ends, start + 1))
        return len(text) if reach <= len(text) else firm
