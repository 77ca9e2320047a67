"""What is run before the text is known to come to it, since a pass of the model is made anyway."""

import math
from collections.abc import Container, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.models.byte_level.heads import NOTHING, Head, ending
from hf_tokext.models.byte_level.traces import Key
from hf_tokext.vocabulary.trie import Place

if TYPE_CHECKING:
    from hf_tokext.models.byte_level.covers import Covers

GUESSED = 8  # bytes from which on the tokenizer's own spelling is run first
GUESSED_AFTER = 8  # tokens of it that are run behind a head of another spelling
LIKELY = 0.25  # tokens that a text reaches with this probability are run ahead, whenever something is run
FILLED = {
    "cpu": 4
}  # tokens: a pass of a multiple of them takes least time for each, and is filled up with further ones
FILLED_ELSEWHERE = 32  # where a pass of many takes the time of one
FILLING = 0.01  # that a text reaches with this probability


class Guesses:
    """The tokenizer's own spelling of a known text, and the tokens that a text will probably come to next.

    Args:
        covers: the text so far.
        text: all of it, what is to be read included.
    """

    def __init__(self, covers: "Covers", text: bytes) -> None:
        self._base, self._measure, self._tolerance = covers.base, covers.measure, covers.tolerance
        self._filled = FILLED.get(covers.device, FILLED_ELSEWHERE)
        self._start = len(covers.text)
        known = len(text) - self._start >= GUESSED and covers.opened_as_spelt
        self._spelling = covers.base.spell(text) if known else []  # ids, and where each ends
        self._tokens_before = {0: 0} | {end: count for count, (_, end) in enumerate(self._spelling, 1)}
        self._end = max(end for end in self._tokens_before if end <= self._start)  # it may lie inside a token
        before = self._tokens_before[self._end]
        last = self._spelling[before - 1][0] if before else None  # the token that the spelling has come to
        roots = [
            head
            for head in covers.heads
            if head.end == self._end and not head.opening and (not before or head.context.token == last)
        ]
        self._root = max(roots, key=lambda head: head.weight, default=None)

    def whole(self) -> list[Head]:
        """Heads of all the spelling that is to be read, for the first wave."""
        root = self._root
        return self._spell_on(root.context, root.state, self._end, len(self._spelling)) if root is not None else []

    def behind(self, chosen: Sequence[Head]) -> list[Head]:
        """Heads of some tokens of the spelling behind heads of others that meet it again.

        Args:
            chosen: heads that are to be run.

        Returns:
            Further ones.
        """
        return [
            guess
            for head in chosen
            if head.end in self._tokens_before
            for guess in self._spell_on(
                head.context, self._measure.advance(head.state, head.context.token), head.end, GUESSED_AFTER
            )
        ]

    def _spell_on(self, context: Context, state: Any, end: int, count: int) -> list[Head]:
        """Heads of the tokenizer's own spelling after a context that ends where one of its tokens does."""
        heads, before = [], self._tokens_before[end]
        for index, stop in self._spelling[before : before + count]:
            if not self._measure.keeps(state, index):
                break
            context = Context(context, index)
            heads.append(Head(context, NOTHING, stop, state))
            state = self._measure.advance(state, index)
        return heads

    def likely(self, heads: Sequence[Head], kept: float, known: Container[Key], chosen: int) -> list[Head]:
        """Tokens that the text will probably come to next, and not leave out; the likeliest fill the pass up.

        Args:
            heads: the live heads, at the end of the text.
            kept: log probability of all of them.
            known: what has been run already.
            chosen: heads that are run anyway.

        Returns:
            Heads of the tokens.
        """
        trie, found = self._base.trie, list[Head]()
        waiting: list[tuple[float, int, Place]] = []  # heap of places, the likeliest first

        def come_to(number: int, place: Place) -> None:
            head = heads[number]
            assert head.row is not None
            reached = math.exp(head.weight - kept) * float(head.row[place.start : place.stop].sum(dtype=np.float64))
            if reached > FILLING:
                heappush(waiting, (-reached, number, place))

        for number, head in enumerate(heads if kept > NOTHING else ()):
            if head.place is not None:
                come_to(number, head.place)
        while waiting:
            reached, number, before = heappop(waiting)  # the likeliest place of all
            missing = -(chosen + len(found)) % self._filled
            if -reached <= (FILLING if missing else LIKELY):
                break
            head = heads[number]
            assert head.row is not None
            if before != head.place:
                ids, chances = ending(head, before, trie)
                chances, first = chances / head.row[before.start : before.stop].sum(), np.argsort(-chances)
                ahead = [
                    Head(Context(head.context, index), NOTHING, head.end + before.depth, head.state)
                    for index, chance in zip(ids[first].tolist(), chances[first].tolist(), strict=True)
                    if chance > self._tolerance and (head.context, index) not in known
                ]
                found += ahead if -reached > LIKELY else ahead[:missing]
            for byte in trie.branches(before).bytes.tolist():
                place = trie.step(before, byte)
                assert place is not None
                come_to(number, place)
        return found
