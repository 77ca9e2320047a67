"""What heads do on their way through a text, and the weights that are still to be spread along it."""

from dataclasses import dataclass
from heapq import heappop, heappush

from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.models.byte_level.heads import NOTHING, Head, Next, Step, log_sum

Key = tuple[Context | None, int]  # a context, and the token after it


@dataclass(slots=True, eq=False)
class Trace:
    """What a head that has been run does on its way through the text.

    Attributes:
        head: the head; its weight is what has been spread.
        steps: what its tokens do at each byte.
        next: what comes next at each byte, where that is asked for.
        spread: whether any weight has been spread.
    """

    head: Head
    steps: list[Step]
    next: list[Next]
    spread: bool = False


class Arrivals:
    """Weights that are to be spread, from the beginning of a text to its end: tokens only lead onward."""

    def __init__(self) -> None:
        self._weights: dict[Trace, float] = {}
        self._order: list[tuple[int, int, Trace]] = []  # heap: where they stand, in the order of their coming
        self._count = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._order)

    def add(self, trace: Trace, weight: float) -> None:
        """Have a weight spread, together with what else arrives there.

        Args:
            trace: where.
            weight: log probability.
        """
        if trace not in self._weights:
            self._count += 1
            heappush(self._order, (trace.head.end, self._count, trace))
        self._weights[trace] = log_sum((self._weights.get(trace, NOTHING), weight))

    def pop(self) -> tuple[Trace, float]:
        """Take the first one.

        Returns:
            A trace, and the weight that is to be spread from it.
        """
        _, _, trace = heappop(self._order)
        return trace, self._weights.pop(trace)


def key_of(head: Head) -> Key:
    """Say what a head is known by, however often its context is made.

    Args:
        head: a head.

    Returns:
        The context before its last token, and this.
    """
    return head.context.parent, head.context.token
