"""What every tokenizer family answers about viable sequences."""

from abc import abstractmethod

import numpy as np

from hf_tokext.vocabulary.automaton import Automaton, State
from hf_tokext.vocabulary.pieces import Vocabulary


class Viability(Automaton[State]):
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
    _refusal = "id {} is not viable here: no text is encoded to these ids"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

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
