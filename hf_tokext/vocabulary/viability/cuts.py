"""Where the pre-tokenizer cuts a text: the real one is asked."""

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import components

ESCAPE = re.compile(r"\\[pP]\{[^}]*\}|\\x\{[0-9A-Fa-f]+\}|\\u[0-9A-Fa-f]{4}|\\.")
CASED = 0x2C00  # characters with case relatives among letters that rules name, such as the Kelvin sign, lie below
SPARSE = ("Cn", "Co")  # categories of code points that are no characters, or private ones
LITERAL = re.compile(r"[^\\\[\](){}|?*+.^$:<>=!]{2,}")


class Cutter:
    """Cuts texts as a tokenizer does.

    Args:
        rules: the sections "normalizer" and "pre_tokenizer" of tokenizer.json, as `without_prefix_space` gives them.
    """

    def __init__(self, rules: dict[str, Any]) -> None:
        self._spec = rules
        kept = {"pre_tokenizer": self._spec["pre_tokenizer"]}
        bare = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
        self._cutter = Tokenizer.from_str(json.dumps(kept | bare)).pre_tokenizer
        marks = [p for p in components(self._spec, "normalizer") if p["type"] == "Replace"]
        # The pre-tokenizer sees the normalized text, where a mark may stand for the space.
        self._space = next((str(p["content"]) for p in marks if p["pattern"].get("String") == " "), " ")

    def cuts(self, text: str) -> tuple[int, ...]:
        """Cut a text.

        Args:
            text: the text, spaces as spaces.

        Returns:
            Places of the cuts inside it, in characters, ascending.

        Raises:
            UnsupportedModelError: the pre-tokenizer leaves characters out.
        """
        if self._cutter is None or len(text) < 2:
            return ()
        words = self._cutter.pre_tokenize_str(text.replace(" ", self._space))
        places = [0]
        for _, (start, stop) in words:
            if start != places[-1]:
                break
            places.append(stop)
        if places[-1] != len(text):
            raise UnsupportedModelError(
                f"the pre-tokenizer leaves out part of {text!r}, so ids do not spell their text and which of them are "
                'viable cannot be said of bytes; use measure="all_strings", which needs no viability'
            )
        return tuple(places[1:-1])

    @property
    def trivial(self) -> bool:
        """Whether there is no pre-tokenizer, so no cut anywhere."""
        return self._cutter is None

    def literals(self) -> list[str]:
        """Strings of two characters or more that the rules name, such as the English contractions."""
        found = [match for pattern in self._patterns() for match in LITERAL.findall(ESCAPE.sub("|", pattern))]
        return sorted(set(found))

    def named(self) -> set[str]:
        """Characters that the rules name, alone or as the ends of ranges with what lies beyond, in both cases."""
        found = set("".join(self._patterns()))
        for pattern in self._patterns():
            codes = re.findall(r"\\x\{([0-9A-Fa-f]+)\}|\\u([0-9A-Fa-f]{4})", pattern)
            found |= {chr(int(one or other, 16)) for one, other in codes}
        beside = {chr(ord(each) + step) for each in found if "\x7f" < each < "\ud7ff" for step in (-1, 1)}
        return (
            found | beside | {each for each in map(chr, range(CASED)) if each.lower() in found or each.upper() in found}
        )

    def _patterns(self) -> Iterator[str]:
        for part in components(self._spec, "pre_tokenizer"):
            pattern = part.get("pattern") or part.get("delimiter") or ""
            yield from pattern.values() if isinstance(pattern, dict) else (str(pattern),)
            if part["type"] == "ByteLevel" and part.get("use_regex", True):
                yield "'s|'t|'re|'ve|'m|'ll|'d"  # GPT-2's expression names these, and is not in the file


@lru_cache
def characters_of_every_sort(block: int) -> tuple[str, ...]:
    """List one character of each general category in every block of code points; of the unassigned ones, fewer.

    Args:
        block: size of a block.

    Returns:
        The characters, ascending.
    """
    found: dict[tuple[str, int], str] = {}
    for point in range(sys.maxunicode + 1):
        if not 0xD800 <= point < 0xE000:
            category = unicodedata.category(chr(point))
            found.setdefault((category, point // (1 << 14 if category in SPARSE else block)), chr(point))
    return tuple(found.values())
