"""A cover without its last token."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.vocabulary.trie import ByteTrie, Place

NOTHING = -math.inf  # the log of no probability


@dataclass(slots=True)
class Step:
    """What the next token of a head does at one byte of the text.

    Attributes:
        position: bytes of the text, this one included.
        longer: probability of the tokens that go on past it.
        ids: tokens that end with it.
        chances: their probabilities.
    """

    position: int
    longer: float
    ids: np.ndarray
    chances: np.ndarray


@dataclass(slots=True)
class Next:
    """Probabilities of what comes after a head at one position of the text.

    Attributes:
        position: bytes of the text before it.
        bytes: [n] the next bytes that tokens of the head go on with.
        chances: [n] their probabilities.
        markers: [markers] probabilities of special tokens, or None where a token has begun.
    """

    position: int
    bytes: np.ndarray
    chances: np.ndarray
    markers: np.ndarray | None


@dataclass(slots=True)
class Head:
    """A token sequence that spells the text up to a place, and the tokens that may come next.

    Attributes:
        context: the tokens.
        weight: log probability of the tokens.
        end: bytes of the text that they spell.
        state: what the measure knows of them; of those before the last, until the model has run.
        row: probabilities of the next token in the trie's order; None before the model has run.
        markers: [markers] probabilities of the special tokens.
        place: the tokens that begin with the bytes of the text after `end`; None if there are none.
        without: a byte that the next token may not begin with, since another head has those; or None.
        opening: the next token begins with a space that is no part of the text.
    """

    context: Context
    weight: float
    end: int
    state: Any
    row: np.ndarray | None = None
    markers: np.ndarray | None = None
    place: Place | None = None
    without: int | None = None
    opening: bool = False

    def follow(self, text: bytes, start: int, trie: ByteTrie) -> Iterator[Step]:
        """Go on through a text as far as some token goes; `place` moves along.

        Args:
            text: the whole text.
            start: where `place` stands.
            trie: the tokens.

        Yields:
            What happens at each byte.
        """
        for position in range(start, len(text)):
            if self.place is None or (text[position] == self.without and position == self.end):
                self.place = None
                return
            self.place = trie.step(self.place, text[position])
            if self.place is None:
                return
            assert self.row is not None
            rest = self.row[self.place.longer : self.place.stop]
            yield Step(position + 1, float(rest.sum(dtype=np.float64)), *ending(self, self.place, trie))

    def next(self, position: int, trie: ByteTrie) -> Next:
        """Say what comes next, `place` standing at a position of the text.

        Args:
            position: bytes of the text.
            trie: the tokens.

        Returns:
            The probabilities.
        """
        assert self.place is not None and self.row is not None
        values, starts = trie.branches(self.place)
        chances = np.add.reduceat(self.row[: self.place.stop], starts, dtype=np.float64) if len(values) else np.zeros(0)
        at_end = position == self.end
        if at_end and self.without is not None:
            chances[values == self.without] = 0
        return Next(position, values, chances, self.markers if at_end and not self.opening else None)

    def choices(self, trie: ByteTrie, marker_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens that may come next and go past the text, `place` standing at its end.

        Args:
            trie: the tokens.
            marker_ids: ids of the markers.

        Returns:
            Their ids, and their probabilities after the head; those that end with the text have heads of their own.
        """
        assert self.place is not None and self.row is not None and self.markers is not None
        past = slice(self.place.longer, self.place.stop)
        ids, chances = trie.order[past], self.row[past]
        if self.place.depth:
            return ids, chances
        if self.without is not None and (others := trie.step(self.place, self.without)):
            kept = np.delete(np.arange(len(ids)), slice(others.start, others.stop))
            ids, chances = ids[kept], chances[kept]
        return np.append(ids, marker_ids), np.append(chances, self.markers)


def ending(head: Head, place: Place, trie: ByteTrie) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that are just the bytes of a place.

    Args:
        head: one that has run.
        place: the place.
        trie: the tokens.

    Returns:
        Their ids, and their probabilities after the head.
    """
    assert head.row is not None
    return trie.order[place.start : place.longer], head.row[place.start : place.longer]


def log_sum(values: Iterable[float]) -> float:
    """Log of the sum of what the values are logs of.

    Args:
        values: natural logs.

    Returns:
        The natural log; minus infinity for no values.
    """
    found = list(values)
    top = max(found, default=NOTHING)
    return top if top == NOTHING else top + math.log(sum(math.exp(value - top) for value in found))
