"""Reading ids one by one, each of which may or may not follow what stands before it."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import ClassVar, Generic, TypeVar

import numpy as np

from hf_tokext.errors import VocabularyError

State = TypeVar("State", bound=Hashable)


class Automaton(ABC, Generic[State]):
    """Says which ids may follow which. A state is what matters of those read so far; equal states have equal futures."""

    _refusal: ClassVar[str]  # what is wrong with an id that may not follow; `{}` is the id

    @abstractmethod
    def start(self) -> State:
        """State before the first id."""

    @abstractmethod
    def allowed(self, state: State) -> np.ndarray:
        """Ids that may follow.

        Args:
            state: what was read.

        Returns:
            One bool an id, read-only.
        """

    @abstractmethod
    def complete(self, state: State) -> bool:
        """Whether what was read is whole.

        Args:
            state: what was read.

        Returns:
            Whether it is.
        """

    @abstractmethod
    def _advance(self, state: State, index: int) -> State:
        """State after an allowed id."""

    def advance(self, state: State, index: int) -> State:
        """Read one id.

        Args:
            state: what was read before.
            index: the id.

        Returns:
            The state after it.

        Raises:
            VocabularyError: the id is not allowed here.
        """
        allowed = self.allowed(state)
        if not (0 <= index < len(allowed) and allowed[index]):
            raise VocabularyError(self._refusal.format(index))
        return self._advance(state, index)

    def read(self, ids: Sequence[int]) -> State:
        """Read ids from the start.

        Args:
            ids: the ids.

        Returns:
            The state after them.

        Raises:
            VocabularyError: one may not stand where it stands; the message says where.
        """
        state = self.start()
        for place, index in enumerate(ids):
            try:
                state = self.advance(state, index)
            except VocabularyError as error:
                raise VocabularyError(f"at place {place}: {error}") from error
        return state
