"""The token sequences that a byte string may be the beginning of, with their probabilities.

A cover of bytes x is a token sequence whose bytes begin with x, and which needs all its tokens for that. The events "the
output begins with this cover" are disjoint and their union is "the output begins with x", so that their probabilities
add up to that of x. A `Head` is a cover without its last token, which is not chosen yet. After Phan et al., Exact
Byte-Level Probabilities from Tokenized Language Models (arXiv 2410.09303), and Vieira et al., From Language Models over
Tokens to Language Models over Characters (arXiv 2412.03719).
"""

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.models.byte_level.heads import NOTHING, Head, Next, ending, log_sum
from hf_tokext.models.byte_level.ids import BYTES
from hf_tokext.models.byte_level.measures import Measure
from hf_tokext.models.byte_level.passage import Passage
from hf_tokext.models.byte_level.traces import Key

MARGIN = 32  # bytes of a passage in which tokens may end elsewhere once the text goes on
REMEMBERED = 256  # dropped heads that are kept for that


@dataclass
class Reading:
    """What reading events of a text gives.

    Attributes:
        log_probabilities: [n] of each event given those before it, natural log.
        dropped: [n] share of the probability that was dropped at each.
        merged: share of the probability of the heads that went on as their twins, added up over all places.
        events: [n, 256 + markers] log probabilities of what comes after each, where they were asked for.
        opening: share of the probability that was dropped before the first event of a text.
    """

    log_probabilities: np.ndarray
    dropped: np.ndarray
    events: np.ndarray | None = None
    merged: float = 0.0
    opening: float = 0.0


Work = Generator[list[Head], None, Reading]  # yields heads that are to be run


@dataclass
class Covers:
    """The heads of one text, read event by event.

    Attributes:
        base: the base's tokens.
        measure: which probability is meant.
        tolerance: a head is dropped if its share of the probability of the text so far is not above this.
        device: type of the device that the base runs on.
        longest: tokens that the base takes, None where it does not say.
        heads: those that the text may go on from.
        passed: those that were dropped, newest last.
        deferred: those that are to be run with the next pass of the model.
        ahead: heads that were run before the text has reached them, by their context before the last token, and this.
        text: bytes since the last marker.
        kept: log probability of `heads`.
        earlier: the same at every place of the text before.
        opened: whether something stands before the text yet.
        spaced: whether a space that is no part of the text does.
    """

    base: BaseTokens
    measure: Measure
    tolerance: float
    device: str = "cpu"
    longest: int | None = None
    heads: list[Head] = field(default_factory=list)
    passed: list[Head] = field(default_factory=list)
    deferred: list[Head] = field(default_factory=list)
    ahead: dict[Key, Head] = field(default_factory=dict)
    text: bytes = b""
    kept: float = 0.0
    earlier: list[float] = field(default_factory=list)
    opened: bool = False
    spaced: bool = False

    @property
    def opened_as_spelt(self) -> bool:
        """Whether the text begins as the tokenizer spells one: with the space that is no part of it, or without."""
        return self.opened and self.spaced == self.base.space_opens

    def fork(self) -> "Covers":
        """Give a copy that is read on by itself."""
        deferred = [replace(head) for head in self.deferred]
        return replace(self, heads=list(self.heads), passed=list(self.passed), deferred=deferred)

    def read(self, events: Sequence[int], every: bool = False, whole: bool = False) -> Work:
        """Read events.

        Args:
            events: n events, bytes and from 256 on markers.
            every: also say what comes after each event.
            whole: only the sum of the log probabilities is wanted: those of single events are then no more than its parts.

        Returns:
            A generator: it yields lists of heads that the caller is to run and to give to `take`, and returns the
            probabilities of the events.
        """
        return self._read(events, every, whole)

    def _read(self, events: Sequence[int], every: bool, whole: bool) -> Work:
        """Read events, runs of bytes and single markers."""
        parts: list[Reading] = []
        opening = 0.0
        if not self.opened and not (len(events) and events[0] >= BYTES):
            begun = yield from self._begin([Head(_chain(self.base.opening_ids), 0.0, 0, None)], self.base.space_opens)
            opening = float(begun.dropped[0])
        start = 0
        while start < len(events):
            stop = start + 1
            if events[start] < BYTES:
                while stop < len(events) and events[stop] < BYTES:
                    stop += 1
                stop = self._settled_by(events, start, stop)
                parts.append((yield from self._read_bytes(bytes(events[start:stop]), every, whole)))
            else:
                parts.append((yield from self._read_marker(events[start] - BYTES)))
                if every:
                    parts[-1].events = self.events()[None]
            start = stop
        return Reading(
            np.concatenate([np.zeros(0), *(part.log_probabilities for part in parts)]),
            np.concatenate([np.zeros(0), *(part.dropped for part in parts)]),
            np.concatenate([part.events for part in parts if part.events is not None]) if every and parts else None,
            sum(part.merged for part in parts),
            opening,
        )

    def _settled_by(self, events: Sequence[int], start: int, stop: int) -> int:
        """Where a passage ends: what it costs grows faster than its length, and it had best end where a token does."""
        most = self.measure.passage
        if stop - start <= most:
            return stop
        if not self.opened_as_spelt:
            return start + most
        spelling = self.base.spell(self.text + bytes(events[start : start + most]))
        last = len(self.text) + most - MARGIN
        ends = [end for _, end in spelling if len(self.text) < end <= last]
        return start + (ends[-1] - len(self.text) if ends else most)

    def take(self, head: Head, logits: np.ndarray) -> None:
        """Take what the base says comes after a head.

        Args:
            head: one that `read` yielded.
            logits: [at least V].
        """
        token = head.context.token
        head.state = self.measure.start() if head.state is None else self.measure.advance(head.state, token)
        chances = self.measure.probabilities(head.state, logits)
        head.row = chances[self.base.trie.order]
        head.markers = chances[self.base.marker_ids]
        head.place = self.base.trie.root

    def events(self) -> np.ndarray:
        """Log probabilities of the next event, [256 + markers]; they add up to one unless no head is left."""
        at, trie = len(self.text), self.base.trie
        return self.distribution([(head.weight, head.next(at, trie)) for head in self.heads], self.kept)

    def distribution(self, parts: Iterable[tuple[float, Next]], kept: float) -> np.ndarray:
        """Add up what heads say of the next event.

        Args:
            parts: weights of heads, and what comes after each.
            kept: log probability of all of them.

        Returns:
            [256 + markers] log probabilities.
        """
        found = np.zeros(BYTES + len(self.base.marker_ids))
        for weight, each in parts if kept > NOTHING else ():
            share = math.exp(weight - kept)
            found[each.bytes] += each.chances * share
            if each.markers is not None:
                found[BYTES:] += each.markers * share
        with np.errstate(divide="ignore"):
            return np.log(found)

    def _begin(self, roots: list[Head], spaced: bool) -> Work:
        """Begin a text after given tokens, of which some are dropped; says what was."""
        total = log_sum(root.weight for root in roots)
        bar = total + self.log_tolerance
        self.text, self.passed, self.deferred, self.ahead, self.opened = b"", [], [], {}, True
        self.earlier, self.spaced = [], spaced
        self.heads = [root for root in roots if root.weight > bar] or sorted(roots, key=lambda root: root.weight)[-1:]
        if self.heads:
            yield self.heads
        self.kept = log_sum(root.weight for root in self.heads)
        if spaced:
            yield from self._spell_opening_space()
        return Reading(np.zeros(0), np.array([-math.expm1(self.kept - total) if roots else 0.0]))

    def _spell_opening_space(self) -> Generator[list[Head], None, None]:
        """Let each root begin with the space that is no part of the text, or without."""
        trie, roots = self.base.trie, self.heads
        place = trie.step(trie.root, ord(" "))
        if place is None:
            return
        self.heads = [replace(root, without=ord(" ")) for root in roots]
        self.heads += [replace(root, place=place, opening=True) for root in roots]
        spaces = [
            Head(Context(root.context, int(index)), root.weight + math.log(chance), 0, root.state)
            for root in roots
            for index, chance in zip(*ending(root, place, trie), strict=True)
            if chance > 0
        ]
        chosen = [head for head in spaces if head.weight > self.kept + self.log_tolerance]
        if chosen:
            yield chosen
        lost = sum(math.exp(head.weight - self.kept) for head in spaces if head.row is None)
        self.kept += math.log1p(-lost)
        self.heads += chosen
        self.passed += [head for head in spaces if head.row is None]

    @property
    def log_tolerance(self) -> float:
        """Natural log of the tolerance."""
        return math.log(self.tolerance) if self.tolerance > 0 else NOTHING

    def _read_marker(self, marker: int) -> Work:
        """Read one marker: the tokens before it are complete, and a new text begins."""
        index = int(self.base.marker_ids[marker])
        before = self.kept
        if not self.opened:  # a marker that the text itself begins with is given, not predicted
            roots = [Head(Context(None, index), 0.0, 0, None)]
        else:
            passage = Passage(self, b"", every=False)
            yield from passage.end()
            before = passage.kept[0]
            roots = [
                Head(Context(head.context, index), head.weight + math.log(chance), 0, head.state)
                for head in passage.heads
                if head.markers is not None
                for chance in [float(head.markers[marker])]
                if chance > 0
            ]
        total = log_sum(root.weight for root in roots)
        opens = not self.opened and index == self.base.opening_ids[-1]
        begun = yield from self._begin(roots, self.base.space_opens if opens else self.base.space_after_special)
        return Reading(np.array([total - before if roots else NOTHING]), begun.dropped)

    def _read_bytes(self, data: bytes, every: bool, whole: bool) -> Work:
        """Read bytes; the passage finds the heads at their end."""
        passage = Passage(self, data, every, whole)
        yield from passage.run()
        self.heads = passage.heads if passage.kept[-1] > NOTHING else []
        self.passed = passage.passed[-REMEMBERED:]
        self.deferred, self.ahead = passage.deferred, passage.ahead
        self.text, self.kept, self.earlier = passage.text, passage.kept[-1], [*self.earlier, *passage.kept[:-1]]
        reading = Reading(passage.log_probabilities(), passage.dropped(), merged=passage.merged)
        if every:
            start = len(passage.text) - len(data)
            reading.events = np.stack(
                [self.distribution(passage.next[start + at], kept) for at, kept in enumerate(passage.kept)][1:]
            )
        return reading


def _chain(ids: Sequence[int]) -> Context:
    context: Context | None = None
    for index in ids:
        context = Context(context, index)
    assert context is not None
    return context
