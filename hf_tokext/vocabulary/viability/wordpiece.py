"""Viable sequences of WordPiece tokenizers (BERT): in every word, always the longest match."""

from typing import NamedTuple

import numpy as np

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.viability.added import AddedMatches, Live
from hf_tokext.vocabulary.viability.base import Viability
from hf_tokext.vocabulary.viability.byte_ranges import Rests, SortedStrings
from hf_tokext.vocabulary.viability.kept import Kept
from hf_tokext.vocabulary.viability.seams import Place, Seam, Seams

KEPT_BYTES = 1 << 25
Unmatched = tuple[tuple[bool, str], ...]  # whether it began the word, and the text from there on


class WordPieceState(NamedTuple):
    """What was read of the last word; all fields are empty where none may go on.

    Attributes:
        tail: its last characters.
        unmatched: texts from the start of a token to the end of the word that longer tokens begin with.
        length: number of its characters.
        live: added tokens whose match has begun in it.
    """

    tail: str
    unmatched: Unmatched
    length: int
    live: Live


class WordPieceViability(Viability[WordPieceState]):
    """WordPiece: a sequence is viable if every token is the longest match where it stands, given all that follows it.

    Every beginning of such a sequence is one, and a text may end after every token. The ids say nothing of the spaces
    between words: the text of the byte view is all words with one space before each, none before a character that stands
    alone wherever it is (punctuation, CJK), see `Vocabulary.pieces`. So its first byte is a space where the text begins
    with an ordinary word, and `opening` is b" " only if no text begins otherwise. Words are those that normalizer and
    pre-tokenizer leave as they are, see `Seams`, that have no unknown token, and that are no longer than the model reads
    (`max_input_chars_per_word`). An added token lies between words; within a word none is spelt.

    Args:
        vocabulary: the vocabulary, with a WordPiece model.

    Raises:
        UnsupportedModelError: the tokenizer has a part whose rules are not known here; the message names it.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        model = vocabulary.spec["model"]
        prefix = model.get("continuing_subword_prefix", "##")
        if model.get("type") != "WordPiece" or vocabulary.kind != "wordpiece" or not prefix:
            raise UnsupportedModelError(
                f"WordPieceViability reads WordPiece tokenizers that mark what continues a word, not {model.get('type')} "
                f'with the mark {prefix!r}; use measure="all_strings", which needs none'
            )
        strings: dict[str, int] = {string: index for string, index in model["vocab"].items() if string}
        going_on = {string[len(prefix) :]: i for string, i in strings.items() if string.startswith(prefix)}
        going_on.pop("", None)
        apart = {*vocabulary.special, *vocabulary.added}
        self._continues = np.zeros(len(vocabulary), dtype=bool)
        self._continues[[index for index in going_on.values() if index not in apart]] = True
        texts: list[str | None] = [None] * len(vocabulary)
        for text, index in (*strings.items(), *going_on.items()):
            if index not in apart:
                texts[index] = text
        self._texts = texts
        self._seams = Seams(vocabulary, texts)
        if self._seams.model_text("a a") != "aa":
            raise UnsupportedModelError(
                "viable sequences are not known for a WordPiece tokenizer whose words hold the spaces of the text; "
                'use measure="all_strings", which needs none'
            )
        self._longest = int(model.get("max_input_chars_per_word", 100))
        self._sizes = np.array([len(text or "") for text in texts], dtype=np.int64)
        self._matches = AddedMatches(vocabulary, [text.encode() if text else None for text in texts], opened=False)

        # a word's first token is looked for among all strings as they are, its later ones among those that go on
        later = SortedStrings(going_on)
        self._later_ids = np.array([going_on[string.decode()] for string in later.strings], dtype=np.int64)
        self._sorted = {True: SortedStrings(strings), False: later}
        self._rests = {first: Rests(found, later) for first, found in self._sorted.items()}
        begins = self._seams.whole & ~self._continues & ~self._matches.spells & (self._sizes <= self._longest)
        self._begins = begins & np.array([text is not None for text in texts], dtype=bool)
        others = [i for i in vocabulary.special if i != strings.get(model.get("unk_token"))]
        self._special = frozenset(others)
        self._added = self._matches.matched - vocabulary.special.keys()
        self._begins[[*others, *self._added]] = True
        if all(vocabulary.piece(i).startswith(b" ") for i in np.flatnonzero(self._begins).tolist() if i not in apart):
            self.opening = b" "
        self._unmatching = Kept(self._find_longest, max(KEPT_BYTES // len(vocabulary), 16))
        self._allowed = Kept(self._next, max(KEPT_BYTES // len(vocabulary), 16))

    def start(self) -> WordPieceState:
        """State before the first id of a text."""
        return WordPieceState("", (), 0, ())

    def complete(self, state: WordPieceState) -> bool:
        """Whether the text may end: always."""
        return True

    def allowed(self, state: WordPieceState) -> np.ndarray:
        """Ids that may follow, see the base class."""
        # a word's length matters only near the longest one
        slack = self._longest - state.length
        return self._allowed((state._replace(length=0), min(slack, int(self._sizes.max(initial=0)))))

    def _next(self, key: tuple[WordPieceState, int]) -> np.ndarray:
        state, slack = key
        if not state.tail:
            found = self._begins.copy()
        else:
            found = self._continues & (self._seams.after(Place.INSIDE, state.tail) == Seam.JOIN)
            found &= self._unmatching(state.unmatched) & (self._sizes <= slack) & ~self._matches.spells
            found[self._matches.after_live(state.live)[0]] = False
            found |= self._begins
        found.flags.writeable = False
        return found

    def _find_longest(self, unmatched: Unmatched) -> np.ndarray:
        """[V] bool, the tokens of later places that leave all earlier ones the longest matches."""
        edges = np.zeros(len(self._later_ids) + 1, dtype=np.int64)
        for first, text in unmatched:
            read = text.encode()
            ranks = slice(*self._sorted[first].longer_than(read))
            rests = self._rests[first].after(ranks, len(read))
            # what begins with the rest of a longer token would have made it the match
            np.add.at(edges, self._rests[first].starts[rests], 1)
            np.add.at(edges, self._rests[first].stops[rests], -1)
        found = np.zeros(len(self.vocabulary), dtype=bool)
        found[self._later_ids] = np.cumsum(edges)[:-1] == 0
        return found

    def _advance(self, state: WordPieceState, index: int) -> WordPieceState:
        text = self._texts[index]
        if text is None:
            return self.start()
        if not self._continues[index]:
            state = self.start()
        first = not state.tail
        texts = [(began, before + text) for began, before in state.unmatched] + [(first, text)]
        unmatched = tuple(each for each in texts if self._is_longer(*each))
        _, tail = self._seams.new_tail(Place.INSIDE, state.tail, text)
        live = self._matches.read(state.live, text.encode())
        return WordPieceState(tail, unmatched, state.length + len(text), live)

    def _is_longer(self, first: bool, text: str) -> bool:
        start, stop = self._sorted[first].longer_than(text.encode())
        return start < stop
