"""Which probability of a byte string is meant: that of all token strings that spell it, or of canonical ones only."""

from typing import Any

import numpy as np

from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.viability.base import Viability

MEASURES = ("all_strings", "canonical")


class AllStrings:
    """The token model as it is, over the ids that have a token: a text's probability is that of every way to spell it.

    Args:
        vocabulary: the base's.
    """

    name = "all_strings"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._exist = np.array([piece is not None for piece in vocabulary.pieces])

    def start(self) -> Any:
        """State before a text."""
        return None

    def advance(self, state: Any, index: int) -> Any:
        """State after one more id.

        Args:
            state: the state before it.
            index: the id.

        Returns:
            The state after it.
        """
        return None

    def keeps(self, state: Any, index: int) -> bool:
        """Whether an id may follow.

        Args:
            state: what was read.
            index: the id.

        Returns:
            Whether it may.
        """
        return True

    def probabilities(self, state: Any, logits: np.ndarray) -> np.ndarray:
        """Probabilities of the next id under the measure.

        Args:
            state: what was read.
            logits: [at least V], of the base; those past the vocabulary are padding.

        Returns:
            [V], they add up to one.
        """
        return _normal(logits[: len(self._exist)], self._exist)


class Canonical:
    """The token model kept to beginnings of encodings: ids that no encoding goes on with are left out, row by row.

    Args:
        viability: what the base's tokenizer can encode to.

    Source: Vieira et al., Language Models over Canonical Byte-Pair Encodings (arXiv 2506.07956), canonicality by
        construction.
    """

    name = "canonical"

    def __init__(self, viability: Viability[Any]) -> None:
        self._viability = viability

    def start(self) -> Any:
        """State before a text."""
        return self._viability.start()

    def advance(self, state: Any, index: int) -> Any:
        """State after one more id.

        Args:
            state: the state before it.
            index: an id that `keeps`.

        Returns:
            The state after it.
        """
        return self._viability.advance(state, index)

    def keeps(self, state: Any, index: int) -> bool:
        """Whether an id may follow.

        Args:
            state: what was read.
            index: the id.

        Returns:
            Whether it may.
        """
        return bool(self._viability.allowed(state)[index])

    def probabilities(self, state: Any, logits: np.ndarray) -> np.ndarray:
        """Probabilities of the next id under the measure.

        Args:
            state: what was read.
            logits: [at least V], of the base; those past the vocabulary are padding.

        Returns:
            [V], they add up to one.
        """
        allowed = self._viability.allowed(state)
        return _normal(logits[: len(allowed)], allowed)


Measure = AllStrings | Canonical


def _normal(logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Softmax over the allowed ids, [V]."""
    kept = np.where(allowed[: len(logits)], logits, -np.inf)
    kept -= kept.max()
    np.exp(kept, out=kept)
    kept /= kept.sum(dtype=np.float64)
    if len(kept) < len(allowed):  # ids that the model has no row for
        kept = np.pad(kept, (0, len(allowed) - len(kept)))
    return kept
