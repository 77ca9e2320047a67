"""How a tokenizer itself spells given bytes, and which of its ids text can never be encoded to."""

import copy
import json
from collections.abc import Iterator, Sequence
from functools import cached_property

from tokenizers import Tokenizer

from hf_tokext.vocabulary.pieces import CHARACTER_OF_BYTE, Vocabulary, space_mark

# What a piece is set into to see whether some text keeps it in one word; "x" is a letter that no accent combines with.
SETTINGS = ("{}", "x{}", "{}x", "x{}x", " {}", "{} ", "\n{}", "{}\n")
BATCH = 1 << 14


class Speller:
    """Encodes bytes with a tokenizer's own rules, without the space that some put before every text.

    Args:
        vocabulary: the vocabulary whose ids are to be used.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._mark = space_mark(vocabulary.spec)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        spec = _without_prefix_space(self.vocabulary.spec)
        spec["post_processor"] = spec["truncation"] = spec["padding"] = None
        return Tokenizer.from_str(json.dumps(spec))

    @cached_property
    def _longest(self) -> int:
        return max((len(piece) for piece in self.vocabulary.ids_of_piece), default=0)

    def spell(self, pieces: Sequence[bytes]) -> list[tuple[int, ...]]:
        """Spell byte strings with ids of this vocabulary.

        Args:
            pieces: N byte strings, valid UTF-8 or not.

        Returns:
            For each the ids whose pieces, joined, are exactly these bytes; () where there are none.
        """
        texts = [_text(piece) for piece in pieces]
        encodings = iter(
            self._tokenizer.encode_batch([text for text in texts if text is not None], add_special_tokens=False)
        )
        found = []
        for piece, text in zip(pieces, texts, strict=True):
            ids = tuple(next(encodings).ids) if text is not None else ()
            if not self._spells(ids, piece):
                ids = self.spell_alone(piece)
            found.append(ids)
        return found

    def spell_alone(self, piece: bytes) -> tuple[int, ...]:
        """Spell bytes as the tokenizer's model does when no pre-tokenizer has cut them.

        Args:
            piece: the bytes, valid UTF-8 or not.

        Returns:
            The ids, or () where the vocabulary has no spelling of these bytes.
        """
        symbols = self._symbols(piece)
        if symbols is not None:
            ids = tuple(token.id for token in self._tokenizer.model.tokenize(symbols))
            if self._spells(ids, piece):
                return ids
        return self.spell_greedily(piece)

    def _symbols(self, piece: bytes) -> str | None:
        kind = self.vocabulary.kind
        if kind == "byte_level":
            return "".join(CHARACTER_OF_BYTE[byte] for byte in piece)
        text = _text(piece)
        if kind == "wordpiece" or text is None:
            return None  # WordPiece's own rule is the longest match, below
        return text.replace(" ", self._mark) if self._mark else text

    def _spells(self, ids: tuple[int, ...], piece: bytes) -> bool:
        special = self.vocabulary.special
        if not ids or any(index in special for index in ids):
            return False
        return b"".join(self.vocabulary.piece(index) for index in ids) == piece

    def spell_greedily(self, piece: bytes) -> tuple[int, ...]:
        """Spell bytes by the longest pieces that fit, one after another.

        Args:
            piece: the bytes.

        Returns:
            The ids, or () where there are none.
        """
        found, start = [], 0
        while start < len(piece):
            for end in range(min(len(piece), start + self._longest), start, -1):
                ids = self.vocabulary.ids_of_piece.get(piece[start:end])
                if ids:
                    found.append(ids[0])
                    start = end
                    break
            else:
                return ()
        return tuple(found)

    def unreachable(self) -> frozenset[int]:
        """Ids of ordinary tokens that no text is ever encoded to.

        A token that occurs in the encoding of some text is also the encoding of its own bytes taken alone: BPE's
        merges, Unigram's best path and WordPiece's longest match all have this property. And it lies within one word
        of the pre-tokenizer: BERT's cuts `[unused1]` at its brackets, and one that gives every digit alone leaves `12`
        without use. The converse tests err on the side of calling an id reachable.
        """
        vocabulary = self.vocabulary
        candidates = [i for i in vocabulary.ids if i not in vocabulary.special and i not in vocabulary.added]
        found, whole = set(), []
        for index in candidates:
            piece = vocabulary.piece(index)
            winner = vocabulary.ids_of_piece[piece][0]
            if winner != index or (index not in vocabulary.fallback and self.spell_alone(piece) != (index,)):
                found.add(index)
            elif index not in vocabulary.fallback:
                whole.append(index)
        return frozenset(found | self._always_cut(whole))

    def _always_cut(self, ids: Sequence[int]) -> set[int]:
        """Those of the ids whose token lies across a cut, or is changed by the normalizer, whatever stands beside."""
        found = set()
        for start in range(0, len(ids), BATCH):
            texts = {
                i: text for i in ids[start : start + BATCH] if (text := _text(self.vocabulary.piece(i))) is not None
            }
            encodings = self._tokenizer.encode_batch_fast(list(texts.values()), add_special_tokens=False)
            for (index, text), encoding in zip(texts.items(), encodings, strict=True):
                if index not in encoding.ids:
                    string = self._string(index)
                    settings = (setting.replace("{}", text) for setting in SETTINGS)
                    if not any(string in word for setting in settings for word in self._words(setting)):
                        found.add(index)
        return found

    def _string(self, index: int) -> str:
        """An id's token as it stands in a word that the model is given."""
        model, string = self.vocabulary.spec["model"], str(self._tokenizer.id_to_token(index))
        prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
        return string.removeprefix(prefix).removesuffix(suffix) or string

    def _words(self, text: str) -> Iterator[str]:
        """The words that normalizer and pre-tokenizer make of a text."""
        normalizer, cutter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        normal = normalizer.normalize_str(text) if normalizer is not None else text
        return (word for word, _ in cutter.pre_tokenize_str(normal)) if cutter is not None else iter((normal,))


def _text(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


def _without_prefix_space(spec: dict) -> dict:
    sections = ("normalizer", "pre_tokenizer")
    spec = spec | {section: copy.deepcopy(spec.get(section)) for section in sections}  # the rest is large

    def edit(part: dict | None) -> dict | None:
        if part is None:
            return None
        for key in ("normalizers", "pretokenizers"):
            if key in part:
                part[key] = [kept for inner in part[key] if (kept := edit(inner)) is not None]
        if part["type"] == "Prepend":
            return None
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
            part.pop("add_prefix_space", None)
        if part["type"] == "ByteLevel" and "add_prefix_space" in part:
            part["add_prefix_space"] = False
        return part

    for section in sections:
        spec[section] = edit(spec[section])
    return spec
