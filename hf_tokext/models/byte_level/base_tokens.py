"""The tokens of a base model as the byte view needs them: sorted by their bytes, special ones apart."""

import json
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.opening import opening
from hf_tokext.vocabulary.pieces import Vocabulary, read_vocabulary
from hf_tokext.vocabulary.roles import roles
from hf_tokext.vocabulary.trie import ByteTrie


class BaseTokens:
    """What the byte view knows of a base's tokenizer.

    Args:
        tokenizer: a transformers tokenizer that is backed by a tokenizer.json.

    Attributes:
        vocabulary: pieces of all ids.
        trie: the ids that have bytes, sorted by them.
        marker_ids: ids of the markers, ascending, which stand for no bytes: special tokens, and those that a prompt for
            filling in the middle is made of.
        marker_texts: their texts.
        template_ids: ids that the tokenizer's template puts before a text, perhaps none.
        opening_ids: ids before a text that does not begin with a marker itself: those, else its bos, cls or eos.
        space_opens: whether a space that is no part of the text stands before it.
        space_after_special: whether one stands before what follows a marker.

    Raises:
        VocabularyError: the bytes of the ids cannot be read, no token has any, or there is none to open a text with.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.vocabulary: Vocabulary = read_vocabulary(tokenizer)
        markers = _markers(self.vocabulary)
        pieces = {i: self.vocabulary.piece(i) for i in self.vocabulary.ids if i not in markers}
        self.trie = ByteTrie({index: piece for index, piece in pieces.items() if piece})
        if not len(self.trie.order):
            raise VocabularyError(
                "no token of this tokenizer stands for bytes: it has special tokens only, or its folder no tokenizer.json"
            )
        self.marker_ids = np.array(sorted(markers), dtype=np.int64)
        self.marker_texts = [markers[index] for index in sorted(markers)]
        self.template_ids = _template_ids(tokenizer)
        self.opening_ids = self.template_ids or [_opener(tokenizer)]
        self.space_opens, self.space_after_special = opening(self.vocabulary)
        spec = dict(self.vocabulary.spec, post_processor=None, truncation=None, padding=None)
        self._core = Tokenizer.from_str(json.dumps(spec))

    def spell(self, text: bytes) -> list[tuple[int, int]]:
        """Spell the beginning of a text as the tokenizer does.

        Args:
            text: bytes; what is not UTF-8 at the end of them is left out.

        Returns:
            Ids, and how many bytes of the text are spelt after each; they stop where the bytes are not the text's.
        """
        whole = text.decode("utf-8", "ignore" if _cut(text) else "replace")
        bytes_of = self.vocabulary.pieces
        found, done, shift = [], 0, int(self.space_opens)
        text = b" " * shift + text
        for index in self._core.encode(whole, add_special_tokens=False).ids:
            piece = bytes_of[index]
            if index not in self.trie.rank or not piece or not text.startswith(piece, done):
                break
            done += len(piece)
            found.append((index, done - shift))
        return found

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """Bytes of ids up to the first marker.

        Args:
            ids: ids of the base.

        Returns:
            Their bytes.
        """
        ordinary = takewhile(self.trie.rank.__contains__, ids)
        return b"".join(self.vocabulary.piece(index) for index in ordinary)


def _markers(vocabulary: Vocabulary) -> dict[int, str]:
    """Texts of the markers by id."""
    found = dict(vocabulary.special)
    for role, ids in roles(vocabulary).items():
        if role.startswith("fim_") or role in ("repository", "file"):
            found |= {index: vocabulary.piece(index).decode() for index in ids if index in vocabulary.added}
    return found


def _cut(text: bytes) -> bool:
    """Whether the text is UTF-8 but for a character that is cut off at its end."""
    for size in range(1, 4):
        try:
            text[:-size].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False


def _template_ids(tokenizer: Any) -> list[int]:
    """Ids that the tokenizer's template puts before a text."""
    core = getattr(tokenizer, "backend_tokenizer", tokenizer)
    ids, special = core.encode("x").ids, core.encode("x", add_special_tokens=False).ids
    before = ids[: len(ids) - len(special)]
    while before and ids[len(before) :][: len(special)] != special:
        before = before[:-1]  # the template also closes a text
    return before


def _opener(tokenizer: Any) -> int:
    """The token that opens a text where the template has none."""
    for role in ("bos_token_id", "cls_token_id", "eos_token_id"):
        index = getattr(tokenizer, role, None)
        if index is not None:
            return int(index)
    raise VocabularyError(
        "the tokenizer has no bos, cls or eos token to open a text with; set tokenizer.bos_token to one of its tokens"
    )
