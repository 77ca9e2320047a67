"""Reading a run of known bytes: the heads at every place of it, found in few passes of the model."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from dataclasses import replace
from heapq import nlargest
from typing import TYPE_CHECKING

import numpy as np

from hf_tokext.errors import TextError
from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.models.byte_level.guesses import Guesses
from hf_tokext.models.byte_level.heads import NOTHING, Head, Next, log_sum
from hf_tokext.models.byte_level.traces import Arrivals, Key, Trace, key_of
from hf_tokext.models.byte_level.twins import Twins, may_merge

if TYPE_CHECKING:
    from hf_tokext.models.byte_level.covers import Covers

REVIVED = 8  # dropped heads that are run first where no other head is left, and twice as many each time after
MOST_REVIVED = 256  # then the text counts as impossible
DEFERRED = 20  # times the tolerance, at most `MOST_DEFERRED`: heads of a smaller share together wait for the next pass
MOST_DEFERRED = 0.05
NUMBERS_AT_ONCE = 1 << 25  # of the rows that are run at a time
MOST_NUMBERS = 1 << 29  # of the rows of all live heads


class Passage:
    """The bytes that a text goes on with.

    Heads are run in waves: all that are wanted at the time, wherever in the passage they stand, in one pass. At the
    start of a text the first wave is the tokenizer's own spelling of it, which holds most of the probability; and behind
    each head of another spelling that meets it again, some tokens of it are run at once. A pass that is made anyway also
    runs the tokens that the text is likely to end with next. Heads at the end that have little of the probability wait
    for the next pass, so that most bytes need none. Heads with little of it that end like a likelier one go on as that
    (`Twins`), or else every spelling would be read to the end of the text beside all others.

    Args:
        covers: the text so far; it is not changed.
        data: n bytes.
        every: keep what comes next at every place.
        whole: leave out what cannot go on to the end: it counts at places before only.

    Attributes:
        text: the whole text, the bytes included.
        kept: [n + 1] log probability of the heads that are not dropped, before the bytes and after each.
        heads: heads that the text may go on from.
        passed: heads that were dropped.
        merged: share of the probability of the heads that went on as their twins, added up.
        deferred: heads that are to be run with the next pass.
        ahead: heads that were run before the text has reached them, by their context before the last token, and this.
        next: by the number of bytes before, weights of heads and what comes next after each.
    """

    def __init__(self, covers: "Covers", data: bytes, every: bool, whole: bool = False) -> None:
        self._covers, self._trie, self._every, self._whole = covers, covers.base.trie, every, whole
        self._start = len(covers.text)
        self.text = covers.text + data
        self.kept = [covers.kept] + [NOTHING] * len(data)
        self.heads: list[Head] = []
        self.passed = list(covers.passed)
        self.next: dict[int, list[tuple[float, Next]]] = defaultdict(list)
        self.ahead = dict(covers.ahead)
        self.deferred: list[Head] = []
        self.merged = 0.0
        self._waiting = {key_of(head): head for head in covers.deferred}
        self._deferred_before = {id(head) for head in covers.deferred} if len(data) == 1 else set()
        self._traces: dict[Key, Trace] = {}  # of heads that were run, reached or guessed
        self._arrived = Arrivals()
        self._twins = Twins()
        self._most_merged = may_merge(covers.tolerance)
        self._ahead_of = Guesses(covers, self.text)
        self._revived: Counter[int] = Counter()  # dropped heads that were run for the sake of a place

    def run(self) -> Generator[list[Head], None, None]:
        """Find all heads.

        Yields:
            Heads that are to be run.
        """
        yield from self._run([], self._ahead_of.whole())
        yield from self._waves(self._choose, self._guesses)
        self.passed += self._waiting.values()
        self.ahead = {key: head for key, head in self.ahead.items() if self._reachable(*key)}

    def end(self) -> Generator[list[Head], None, None]:
        """Find the heads that end with the text, which `run` may have dropped; yields heads that are to be run."""
        yield from self._waves(self._choose_ended, lambda chosen: [])
        self.heads = [head for head in self.heads if head.end == len(self.text) and not head.opening]

    def _waves(
        self, choose: Callable[[], list[Head]], guess: Callable[[list[Head]], list[Head]]
    ) -> Generator[list[Head], None, None]:
        """Let the heads of the text so far go on, and run what is chosen, until nothing is."""
        self._begin()
        while chosen := [replace(head, context=head.context.again()) for head in choose()]:
            yield from self._run(chosen, guess(chosen))
            self._sweep()

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
        for head in (*self._waiting.values(), *self.deferred):
            waiting[head.end - self._start].append(head.weight)
        return [log_sum([kept, *waiting[at]]) for at, kept in enumerate(self.kept)]

    def _begin(self) -> None:
        """Let the heads of the text so far go on; they are counted in `kept` already."""
        for root in [replace(head) for head in self._covers.heads]:
            self._traces[key_of(root)] = trace = self._follow(root, self._start)
            self._twins.add(root)
            self._spread(trace, root.weight)
        self._sweep()

    def _run(self, heads: list[Head], guesses: list[Head]) -> Generator[list[Head], None, None]:
        """Have heads run and follow each through the text; guesses are kept until the text is known to reach them."""
        longest = self._covers.longest
        queue = heads + [guess for guess in guesses if longest is None or guess.context.depth < longest]
        size = max(NUMBERS_AT_ONCE // len(self._trie.order), 1)
        for start in range(0, len(queue), size):
            part = queue[start : start + size]
            yield part
            for head in part:
                if head.end > len(self.text):
                    self.ahead[key_of(head)] = head
                    continue
                weight, head.weight = head.weight, NOTHING
                self._traces[key_of(head)] = trace = self._follow(head, head.end)
                if weight > NOTHING:
                    self._arrived.add(trace, weight)

    def _follow(self, head: Head, at: int) -> Trace:
        steps, found, trie = [], [], self._trie
        if self._every and at <= len(self.text):
            found.append(head.next(at, trie))
        for step in head.follow(self.text, at, trie):
            steps.append(step)
            if self._every:
                found.append(head.next(step.position, trie))
        if head.place is None:
            head.row = head.markers = None
        return Trace(head, steps, found)

    def _guesses(self, chosen: list[Head]) -> list[Head]:
        """What to run along with heads: how they will go on in the text, or the text after them."""
        if all(head.end == len(self.text) for head in chosen):
            return self._ahead_of.likely(self.heads, self.kept[-1], self.ahead, len(chosen))
        return self._ahead_of.behind(chosen)

    def _reachable(self, context: Context | None, index: int) -> bool:
        """Whether some live head may go on with a token."""
        rank = self._trie.rank[index]
        return any(
            head.context is context and head.place is not None and head.place.start <= rank < head.place.stop
            for head in self.heads
        )

    def _sweep(self) -> None:
        """Spread all that has arrived."""
        while self._arrived:
            trace, weight = self._arrived.pop()
            self._add(trace.head.end, weight)
            trace.head.weight = log_sum((trace.head.weight, weight))
            self._twins.add(trace.head)
            self._spread(trace, weight)

    def _spread(self, trace: Trace, weight: float) -> None:
        """Add what a head gives to each place, for so much of its weight."""
        head = trace.head
        for step in trace.steps:
            if step.longer > 0:
                self._add(step.position, weight + math.log(step.longer))
            for index, chance in zip(step.ids.tolist(), step.chances.tolist(), strict=True):
                if chance > 0:
                    self._reach(head, index, weight + math.log(chance), step.position)
        for each in trace.next:
            self.next[each.position].append((weight, each))
        if head.place is not None and not trace.spread:
            self.heads.append(head)
            if len(self.heads) * len(self._trie.order) > MOST_NUMBERS:
                raise TextError(
                    f"more than {len(self.heads) - 1:,} token sequences spell the text that ends with {self.text[-20:]!r}; "
                    "give less of it, or set a larger tolerance (0 keeps every one)"
                )
        trace.spread = True

    def _reach(self, head: Head, index: int, weight: float, end: int) -> None:
        """Come to a token after a head."""
        key = (head.context, index)
        if key not in self._traces and key in self.ahead:
            ready = self.ahead.pop(key)  # copied, as other copies of the text may come to it too
            self._traces[key] = self._follow(replace(ready, end=end, weight=NOTHING), end)
        if key in self._traces and self._traces[key].head.end == end:
            self._arrived.add(self._traces[key], weight)
        elif key in self._waiting:
            self._waiting[key].weight = log_sum((self._waiting[key].weight, weight))
        else:
            self._waiting[key] = Head(Context(head.context, index), weight, end, head.state)

    def _add(self, position: int, weight: float) -> None:
        at = position - self._start
        if at >= 0:
            self.kept[at] = log_sum((self.kept[at], weight))

    def _merge(self, totals: list[float]) -> bool:
        """Let waiting heads of little probability go on as their twins; says whether something is to be spread."""
        for head, twin in list(self._twins.pairs(self._waiting.values())) if self._most_merged else ():
            share = math.exp(self._share(head, totals))
            if share > self._most_merged or not (key_of(twin) in self._waiting or key_of(twin) in self._traces):
                continue
            del self._waiting[key_of(head)]
            self.merged += share
            if key_of(twin) in self._waiting:
                twin.weight = log_sum((twin.weight, head.weight))
            else:
                self._arrived.add(self._traces[key_of(twin)], head.weight)
        return bool(self._arrived)

    def _choose(self) -> list[Head]:
        """The waiting heads that are to be run; where no head is left at some place, some of those that were dropped."""
        totals = self._totals()
        while self._merge(totals):
            self._sweep()
            totals = self._totals()
        bar = self._covers.log_tolerance
        chosen = [head for head in self._waiting.values() if self._share(head, totals) > bar]
        if self._whole:
            chosen = self._living(chosen)
        if not chosen and NOTHING in self.kept:
            chosen = self._revive(self.kept.index(NOTHING), totals)
        elif all(head.end == len(self.text) or id(head) in self._deferred_before for head in chosen):
            share = math.exp(log_sum(head.weight for head in chosen) - self.kept[-1]) if NOTHING not in self.kept else 1
            if share <= min(DEFERRED * self._covers.tolerance, MOST_DEFERRED):
                self.deferred, chosen = chosen, []
        self._forget([*chosen, *self.deferred])
        return chosen

    def _living(self, heads: list[Head]) -> list[Head]:
        """Those that may go on to the end of the text; the others are forgotten."""
        measure, living, dead = self._covers.measure, list[Head](), list[Head]()
        for head in heads:
            state = measure.advance(head.state, head.context.token)
            (living if measure.goes_on(state, self.text, head.end, self._trie) else dead).append(head)
        self._forget(dead)
        return living

    def _revive(self, at: int, totals: list[float]) -> list[Head]:
        """Dropped heads of the largest shares, where no other comes to a place."""
        if at == 0 or not self._trie.knows(self.text[self._start + at - 1]):
            return []  # the text before was impossible already, or no token has this byte
        tried = self._revived[at]
        left = [head for head in (*self.passed, *self._waiting.values()) if head.end <= self._start + at]
        chosen = nlargest(
            min(max(tried, REVIVED), MOST_REVIVED - tried), left, key=lambda head: self._share(head, totals)
        )
        self._revived[at] += len(chosen)
        return chosen

    def _share(self, head: Head, totals: list[float]) -> float:
        """Log of a head's share of the probability of the text up to its end."""
        at = head.end - self._start
        total = totals[at] if at >= 0 else self._covers.earlier[head.end]
        return head.weight - total if total > NOTHING else math.inf

    def _choose_ended(self) -> list[Head]:
        """Heads that were dropped and have a share of what ends with the text, or might have."""
        left = [*self.passed, *self._waiting.values()]
        ended = log_sum(head.weight for head in (*self.heads, *left) if head.end == len(self.text) and not head.opening)
        bar = ended + self._covers.log_tolerance
        chosen = nlargest(REVIVED, (head for head in left if head.weight > bar), key=lambda head: head.weight)
        self._forget(chosen)
        return chosen

    def _forget(self, taken: list[Head]) -> None:
        """Take heads out of those that were not run."""
        known = {id(head) for head in taken}
        self._waiting = {key: head for key, head in self._waiting.items() if id(head) not in known}
        self.passed = [head for head in self.passed if id(head) not in known]
