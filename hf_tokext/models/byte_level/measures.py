"""Which probability of a byte string is meant: that of all token strings that spell it, or of canonical ones only."""

from typing import Any

import numpy as np

from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.trie import ByteTrie
from hf_tokext.vocabulary.viability.base import Viability

MEASURES = ("all_strings", "canonical")
FAR = 4  # tokens


class AllStrings:
    """The token model as it is, over the ids that have a token: a text's probability is that of every way to spell it.

    Args:
        vocabulary: the base's.
    """

    name = "all_strings"
    passage = 416  # bytes that are read at once at most: spellings are many

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

    def goes_on(self, state: Any, text: bytes, at: int, trie: ByteTrie) -> bool:
        """Whether some ids may spell the rest of a text; see `Canonical`.

        Args:
            state: what was read.
            text: the whole text.
            at: bytes of it that were read.
            trie: the ids.

        Returns:
            True: all strings may.
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
    passage = 2048  # bytes that are read at once at most

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

    def goes_on(self, state: Any, text: bytes, at: int, trie: ByteTrie, tokens: int = FAR) -> bool:
        """Whether some ids may spell the rest of a text, and perhaps more.

        Args:
            state: what was read.
            text: the whole text.
            at: bytes of it that were read.
            trie: the ids.
            tokens: that many are tried; where they do not reach the end, the answer is yes.

        Returns:
            Whether they may; no is certain.
        """
        if at == len(text):
            return True
        allowed, place = self._viability.allowed(state), trie.root
        for position in range(at, len(text)):
            after = trie.step(place, text[position])
            if after is None:
                return False
            place, ends = after, trie.order[after.start : after.longer]
            for index in ends[allowed[ends]].tolist():
                far = tokens == 1 or position + 1 == len(text)
                if far or self.goes_on(self.advance(state, index), text, position + 1, trie, tokens - 1):
                    return True
        return bool(allowed[trie.order[place.start : place.stop]].any())

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
