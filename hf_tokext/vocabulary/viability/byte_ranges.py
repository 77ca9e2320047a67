"""Strings sorted by their bytes: those that begin alike lie side by side, and so do those that begin with a rest."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np

AFTER_EVERY_BYTE = b"\xff"  # no byte of UTF-8 is as large


class SortedStrings:
    """Distinct strings sorted by their UTF-8 bytes; a rank is a place in this order.

    Args:
        strings: the strings.

    Attributes:
        strings: [n] the strings' bytes, ascending.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self.strings = sorted({string.encode() for string in strings})

    def __len__(self) -> int:
        return len(self.strings)

    def beginning_with(self, prefix: bytes) -> tuple[int, int]:
        """Ranks, first and one past the last, of the strings that begin with a prefix, itself included."""
        start = bisect_left(self.strings, prefix)
        return start, bisect_left(self.strings, prefix + AFTER_EVERY_BYTE, start)

    def longer_than(self, prefix: bytes) -> tuple[int, int]:
        """Ranks, first and one past the last, of the strings that begin with a prefix and go on."""
        start = bisect_right(self.strings, prefix)
        return start, bisect_left(self.strings, prefix + AFTER_EVERY_BYTE, start)


class Rests:
    """The rests of strings: what is left of each when bytes are cut off its front.

    Args:
        strings: N strings.
        among: the strings that are looked up by the rests.

    Attributes:
        texts: [R] the distinct rests; the empty one is among them.
        starts: [R] int64, first rank of the strings of `among` that begin with the rest.
        stops: [R] int64, one past the last.
    """

    def __init__(self, strings: SortedStrings, among: SortedStrings) -> None:
        numbers: dict[bytes, int] = {b"": 0}
        found: list[int] = []
        offsets = []
        for string in strings.strings:
            offsets.append(len(found))
            found += [numbers.setdefault(string[cut:], len(numbers)) for cut in range(len(string) + 1)]
        self.texts = list(numbers)
        self._numbers = np.array(found, dtype=np.int64)
        self._offsets = np.array(offsets, dtype=np.int64)
        ranges = np.array([among.beginning_with(text) for text in self.texts], dtype=np.int64).reshape(-1, 2)
        self.starts, self.stops = ranges[:, 0], ranges[:, 1]

    def after(self, ranks: np.ndarray | slice, cuts: np.ndarray | int) -> np.ndarray:
        """Tell which rests are left.

        Args:
            ranks: [n] int64, ranks of strings, or a slice of them.
            cuts: [n] int64, how many bytes are cut off each; or one number for all.

        Returns:
            [n] int64, places in `texts`.
        """
        return self._numbers[self._offsets[ranks] + cuts]
