"""Viability of BPE tokenizers: byte-level, or SentencePiece-like with byte fallback, with any pre-tokenizer that is learned."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from hf_tokext.vocabulary.opening import opening
from hf_tokext.vocabulary.pieces import Vocabulary, components, space_mark
from hf_tokext.vocabulary.viability.added import AddedMatches, Live, is_matched_never
from hf_tokext.vocabulary.viability.base import Viability
from hf_tokext.vocabulary.viability.bpe_model import FREE, BpeModel
from hf_tokext.vocabulary.viability.bpe_words import NO_ID, BpeWords, Guess, Place
from hf_tokext.vocabulary.viability.composition import Composition
from hf_tokext.vocabulary.viability.cut_automaton import DEAD
from hf_tokext.vocabulary.viability.kept import Kept
from hf_tokext.vocabulary.viability.shapes import Shapes

KEPT_BYTES = 1 << 26
KEPT_STATES = 1 << 16
WITNESSES = 8
INSIDE, UNOPENED, BARE = 0, 1, 2  # the text has begun; the space before it is to come; only that space has come
ANY_SEAM = "any"  # any end of a text at all: what follows must not combine with what stands before it


class BpeState(NamedTuple):
    """What matters of the ids read.

    Attributes:
        last: the last id, or `NO_ID` where none stands before.
        guesses: the ways to mark the cuts that some text may prove right.
        begun: first bytes of a character.
        phase: how far the space is that the tokenizer puts before a text.
        live: added tokens whose match has begun.
        seam: last characters, which the next may combine with; or `ANY_SEAM`.
    """

    last: int
    guesses: frozenset[Guess]
    begun: bytes = b""
    phase: int = INSIDE
    live: Live = ()
    seam: str = ""


class BpeViability(Viability[BpeState]):
    """Viable sequences of a BPE tokenizer, exactly.

    Whether two tokens stay two within a word is a question to the merges (`BpePairs`); where words end is guessed, and
    checked by an automaton learned from the pre-tokenizer (`CutAutomaton`). A sequence is viable if some further ids make
    it complete; they are looked for where the end of the text alone does not.

    Special ids stand between texts: on either side of one is a text of its own, whatever the special token's spelling.

    Args:
        vocabulary: the vocabulary.

    Raises:
        UnsupportedModelError: the tokenizer has a part whose viable sequences are not known.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        self._pieces = _ordinary_pieces(vocabulary)
        unknown = vocabulary.spec["model"].get("unk_token")
        self._special = [index for index, text in vocabulary.special.items() if text != unknown]
        model, self._shapes = BpeModel(vocabulary), Shapes(self._pieces)
        self._model, self._composition = model, Composition(vocabulary)
        self._opened, self._opened_again = opening(vocabulary)
        self._matches = AddedMatches(vocabulary, self._pieces, self._opened or self._opened_again)
        self._added = sorted(self._matches.matched - set(vocabulary.special))
        self._words = BpeWords(vocabulary, model, self._shapes, self._composition)
        self._words.usable &= ~self._matches.spells
        self.opening = b" " if self._opened else b""
        self._opens = np.array([(piece or b"")[:1] == b" " for piece in self._pieces], dtype=bool)
        # Prepend puts a space before every text but the empty one; others leave a text that has one as it is.
        self._bare = (
            {b" "} if any(part["type"] == "Prepend" for part in components(vocabulary.spec, "normalizer")) else set()
        )
        self._find_joining()
        self._masks = Kept(self._mask, max(64, KEPT_BYTES // model.size))
        self._proofs = Kept(self._proof, max(64, KEPT_BYTES // model.size))
        self._apart = Kept(self._joining_with_nothing, KEPT_STATES)
        self._following: Kept[Live, list[int]] = Kept(
            lambda live: self._matches.following(live, self._added), KEPT_STATES
        )
        self._viable = Kept(self._search, KEPT_STATES)
        self._refused = Kept(self._refuse, KEPT_STATES)
        self._completed_by = Kept(self._witnesses, KEPT_STATES)

    def _find_joining(self) -> None:
        """Find the tokens whose first character may combine with what stands before them."""
        shapes, joins = self._shapes, self._composition.joins
        plain = [i for i in np.flatnonzero(self._words.usable).tolist() if not shapes.heads[i]]
        self._joining = [i for i in plain if shapes.texts[i] and joins(shapes.texts[i][0])]
        lonely = (i for i in plain if not shapes.texts[i])
        self._may_join = np.array([i for i in lonely if self._composition.may_join(shapes.tails[i])], dtype=np.int64)

    def start(self) -> BpeState:
        """State before the first id of a text."""
        return self._fresh(self._opened)

    def _fresh(self, opened: bool, live: Live = (), seam: str = "") -> BpeState:
        return BpeState(NO_ID, frozenset((self._words.start,)), b"", UNOPENED if opened else INSIDE, live, seam)

    def complete(self, state: BpeState) -> bool:
        """Whether the ids so far are the whole encoding of their own text, so that it may end or a special id follow.

        Args:
            state: what was read.

        Returns:
            Whether they are.
        """
        return not state.begun and state.phase != BARE and any(map(self._words.ends, state.guesses))

    def allowed(self, state: BpeState) -> np.ndarray:
        """Ids that may follow.

        Args:
            state: what was read.

        Returns:
            [V] bool, read-only and kept between calls: True where the sequence stays viable with this id. Special ids
            are True where `complete` is, and only there; unknown tokens are False.
        """
        return self._masks(state)

    def _mask(self, state: BpeState) -> np.ndarray:
        found, done = self._options(state, proven=True)
        unfinished = found & ~done
        if state.begun and state.seam not in ("", ANY_SEAM):
            unfinished &= ~self._masks(state._replace(seam=ANY_SEAM))  # what holds after any text holds after this one
        for index in self._doubtful(state, unfinished):
            found[index] = self._viable(self._advance(state, index))
        if self.complete(state):
            found[self._special] = True
            found[self._following(state.live)] = True
        found.flags.writeable = False
        return found

    def _doubtful(self, state: BpeState, unfinished: np.ndarray) -> Iterable[int]:
        """Ids whose proof holds after other texts, and perhaps not after this one."""
        if state.begun or state.phase == UNOPENED:
            return np.flatnonzero(unfinished).tolist()
        found = [index for guess in state.guesses for index in self._model.no_words(guess.path)]
        if state.live:
            found += self._matches.after_live(state.live)[1].tolist()
        if state.seam:
            found += self._may_join[unfinished[self._may_join] & ~self._apart_at(state)].tolist()
        return [index for index in dict.fromkeys(found) if unfinished[index]]

    def _apart_at(self, state: BpeState) -> np.ndarray:
        """Those of `_may_join` whose character need not combine with the text before it: [n] bool."""
        known = np.zeros(len(self._may_join), dtype=bool)
        for guess in state.guesses if not state.live else ():
            if guess.path == FREE:
                known |= self._apart((guess.state, 1))
                if state.last != NO_ID:
                    known |= self._apart((guess.state, 0)) & self._model.stand(state.last, self._may_join)
        return known

    def _joining_with_nothing(self, place: Place) -> np.ndarray:
        """Those of `_may_join` that make a viable sequence at a place whatever text ends there: [n] bool."""
        after = self._words.walk(place)[self._may_join]
        ids = zip(self._may_join.tolist(), after.tolist(), strict=True)
        return np.array(
            [state != DEAD and self._leads_on(index, state, place[1], ANY_SEAM) for index, state in ids], dtype=bool
        )

    def _options(self, state: BpeState, proven: bool) -> tuple[np.ndarray, np.ndarray]:
        """[V] bool: ids that some guess is left after, or that are proven; [V] bool: ids that make a whole text."""
        proof = self._proofs if proven else None
        found, done = self._words.options(state.guesses, state.begun, state.last, proof)
        taken_off = self._refused((state.begun, state.seam)) if state.seam else []
        if state.live:
            taken_off = [*taken_off, *self._matches.after_live(state.live)[0].tolist()]
        found[taken_off] = done[taken_off] = False
        if state.phase == UNOPENED:
            found &= self._opens
            done &= self._opens
            done[[index for piece in self._bare for index in self.vocabulary.ids_of_piece.get(piece, ())]] = False
        return found, done

    def _refuse(self, key: tuple[bytes, str]) -> list[int]:
        """Ids whose first character is composed with the one before it."""
        begun, seam = key
        if seam == ANY_SEAM:
            return self._words.completing(begun).joining if begun else self._joining
        fixed, shapes = self._composition.fixed, self._shapes
        if not begun:
            return [index for index in self._joining if not fixed(seam + shapes.texts[index])]
        heads = ((index, (begun + shapes.heads[index]).decode()) for index in self._words.completing(begun).joining)
        return [index for index, character in heads if not fixed(seam + character + shapes.texts[index])]

    def _advance(self, state: BpeState, index: int) -> BpeState:
        if index in self.vocabulary.special:
            return self._fresh(self._opened_again)
        if self._pieces[index] is None:
            return self._fresh(self._opened_again, self._matches.read_added(state.live, index))
        piece = self._pieces[index] or b""
        guesses, begun, text = self._words.read(state.guesses, state.begun, state.last, index)
        first = state.phase == UNOPENED
        live = self._matches.read(state.live, piece)
        before = "" if state.seam == ANY_SEAM else state.seam
        seam = self._composition.seam(before + text) if text else state.seam
        return BpeState(index, frozenset(guesses), begun, BARE if first and piece in self._bare else INSIDE, live, seam)

    def _search(self, state: BpeState) -> bool:
        """Whether further ids make a whole text."""
        seen, waiting = {state}, [state]
        while waiting:
            state = waiting.pop()
            if self.complete(state):
                return True
            found, done = self._options(state, proven=False)
            if done.any():
                return True
            following = {self._advance(state, index) for index in np.flatnonzero(found).tolist()} - seen
            seen |= following
            waiting += following
        return False

    def _proof(self, place: Place) -> np.ndarray:
        """[V] bool: ids that make a viable sequence at a place, if nothing before them but the place matters."""
        after = self._words.walk(place)
        proven = self._words.automaton.accepts[after] & self._shapes.whole
        for index in np.flatnonzero((after != DEAD) & ~proven).tolist():
            proven[index] = self._leads_on(index, int(after[index]), place[1], "")
        proven.flags.writeable = False
        return proven

    def _leads_on(self, index: int, state: int, cut: int, seam: str) -> bool:
        """Whether further ids make a whole text after an id, the automaton's state after it being this one."""
        steps, accepts = self._words.automaton.steps, self._words.automaton.accepts
        text, tail = self._shapes.texts[index], self._shapes.tails[index]
        guess = Guess(state, 0 if text else cut, self._model.opens(index) if cut else 0)
        live = self._matches.read((), self._pieces[index] or b"")
        ways = self._completed_by(index) if tail and not live else []
        seam = self._composition.seam(text) if text else seam
        return any(
            accepts[steps[state, guess.cut, letter]] and self._combines_not(seam, character)
            for letter, character in ways
        ) or self._viable(BpeState(index, frozenset((guess,)), tail, INSIDE, live, seam))

    def _combines_not(self, seam: str, character: str) -> bool:
        """Whether a character leaves the end of the text before it as it is."""
        joins, fixed = self._composition.joins, self._composition.fixed
        return not joins(character) if seam == ANY_SEAM else fixed(seam + character)

    def _witnesses(self, index: int) -> list[tuple[int, str]]:
        """Some characters, with their letters, that one more token completes after one that ends within a character."""
        tail, completing = self._shapes.tails[index], self._words.completing(self._shapes.tails[index])
        fits = self._shapes.bare_heads[completing.ids] & self._model.stand(index, completing.ids)
        ids, letters = completing.ids[fits][:WITNESSES].tolist(), completing.letters[fits].tolist()
        return [(letter, (tail + self._shapes.heads[i]).decode()) for i, letter in zip(ids, letters, strict=False)]


def _ordinary_pieces(vocabulary: Vocabulary) -> list[bytes | None]:
    """[V] bytes of each id that the model gives.

    An added token that is spelt with the mark of the space (Gemma's runs of spaces) is never matched in a text before the
    normalizer, as the text has spaces; the model gives it.
    """
    pieces, mark, known = list(vocabulary.pieces), space_mark(vocabulary.spec), vocabulary.spec["model"]["vocab"]
    for index in vocabulary.special:
        pieces[index] = None
    for token in vocabulary.spec.get("added_tokens") or []:
        index, text = token["id"], token["content"]
        given = is_matched_never(token, mark) and known.get(text) == index and not token["special"]
        pieces[index] = text.replace(mark, " ").encode() if mark and given else None
    return pieces
