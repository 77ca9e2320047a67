"""A vocabulary sorted by its bytes, so that all tokens that begin alike lie side by side."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    """The tokens that begin with the same bytes: `order[start:stop]` of the trie; those from `longer` on go further.

    Attributes:
        start: first token; tokens that are just these bytes come first.
        longer: first token that has more bytes.
        stop: one past the last token.
        depth: number of bytes.
    """

    start: int
    longer: int
    stop: int
    depth: int


class Branches(NamedTuple):
    """How the tokens of a place go on.

    Attributes:
        bytes: [n] uint8, the next bytes, ascending.
        starts: [n] int64, where in the order the tokens of each begin.
    """

    bytes: np.ndarray
    starts: np.ndarray


class ByteTrie:
    """Tokens sorted by bytes. Sums over all tokens that begin with given bytes are sums over a slice.

    Args:
        pieces: bytes of each token by id, none of them empty; several ids may have the same.

    Attributes:
        order: [n] int64, the ids sorted by bytes, then by id.
        rank: place of each id in the order.
        root: the place of all tokens.
    """

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        ids = sorted(pieces, key=lambda index: (pieces[index], index))
        self.order = np.array(ids, dtype=np.int64)
        self.rank = {index: rank for rank, index in enumerate(ids)}
        lengths = np.array([len(pieces[index]) for index in ids], dtype=np.int64)
        self._ends = np.cumsum(lengths)
        self._begins = self._ends - lengths
        self._bytes = np.frombuffer(b"".join(pieces[index] for index in ids), dtype=np.uint8)
        self._known = np.bincount(self._bytes, minlength=256) > 0
        self._branches: dict[Place, Branches] = {}
        self._next: dict[Place, dict[int, Place]] = {}
        self.root = Place(0, 0, len(ids), 0)

    def branches(self, place: Place) -> Branches:
        """Tell how the tokens of a place go on.

        Args:
            place: a place of this trie.

        Returns:
            The next bytes, and where their tokens begin: `np.add.reduceat` over the slice up to `place.stop` adds up
            the tokens of each.
        """
        found = self._branches.get(place)
        if found is None:
            column = self._bytes[self._begins[place.longer : place.stop] + place.depth]
            changes = np.flatnonzero(np.diff(column)) + 1
            starts = np.concatenate(([0], changes)) if len(column) else changes
            found = self._branches[place] = Branches(column[starts], starts + place.longer)
        return found

    def step(self, place: Place, byte: int) -> Place | None:
        """Go on by one byte.

        Args:
            place: a place of this trie.
            byte: 0 to 255.

        Returns:
            The place of the tokens that go on with it, or None where there are none.
        """
        known = self._next.get(place)
        if known is None:
            known = self._next[place] = self._steps(place)
        return known.get(byte)

    def _steps(self, place: Place) -> dict[int, Place]:
        values, starts = self.branches(place)
        stops = np.append(starts, place.stop)[1:]
        depth = place.depth + 1
        found = {}
        for value, start, stop in zip(values.tolist(), starts.tolist(), stops.tolist(), strict=True):
            whole = self._ends[start:stop] - self._begins[start:stop] == depth  # these come first
            found[value] = Place(start, start + int(np.count_nonzero(whole)), stop, depth)
        return found

    def knows(self, byte: int) -> bool:
        """Whether a byte stands in any token, at whatever place of it.

        Args:
            byte: 0 to 255.

        Returns:
            Whether it does.
        """
        return bool(self._known[byte])

    def find(self, prefix: Iterable[int]) -> Place | None:
        """Find the tokens that begin with given bytes.

        Args:
            prefix: the bytes.

        Returns:
            Their place, or None.
        """
        place: Place | None = self.root
        for byte in prefix:
            place = self.step(place, byte) if place is not None else None
        return place
