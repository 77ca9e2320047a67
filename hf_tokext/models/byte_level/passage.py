"""Reading a run of known bytes: the heads at every place of it, found in few passes of the model."""

import math
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.models.byte_level.heads import NOTHING, Head, Next, Step, log_sum

if TYPE_CHECKING:
    from hf_tokext.models.byte_level.covers import Covers

REVIVED = 8  # dropped heads that are run at once where no other head is left
GUESSED = 8  # bytes from which on the tokenizer's own spelling is run first
NUMBERS_AT_ONCE = 1 << 25  # of the rows that are held at a time

Runs = Generator[list[Head], None, list["_Trace"]]


@dataclass(slots=True)
class _Trace:
    """What a head does on its way through the text."""

    head: Head
    steps: list[Step]
    next: list[Next]


class Passage:
    """The bytes that a text goes on with.

    Heads are run in waves: all that are wanted at the time, wherever in the passage they stand, in one pass. At the
    start of a text the first wave is the tokenizer's own spelling of it, which holds most of the probability.

    Args:
        covers: the text so far; it is not changed.
        data: n bytes.
        every: keep what comes next at every place.

    Attributes:
        text: the whole text, the bytes included.
        kept: [n + 1] log probability of the heads that are not dropped, before the bytes and after each.
        heads: heads that the text may go on from.
        passed: heads that were dropped.
        next: by the number of bytes before, weights of heads and what comes next after each.
    """

    def __init__(self, covers: "Covers", data: bytes, every: bool) -> None:
        self._covers, self._trie, self._every = covers, covers.base.trie, every
        self._start = len(covers.text)
        self.text = covers.text + data
        self.kept = [covers.kept] + [NOTHING] * len(data)
        self.heads: list[Head] = []
        self.passed = list(covers.passed)
        self.next: dict[int, list[tuple[float, Next]]] = defaultdict(list)
        self._waiting: list[Head] = []
        self._guessed: dict[tuple[Context, int], _Trace] = {}

    def run(self) -> Generator[list[Head], None, None]:
        """Find all heads.

        Yields:
            Heads that are to be run.
        """
        traces = [self._follow(replace(head), self._start) for head in self._covers.heads]
        if self._start == 0 and len(self.text) >= GUESSED and traces:
            yield from self._guess(self._covers.heads[0])
        while traces:
            while traces:
                traces += self._spread(traces.pop())
            chosen = self._choose()
            traces = yield from self._run(chosen)
            for trace in traces:
                self._add(trace.head.end, trace.head.weight)
        self.passed += self._waiting

    def log_probabilities(self) -> np.ndarray:
        """Log probability of each byte given what stands before it, [n]."""
        return np.array(
            [
                total - before if before > NOTHING else NOTHING
                for total, before in zip(self._totals()[1:], self.kept[:-1], strict=True)
            ]
        )

    def dropped(self) -> np.ndarray:
        """Share of the probability that is dropped after each byte, [n]."""
        pairs = zip(self.kept[1:], self._totals()[1:], strict=True)
        return np.array([-math.expm1(kept - total) if total > NOTHING else 0.0 for kept, total in pairs])

    def _totals(self) -> list[float]:
        """Log probability of all heads at each place, dropped ones included."""
        waiting: dict[int, list[float]] = defaultdict(list)
        for head in self._waiting:
            waiting[max(head.end - self._start, 0)].append(head.weight)
        return [log_sum([kept, *waiting[at]]) for at, kept in enumerate(self.kept)]

    def _run(self, heads: Sequence[Head]) -> Runs:
        """Have heads run, and follow each through the text."""
        size = max(NUMBERS_AT_ONCE // len(self._trie.order), 1)
        traces = []
        for start in range(0, len(heads), size):
            part = list(heads[start : start + size])
            yield part
            traces += [self._follow(head, head.end) for head in part]
        return traces

    def _follow(self, head: Head, at: int) -> _Trace:
        steps, found, trie = [], [], self._trie
        if self._every:
            found.append(head.next(at, trie))
        for step in head.follow(self.text, at, trie):
            steps.append(step)
            if self._every:
                found.append(head.next(step.position, trie))
        if head.place is None:
            head.row = head.markers = None
        return _Trace(head, steps, found)

    def _guess(self, root: Head) -> Generator[list[Head], None, None]:
        """Run the tokenizer's own spelling, before its probability is known."""
        heads, context, state, measure = [], root.context, root.state, self._covers.measure
        for index, end in self._covers.base.spell(self.text):
            if not measure.keeps(state, index):
                break
            context = Context(context, index)
            heads.append(Head(context, NOTHING, end, state))
            state = measure.advance(state, index)
        traces = yield from self._run(heads)
        for trace in traces:
            parent = trace.head.context.parent
            assert parent is not None
            self._guessed[parent, trace.head.context.token] = trace

    def _spread(self, trace: _Trace) -> list[_Trace]:
        """Add what a head gives to each place; returns what was guessed and is reached now."""
        head, reached = trace.head, []
        for step in trace.steps:
            if step.longer > 0:
                self._add(step.position, head.weight + math.log(step.longer))
            for index, chance in zip(step.ids.tolist(), step.chances.tolist(), strict=True):
                if chance <= 0:
                    continue
                weight = head.weight + math.log(chance)
                found = self._guessed.pop((head.context, index), None)
                if found is None:
                    self._waiting.append(Head(Context(head.context, index), weight, step.position, head.state))
                else:
                    found.head.weight = weight
                    self._add(step.position, weight)
                    reached.append(found)
        for each in trace.next:
            self.next[each.position].append((head.weight, each))
        if head.place is not None:
            self.heads.append(head)
        return reached

    def _add(self, position: int, weight: float) -> None:
        at = position - self._start
        if at >= 0:
            self.kept[at] = log_sum((self.kept[at], weight))

    def _choose(self) -> list[Head]:
        """The waiting heads that are to be run; where no head is left at some place, some of those that were dropped."""
        totals = self._totals()
        bars = [total + self._covers.log_tolerance for total in totals]
        chosen = [head for head in self._waiting if head.weight > bars[max(head.end - self._start, 0)]]
        if not chosen and NOTHING in totals:
            end = self._start + totals.index(NOTHING)
            candidates = [head for head in (*self.passed, *self._waiting) if head.end < end]
            chosen = sorted(candidates, key=lambda head: head.weight)[-REVIVED:]
        taken = {id(head) for head in chosen}
        self._waiting = [head for head in self._waiting if id(head) not in taken]
        self.passed = [head for head in self.passed if id(head) not in taken]
        return chosen
