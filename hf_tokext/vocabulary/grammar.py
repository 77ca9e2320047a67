"""Which sequences of a domain's tokens are well-formed documents."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

from hf_tokext.errors import VocabularyError

State = TypeVar("State", bound=Hashable)


class Grammar(ABC, Generic[State]):
    """Says which tokens may follow which in a document of a domain.

    Tokens are indices 0 to `size` - 1. A state is what matters of the tokens read so far; equal states have equal
    futures, and every state that is reached can be completed.

    Args:
        size: number of tokens.

    Attributes:
        size: as given.
        longest_step: tokens that one token adds at most to what the document still needs; more room needs no look ahead.
    """

    longest_step = 8

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def start(self) -> State:
        """State before the first token of a document."""

    @abstractmethod
    def allowed(self, state: State) -> np.ndarray:
        """Tokens that may follow.

        Args:
            state: what was read.

        Returns:
            [size] bool, read-only: none where the document has ended.
        """

    @abstractmethod
    def complete(self, state: State) -> bool:
        """Whether the tokens so far are a whole document.

        Args:
            state: what was read.

        Returns:
            Whether they are.
        """

    @abstractmethod
    def distance(self, state: State) -> int:
        """Fewest tokens after which the document is complete.

        Args:
            state: what was read.

        Returns:
            Their number, 0 where it is complete.
        """

    @abstractmethod
    def _advance(self, state: State, index: int) -> State:
        """State after an allowed token."""

    def advance(self, state: State, index: int) -> State:
        """Read one token.

        Args:
            state: what was read before.
            index: the token.

        Returns:
            The state after it.

        Raises:
            VocabularyError: the token is not allowed here.
        """
        if not (0 <= index < self.size and self.allowed(state)[index]):
            raise VocabularyError(f"token {index} may not stand here: the document would not be well-formed")
        return self._advance(state, index)

    def read(self, indices: Sequence[int]) -> State:
        """Read tokens from the beginning of a document.

        Args:
            indices: the tokens.

        Returns:
            The state after them.

        Raises:
            VocabularyError: one may not stand where it stands; the message says which.
        """
        state = self.start()
        for place, index in enumerate(indices):
            try:
                state = self.advance(state, index)
            except VocabularyError as error:
                raise VocabularyError(f"at place {place}: {error}") from error
        return state

    def within(self, state: State, room: int) -> np.ndarray:
        """Tokens that may follow if the document must be complete soon.

        Args:
            state: what was read.
            room: tokens that there is room for, the next one included.

        Returns:
            [size] bool; where the room is too small, those that need the least of it.
        """
        allowed = self.allowed(state)
        if room > self.distance(state) + self.longest_step:
            return allowed
        found = np.flatnonzero(allowed)
        needs = np.array([1 + self.distance(self._advance(state, int(index))) for index in found])
        kept = np.zeros(self.size, dtype=bool)
        kept[found[needs <= max(room, min(needs, default=0))]] = True
        return kept
