"""Which codes may follow which in a document of a modality."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hf_tokext.vocabulary.code_layout import CodeLayout
from hf_tokext.vocabulary.grammar import Grammar

START, END, PLACEHOLDER, CODES = range(4)


class CodesRead(NamedTuple):
    """What matters of the codes read so far.

    Attributes:
        read: codes; -1 before the start marker.
        steps: places of the document, None where it may still get more.
        ended: whether the end marker stands.
    """

    read: int = -1
    steps: int | None = None
    ended: bool = False


class CodeGrammar(Grammar[CodesRead]):
    """A start marker, all codes of all places in the order of a layout, and an end marker; placeholders never.

    A continuous codec has placeholders in place of codes.

    Args:
        codebooks: number of codes of each codebook; none for a continuous codec.
        layout: the order.
        steps: places that each document has; None for any number from one on.
    """

    def __init__(self, codebooks: Sequence[int], layout: CodeLayout, steps: int | None) -> None:
        super().__init__(CODES + sum(codebooks))
        self.layout, self.steps = layout, steps
        starts = np.cumsum([CODES, *codebooks]).tolist()
        self._ranges = list(zip(starts, starts[1:], strict=False)) or [(PLACEHOLDER, CODES)]
        self.longest_step = layout.books + 1
        self.written_by_ids = bool(codebooks)
        self._masks = lru_cache(None)(self._mask)

    def start(self) -> CodesRead:
        """See the base class."""
        return CodesRead()

    def complete(self, state: CodesRead) -> bool:
        """See the base class."""
        return state.ended

    def allowed(self, state: CodesRead) -> np.ndarray:
        """See the base class."""
        return self._masks(tuple((first, last) for first, last, _ in self._options(state)))

    def distance(self, state: CodesRead) -> int:
        """See the base class."""
        if state.ended:
            return 0
        count = max(state.read, 0)
        steps = state.steps or self.steps or max(self.layout.begun(count), 1)
        return self.layout.books * steps - count + 1 + (state.read < 0)

    def _advance(self, state: CodesRead, index: int) -> CodesRead:
        return next(after for first, last, after in self._options(state) if first <= index < last)

    def _count_needs(self, state: CodesRead) -> np.ndarray:
        needs = np.zeros(self.size, dtype=np.int64)
        for first, last, after in self._options(state):
            needs[first:last] = 1 + self.distance(after)
        return needs

    def _options(self, state: CodesRead) -> list[tuple[int, int, CodesRead]]:
        """What may come next: the first token, the one behind the last, and the state after each of these."""
        if state.ended:
            return []
        if state.read < 0:
            return [(START, START + 1, CodesRead(0, self.steps))]
        found = []
        if state.steps is None:
            book = self.layout.book(state.read, None)
            found.append((*self._ranges[book], CodesRead(state.read + 1)))
            if book or not state.read:
                return found
        # either all places are known, or a new one would begin here, and need not
        steps = state.steps or self.layout.begun(state.read)
        book = self.layout.book(state.read, steps)
        if book < self.layout.books:
            found.append((*self._ranges[book], CodesRead(state.read + 1, steps)))
        else:
            found.append((END, END + 1, CodesRead(state.read, steps, ended=True)))
        return found

    def _mask(self, ranges: tuple[tuple[int, int], ...]) -> np.ndarray:
        allowed = np.zeros(self.size, dtype=bool)
        for first, last in ranges:
            allowed[first:last] = True
        allowed.flags.writeable = False
        return allowed
