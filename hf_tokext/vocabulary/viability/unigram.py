"""Viable sequences of Unigram tokenizers (T5, ALBERT, XLM-R, mBART): best paths of their own text."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import Vocabulary, space_mark
from hf_tokext.vocabulary.viability.added import AddedMatches, Live
from hf_tokext.vocabulary.viability.base import Viability
from hf_tokext.vocabulary.viability.kept import Kept
from hf_tokext.vocabulary.viability.seams import Place, Seam, Seams, binds, first_cluster
from hf_tokext.vocabulary.viability.unigram_lattice import EMPTY, UnigramLattice, Window
from hf_tokext.vocabulary.viability.utf8_beginnings import characters, size_of

UNKNOWN_PENALTY = 10.0  # an unknown character scores this much less than the worst string
KEPT_BYTES = 1 << 25
KEPT_CHARACTERS = 1 << 16


class UnigramState(NamedTuple):
    """What was read.

    Attributes:
        place: where the tail stands.
        tail: the last characters.
        window: the end of the word, with the scores of its best paths.
        live: added tokens whose match has begun.
        partial: bytes of a character that is not complete.
    """

    place: Place
    tail: str
    window: Window
    live: Live
    partial: bytes


class UnigramViability(Viability[UnigramState]):
    """Unigram: a sequence is viable if it is the best path of its own text; every beginning of a best path is one.

    The text is the one that the model is given, with spaces for the mark `▁`: `opening` and the text itself, or the text
    alone where it begins with a space and the tokenizer puts none before it. It has no unknown characters (those that are
    spelt by byte-fallback tokens are known), no mark of its own, no `<0x41>` that is read as a byte, and normalizer and
    pre-tokenizer leave it as it is. That is found by asking them about the seams between texts, see `Seams`. A space that
    a special token takes from the text beside it (lstrip, rstrip) is left in.

    Args:
        vocabulary: the vocabulary, with a Unigram model.

    Raises:
        UnsupportedModelError: the tokenizer has a part whose rules are not known here; the message names it.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        model = vocabulary.spec["model"]
        if model.get("type") != "Unigram" or vocabulary.kind not in ("metaspace", "literal"):
            raise UnsupportedModelError(
                f"UnigramViability reads Unigram tokenizers of characters, not {vocabulary.kind} {model.get('type')}; "
                'use measure="all_strings", which needs none'
            )
        strings = _strings(vocabulary)
        self._texts = _ordinary_texts(vocabulary, strings)
        self._seams = Seams(vocabulary, self._texts)
        self.opening = self._seams.opening.encode()
        unknown = None if model.get("unk_id") is None else min(score for _, score in model["vocab"]) - UNKNOWN_PENALTY
        self._scores = {text: model["vocab"][index][1] for index, text in strings.items()}
        self._lattice = UnigramLattice(self._scores, unknown)
        ranks = {string.decode(): rank for rank, string in enumerate(self._lattice.strings.strings)}
        self._ranks = np.array([0 if text is None else ranks[text] for text in self._texts], dtype=np.int64)
        self._in_strings = {character for string in self._scores for character in string}

        self._special = np.zeros(len(vocabulary), dtype=bool)
        self._special[[i for i in vocabulary.special if i != model.get("unk_id")]] = True
        by_bytes = model.get("byte_fallback") and unknown is not None
        self._bytes = {vocabulary.piece(i)[0]: i for i in vocabulary.fallback} if by_bytes else {}
        self._pieces = [None if text is None else text.encode() for text in self._texts]
        for byte, index in self._bytes.items():
            self._pieces[index] = bytes([byte])
        self._matches = AddedMatches(vocabulary, self._pieces, bool(self.opening))
        self._added = self._matches.matched - vocabulary.special.keys()
        self._after_added = Place.START if _opens_again(vocabulary, self._matches.matched) else Place.FRESH
        self._allowed = Kept(self._next, max(KEPT_BYTES // len(vocabulary), 16))
        self._unseen = Kept(self._find_unseen, KEPT_CHARACTERS)

    def start(self) -> UnigramState:
        """State before the first id of a text."""
        return UnigramState(Place.START, "", EMPTY, (), b"")

    def complete(self, state: UnigramState) -> bool:
        """Whether the text may end: not within a character, nor after a space that the tokenizer would drop."""
        return not state.partial and self._seams.may_end(state.place, state.tail)

    def allowed(self, state: UnigramState) -> np.ndarray:
        """Ids that may follow, see the base class."""
        return self._allowed(state)

    def _next(self, state: UnigramState) -> np.ndarray:
        if state.partial:
            found = np.zeros(len(self.vocabulary), dtype=bool)
        else:
            seams = self._seams.after(state.place, state.tail)
            found = (seams == Seam.JOIN) & self._lattice.follows(state.window)[self._ranks]
            found |= (seams == Seam.CUT) & self._lattice.follows(EMPTY)[self._ranks]
            found &= ~self._matches.spells
            found[self._matches.after_live(state.live)[0]] = False
        for byte, index in self._bytes.items():
            found[index] = self._begins_unknown(state, bytes([byte]))
        if self.complete(state):
            found |= self._special
            for index in self._added:
                found[index] = self._matches.may_follow(state.live, index)
        found.flags.writeable = False
        return found

    def _begins_unknown(self, state: UnigramState, more: bytes) -> bool:
        """Whether some unknown character may follow that begins with the bytes of the partial one and more."""
        beginning = state.partial + more
        if not any(characters(beginning)) or not self._may_open(state, beginning):
            return False
        unseen = self._unseen((state.place, self._seams.like(state.place, state.tail), beginning))
        if unseen is not None and not self._spells(state, unseen):
            return True
        return any(
            self._is_unknown(state.place, state.tail, state.window, each) and not self._spells(state, each)
            for each in _each(characters(beginning))
            if each not in self._scores
        )

    def _may_open(self, state: UnigramState, beginning: bytes) -> bool:
        """Whether a character that begins so may stand here, as far as the space tells that opens every text."""
        opens = state.place is Place.START and not state.tail
        return not opens or beginning.startswith(self.opening) or self.opening.startswith(beginning)

    def _find_unseen(self, key: tuple[Place, str, bytes]) -> str | None:
        """A character, no mark, that begins with given bytes, may follow a tail, and is in no string: always unknown."""
        place, tail, beginning = key
        unseen = (each for each in _each(characters(beginning)) if each not in self._in_strings and not binds(each))
        return next((each for each in unseen if self._is_unknown(place, tail, EMPTY, each)), None)

    def _is_unknown(self, place: Place, tail: str, window: Window, character: str) -> bool:
        """Whether a character that is no string itself may follow and is spelt by its bytes."""
        if not self._bytes.keys() >= set(character.encode()):
            return False
        seam = self._seams.between(place, tail, character)
        return seam is not Seam.NONE and self._lattice.ends_with(window if seam is Seam.JOIN else EMPTY, character)

    def _spells(self, state: UnigramState, character: str) -> bool:
        """Whether an added token would be matched within the bytes of a character that are still to come."""
        live = state.live
        for byte in character.encode()[len(state.partial) :]:
            index = self._bytes[byte]
            if self._matches.spells[index] or index in self._matches.after_live(live)[0]:
                return True
            live = self._matches.read(live, bytes([byte]))
        return False

    def _advance(self, state: UnigramState, index: int) -> UnigramState:
        if self._special[index]:
            return UnigramState(self._after_added, "", EMPTY, (), b"")
        if index in self._added:
            return UnigramState(self._after_added, "", EMPTY, self._matches.read_added(state.live, index), b"")
        piece = self._pieces[index] or b""
        live = self._matches.read(state.live, piece)  # the opening is a space; no added token begins with one
        whole = state.partial + piece
        if index in self._bytes.values() and len(whole) < size_of(whole[0]):
            return state._replace(live=live, partial=whole)
        text = whole.decode()
        seam = self._seams.between(state.place, state.tail, first_cluster(text))
        window = self._lattice.extend(state.window if seam is Seam.JOIN else EMPTY, text)
        place, tail = self._seams.new_tail(state.place, state.tail, text)
        return UnigramState(place, tail, window, live, b"")


def _strings(vocabulary: Vocabulary) -> dict[int, str]:
    """What the model matches, with spaces for the mark; a string that holds a space itself is never matched then."""
    mark = space_mark(vocabulary.spec)
    last = {string: index for index, (string, _) in enumerate(vocabulary.spec["model"]["vocab"])}
    return {
        index: string.replace(mark, " ") if mark else string
        for string, index in last.items()
        if string and not (mark and " " in string)
    }


def _ordinary_texts(vocabulary: Vocabulary, strings: dict[int, str]) -> list[str | None]:
    apart = {*vocabulary.special, *vocabulary.added, *vocabulary.fallback}
    return [None if index in apart else strings.get(index) for index in range(len(vocabulary))]


def _opens_again(vocabulary: Vocabulary, matched: set[int]) -> bool:
    """Whether the tokenizer puts a space before the text that follows an added token."""
    core = Tokenizer.from_str(
        json.dumps(vocabulary.spec | {"post_processor": None, "truncation": None, "padding": None})
    )
    mark = space_mark(vocabulary.spec) or " "
    contents = [token["content"] for token in (vocabulary.spec.get("added_tokens") or []) if token["id"] in matched]
    found = [core.encode(content + "a", add_special_tokens=False).tokens[1:] for content in contents]
    return all(tokens and tokens[0].startswith(mark) for tokens in found)


def _each(ranges: list[range]) -> Iterator[str]:
    return (chr(point) for part in ranges for point in part)
