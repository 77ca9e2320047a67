"""Spellings of one text that have met again: they end alike, and a model says nearly the same after them."""

from collections.abc import Iterable, Iterator

from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.models.byte_level.heads import Head
from hf_tokext.models.byte_level.traces import Key, key_of

ALIKE = 8  # last tokens that twins have in common
MERGED = 20  # times the tolerance, and at most `MOST_MERGED`: share of a head that may go on as its twin
MOST_MERGED = 0.05

Ending = tuple[int, tuple[int, ...]]  # bytes of the text, and the last tokens before


def may_merge(tolerance: float) -> float:
    """Say up to which share of the probability a head may go on as its twin.

    Args:
        tolerance: of the covers; 0 merges none.

    Returns:
        The share.
    """
    return min(MERGED * tolerance, MOST_MERGED)


class Twins:
    """The likeliest head of each ending."""

    def __init__(self) -> None:
        self._known: dict[Ending, Head] = {}
        self._endings: dict[Key, Ending] = {}

    def add(self, head: Head) -> None:
        """Note a head that has been run.

        Args:
            head: the head.
        """
        key = self._ending(head)
        if key not in self._known or self._known[key].weight < head.weight:
            self._known[key] = head

    def pairs(self, heads: Iterable[Head]) -> Iterator[tuple[Head, Head]]:
        """Pair heads with likelier ones that end alike.

        Args:
            heads: heads that have not been run.

        Yields:
            One of them, and its twin, which has been run or is one of them itself.
        """
        known = dict(self._known)
        for head in sorted(heads, key=lambda head: -head.weight):
            twin = known.setdefault(self._ending(head), head)
            if twin is not head and twin.weight >= head.weight:
                yield head, twin

    def _ending(self, head: Head) -> Ending:
        key = key_of(head)
        if key not in self._endings:
            tokens: list[int] = []
            context: Context | None = head.context
            while context is not None and len(tokens) < ALIKE:
                tokens.append(context.token)
                context = context.parent
            self._endings[key] = head.end, tuple(tokens)
        return self._endings[key]
