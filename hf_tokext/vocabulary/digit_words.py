"""Groups of digits inside the words of a WordPiece tokenizer.

A piece that a pre-tokenizer cuts off is a word of its own: "covid19" would come back as "covid 19". So the cuts are
made by writing the model's own sign for "this goes on" (`##`) into the text, behind a private character that the
pre-tokenizer then takes out again; the `#` that users write are still cut off one by one.
"""

import unicodedata
from typing import Any

from tokenizers import pre_tokenizers

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.digit_patterns import empty_between
from hf_tokext.vocabulary.pieces import components

CUT = "\ue000"
UNKNOWN = "\ufffd"
SIGN = "##"


def cut_inside_words(spec: dict[str, Any], scheme: str) -> None:
    """Make a WordPiece tokenizer cut its words at digits, and runs of digits into groups.

    Args:
        spec: a parsed tokenizer.json, as `tokenizers` writes it; changed in place.
        scheme: one of `SCHEMES`.

    Raises:
        VocabularyError: it is not of BERT's kind (its pre-tokenizer, `##`).
    """
    names = [part["type"] for part in components(spec, "pre_tokenizer")]
    if names != ["BertPreTokenizer"] or spec["model"]["continuing_subword_prefix"] != SIGN:
        raise VocabularyError(
            f"digit schemes for WordPiece are made for BERT's own pre-tokenizer and {SIGN!r}; this one has {names}"
        )
    marks = _punctuation()
    inside = rf"[^\s0-9{CUT}{marks}]"
    replacements = [
        ({"String": CUT}, UNKNOWN),  # no word of any vocabulary has either, so text with one is unknown as before
        ({"Regex": rf"(?<={inside})(?=[0-9])|(?<=[0-9])(?={inside})"}, CUT + SIGN),
        ({"Regex": empty_between(scheme)}, CUT + SIGN),
    ]
    steps = [{"type": "Replace", "pattern": pattern, "content": content} for pattern, content in replacements]
    before = [spec["normalizer"]] if spec["normalizer"] else []
    spec["normalizer"] = {"type": "Sequence", "normalizers": before + steps}
    alone = rf"(?<!{CUT})(?<!{CUT}#)#|(?!#)[{marks}]"
    spec["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Split", "pattern": {"Regex": alone}, "behavior": "Isolated", "invert": False},
            {"type": "Split", "pattern": {"String": CUT}, "behavior": "Removed", "invert": False},
        ],
    }


def _punctuation() -> str:
    """What BERT's pre-tokenizer cuts off, as the inside of a character class.

    Asked of it, one character at a time: its tables of Unicode are older than those of the regular expressions.
    """
    bert = pre_tokenizers.BertPreTokenizer()
    candidates = (c for c in map(chr, range(0x110000)) if c.isascii() or unicodedata.category(c)[0] == "P")
    cut_off = [c for c in candidates if not c.isspace() and len(bert.pre_tokenize_str(f"a{c}a")) == 3]
    return "".join(f"\\x{{{ord(c):x}}}" for c in cut_off)
