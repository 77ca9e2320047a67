"""What a tokenizer puts before a text: the space of SentencePiece's `▁Hello`."""

import json
from typing import NamedTuple

from tokenizers import Tokenizer

from hf_tokext.vocabulary.pieces import Vocabulary


class Opening(NamedTuple):
    """Whether a space that is no part of the text stands before it.

    Attributes:
        of_text: before a text.
        after_special: before what follows a special token.
    """

    of_text: bool
    after_special: bool


def opening(vocabulary: Vocabulary) -> Opening:
    """Ask a tokenizer what it puts before texts.

    Args:
        vocabulary: its vocabulary.

    Returns:
        Where a space is put.
    """
    spec = dict(vocabulary.spec, post_processor=None, truncation=None, padding=None)
    core = Tokenizer.from_str(json.dumps(spec))

    def spaced(before: str) -> bool:
        for letter in "xabcdefghijklmnopqrstuvwyz":
            ids = core.encode(before + letter, add_special_tokens=False).ids
            pieces = [vocabulary.piece(index) for index in ids if index not in vocabulary.special]
            if pieces:  # the tokenizer knows this letter
                return pieces[0].startswith(b" ")
        return False

    special = min((text for text in vocabulary.special.values() if text in _matched(vocabulary)), default=None)
    return Opening(spaced(""), special is not None and spaced(special))


def _matched(vocabulary: Vocabulary) -> set[str]:
    """Texts of the tokens that are matched in a text."""
    return {token["content"] for token in vocabulary.spec.get("added_tokens") or []}
