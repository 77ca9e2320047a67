"""What the BPE model alone says: which ids it gives, which of them stand side by side in one word, which stand alone."""

import json

import numpy as np
from tokenizers import Tokenizer

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import BYTE_OF_CHARACTER, Vocabulary, space_mark
from hf_tokext.vocabulary.viability.bpe_pairs import BpePairs, merge_pairs, symbols_of
from hf_tokext.vocabulary.viability.kept import Kept

KEPT_BYTES = 1 << 25
FREE, ALONE = 0, -1  # paths: nothing to watch; a word that ends here


class BpeModel:
    """The merges, byte fallback and whole words of a BPE model.

    With `ignore_merges` a word that is in the vocabulary is that one token. Tokens that no merges make stand alone then,
    and the ids that merges give for them are no word. A path is how far the ids of a word are such ids: a node of the
    tree of them, `FREE` off it, `ALONE` after a token that stands alone.

    Args:
        vocabulary: the vocabulary.

    Attributes:
        size: number of ids.
        joined: [V] bool, ids that merges give.
        alone: [V] bool, ids that only stand alone.

    Raises:
        UnsupportedModelError: the model has dropout, or prefixes or suffixes within words.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        model = vocabulary.spec["model"]
        for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(setting):
                raise UnsupportedModelError(
                    f"viable sequences are not known for a BPE model with {setting}={model[setting]!r}; "
                    'use measure="all_strings", which needs no viability'
                )
        self.size = len(vocabulary)
        self._mark = space_mark(vocabulary.spec) or " "
        ids = model["vocab"]
        byte_level = vocabulary.kind == "byte_level"
        self._characters = {c: index for c, index in ids.items() if len(c) == 1}
        atoms = {index for c, index in self._characters.items() if not byte_level or c in BYTE_OF_CHARACTER}
        symbols = symbols_of(ids, self.size)
        pairs = BpePairs(symbols, merge_pairs(model["merges"]), sorted(atoms | vocabulary.fallback))
        self.joined = pairs.reachable
        self._rows: Kept[int, np.ndarray] = Kept(
            lambda first: np.packbits(pairs.row(first)), max(64, KEPT_BYTES * 8 // self.size)
        )
        self.alone = np.zeros(self.size, dtype=bool)
        self._children: dict[tuple[int, int], int] = {}
        self._below: dict[int, list[int]] = {}
        self._words: set[int] = set()
        if model.get("ignore_merges"):
            self._stand_alone(vocabulary, symbols)

    def _stand_alone(self, vocabulary: Vocabulary, symbols: list[str | None]) -> None:
        """Find the tokens that no merges make, and the ids that merges give for them."""
        spec = {"model": vocabulary.spec["model"] | {"ignore_merges": False}, "added_tokens": [], "version": "1.0"}
        tokenize = Tokenizer.from_str(json.dumps(spec)).model.tokenize
        for index in np.flatnonzero(~self.joined).tolist():
            if symbols[index] and index not in vocabulary.added:
                self.alone[index] = True
                node = FREE
                for token in tokenize(symbols[index]):
                    key = (node, token.id)
                    if key not in self._children:
                        self._below.setdefault(node, []).append(token.id)
                        self._children[key] = len(self._children) + 1
                    node = self._children[key]
                self._words.add(node)

    def beside(self, first: int) -> np.ndarray:
        """[V] bool: ids that may stand after an id in one word."""
        return np.unpackbits(self._rows(first), count=self.size).view(bool)

    def stand(self, first: int, ids: np.ndarray | int) -> np.ndarray:
        """Whether ids may stand after an id in one word: [n] bool for [n] ids."""
        return (self._rows(first)[np.right_shift(ids, 3)] >> (7 - np.bitwise_and(ids, 7)) & 1).astype(bool)

    def lacks(self, character: str) -> bool:
        """Whether a character has no token, so that bytes stand for it."""
        return character.replace(" ", self._mark) not in self._characters

    def opens(self, index: int) -> int:
        """Path after the first id of a word."""
        return ALONE if self.alone[index] else self._children.get((FREE, index), FREE)

    def goes_on(self, path: int, index: int) -> int:
        """Path after a further id of a word."""
        return self._children.get((path, index), FREE) if path > FREE else FREE

    def is_no_word(self, path: int) -> bool:
        """Whether a word does not end here, because its token in the vocabulary is given for it."""
        return path in self._words

    def no_words(self, path: int) -> list[int]:
        """Ids after which the ids of a word are those of a token that is given instead."""
        if path <= FREE:
            return []
        return [index for index in self._below.get(path, ()) if self._children[path, index] in self._words]
