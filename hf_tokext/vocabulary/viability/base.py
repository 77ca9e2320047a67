"""What every tokenizer family answers about viable sequences."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.pieces import Vocabulary

State = TypeVar("State", bound=Hashable)


class Viability(ABC, Generic[State]):
    """Says which ids keep a sequence viable: the beginning of the encoding of some text, special tokens left to stand.

    A state is what matters of the ids read so far; equal states have equal futures. Texts are those that the tokenizer
    encodes without an unknown token and without loss: for a normalizer that changes text (NFC, lower case, accents), its
    fixed points.

    Args:
        vocabulary: the vocabulary.

    Attributes:
        vocabulary: the vocabulary.
        opening: the bytes that the tokenizer puts before every text, and that are no part of it: b" " or b"".
    """

    opening: bytes = b""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @abstractmethod
    def start(self) -> State:
        """State before the first id of a text."""

    @abstractmethod
    def allowed(self, state: State) -> np.ndarray:
        """Ids that may follow.

        Args:
            state: what was read.

        Returns:
            [V] bool, read-only and kept between calls: True where the sequence stays viable with this id. Special ids
            are True where `complete` is, and only there; unknown tokens are False.
        """

    @abstractmethod
    def complete(self, state: State) -> bool:
        """Whether the ids so far are the whole encoding of their own text, so that it may end or a special id follow.

        Args:
            state: what was read.

        Returns:
            Whether they are.
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
            The state after it; after a special id a new text begins.

        Raises:
            VocabularyError: the id is not allowed here.
        """
        if not (0 <= index < len(self.vocabulary) and self.allowed(state)[index]):
            raise VocabularyError(f"id {index} is not viable here: no text is encoded to these ids")
        return self._advance(state, index)

    def read(self, ids: Sequence[int]) -> State:
        """Read the ids of a text from its start.

        Args:
            ids: the ids.

        Returns:
            The state after them.

        Raises:
            VocabularyError: they are not viable; the message says from which id on.
        """
        state = self.start()
        for place, index in enumerate(ids):
            try:
                state = self.advance(state, index)
            except VocabularyError as error:
                raise VocabularyError(f"at place {place}: {error}") from error
        return state
