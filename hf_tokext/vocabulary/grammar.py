"""Which sequences of a domain's tokens are well-formed documents."""

from abc import abstractmethod
from functools import lru_cache

import numpy as np

from hf_tokext.vocabulary.automaton import Automaton, State

NEEDS = 256  # states of which it is kept what each token needs after them


class Grammar(Automaton[State]):
    """Says which tokens may follow which in a document of a domain.

    Tokens are indices 0 to `size` - 1. A state is what matters of the tokens read so far; equal states have equal
    futures, and every state that is reached can be completed.

    Args:
        size: number of tokens.

    Attributes:
        size: as given.
        written_by_ids: whether a model can write a document id by id; it cannot where latents stand in it.
        longest_step: tokens that one token adds at most to what the document still needs; more room needs no look ahead.
    """

    longest_step = 8
    written_by_ids = True
    _refusal = "token {} may not stand here: the document would not be well-formed"

    def __init__(self, size: int) -> None:
        self.size = size
        self._needs_after = lru_cache(NEEDS)(self._count_needs)

    @abstractmethod
    def allowed(self, state: State) -> np.ndarray:
        """Tokens that may follow.

        Args:
            state: what was read.

        Returns:
            [size] bool, read-only: none where the document has ended.
        """

    @abstractmethod
    def distance(self, state: State) -> int:
        """Fewest tokens after which the document is complete.

        Args:
            state: what was read.

        Returns:
            Their number, 0 where it is complete.
        """

    def within(self, state: State, room: int) -> np.ndarray:
        """Tokens that may follow if the document must be complete soon.

        Args:
            state: what was read.
            room: tokens that there is room for, the next one included.

        Returns:
            [size] bool; where the room is too small, those that need the least of it.
        """
        allowed = self.allowed(state)
        if room > self.distance(state) + self.longest_step or not allowed.any():
            return allowed
        needs = self._needs_after(state)
        return allowed & (needs <= max(room, int(needs[allowed].min())))

    def _count_needs(self, state: State) -> np.ndarray:
        """Tokens needed if this one is next, itself included, [size]; 0 where it may not follow."""
        needs, distances = np.zeros(self.size, dtype=np.int64), dict[State, int]()
        for index in np.flatnonzero(self.allowed(state)).tolist():
            after = self._advance(state, index)
            if after not in distances:
                distances[after] = 1 + self.distance(after)
            needs[index] = distances[after]
        return needs
