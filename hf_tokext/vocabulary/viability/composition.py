"""Texts that the normalizer leaves as they are, told from their parts."""

import json
import sys
import unicodedata
from functools import lru_cache

from tokenizers import Tokenizer

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import Vocabulary, components, space_mark
from hf_tokext.vocabulary.viability.unopened import without_prefix_space

# Those that change a character for itself or for what it combines with; so the text around a seam decides.
LOCAL = frozenset(("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"))
HANGUL = ((0x1160, 0x1200), (0xD7B0, 0xD800))  # vowels and final consonants, which compose by rule and not by table


class Composition:
    """Says whether a text is a fixed point of the normalizer, spaces and their mark apart.

    Fixed points of the Unicode normal forms are closed under taking parts, so only the seams of tokens are asked about,
    and of these only where a character stands that combines with the one before it.

    Args:
        vocabulary: the tokenizer's vocabulary.

    Attributes:
        trivial: whether all texts are.

    Raises:
        UnsupportedModelError: the normalizer has a part whose fixed points are not told from their parts.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        spec, mark = without_prefix_space(vocabulary), space_mark(vocabulary.spec)
        kept = []
        for part in components(spec, "normalizer"):
            if part["type"] == "Replace" and part["pattern"].get("String") == " " and part["content"] == mark:
                continue
            if part["type"] not in LOCAL:
                raise UnsupportedModelError(
                    f"viable sequences are not known for a BPE tokenizer with the normalizer {part['type']}; "
                    'use measure="all_strings", which needs no viability'
                )
            kept.append(part)
        self.trivial = not kept
        core = {"model": {"type": "BPE", "vocab": {}, "merges": []}, "added_tokens": [], "version": "1.0"}
        core["normalizer"] = {"type": "Sequence", "normalizers": kept}
        self._normalize = Tokenizer.from_str(json.dumps(core)).normalizer.normalize_str

    def fixed(self, text: str) -> bool:
        """Whether the normalizer leaves a text as it is."""
        return self.trivial or self._normalize(text) == text

    def joins(self, character: str) -> bool:
        """Whether a character may combine with what stands before it."""
        return not self.trivial and character in _joining()

    def may_join(self, begun: bytes) -> bool:
        """Whether some character that begins with these bytes may combine with what stands before it."""
        return not self.trivial and begun in _joining_beginnings()

    def seam(self, text: str) -> str:
        """The end of a text that what follows may combine with."""
        if self.trivial:
            return ""
        start = len(text) - 1
        while start > 0 and self.joins(text[start]):
            start -= 1
        return text[max(start, 0) :]


@lru_cache(1)
def _joining() -> frozenset[str]:
    found = {chr(point) for first, stop in HANGUL for point in range(first, stop)}
    for character in map(chr, range(0x300, sys.maxunicode + 1)):
        if unicodedata.combining(character):
            found.add(character)
        parts = unicodedata.decomposition(character)
        if parts and not parts.startswith("<") and " " in parts:
            found.add(chr(int(parts.split()[1], 16)))
    return frozenset(found)


@lru_cache(1)
def _joining_beginnings() -> frozenset[bytes]:
    texts = (character.encode() for character in _joining() if not 0xD800 <= ord(character) < 0xE000)
    return frozenset(text[:size] for text in texts for size in range(1, len(text)))
