"""What tokens lead to when the words of a text are guessed: the cut automaton and the BPE model together."""

import json
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.viability.bpe_model import ALONE, FREE, BpeModel
from hf_tokext.vocabulary.viability.composition import Composition
from hf_tokext.vocabulary.viability.cut_automaton import DEAD, START, CutAutomaton
from hf_tokext.vocabulary.viability.cuts import SPARSE, Cutter, characters_of_every_sort
from hf_tokext.vocabulary.viability.kept import Kept
from hf_tokext.vocabulary.viability.letters import Letters
from hf_tokext.vocabulary.viability.shapes import Shapes
from hf_tokext.vocabulary.viability.unopened import without_prefix_space

NO_ID = -1
KEPT_BYTES = 1 << 26
KEPT_BEGUN = 1 << 14
LAST_BYTE = 64  # code points that UTF-8's last byte counts
Place = tuple[int, int]  # a state of the cut automaton, and 1 if there is a cut after it, else 0


class Guess(NamedTuple):
    """One way to mark the cuts of a text.

    Attributes:
        state: of the cut automaton, after the whole characters.
        cut: 1 if there is a cut before the begun character, else 0; 0 where none is begun.
        path: of the BPE model, since the last cut.
    """

    state: int
    cut: int
    path: int


class Completing(NamedTuple):
    """Tokens that go on with a begun character.

    Attributes:
        ids: [n] int64, those that complete it, the longest first.
        letters: [n] int16, the number of the character each makes.
        longer: [m] int64, those that only add bytes to it.
        joining: ids among the first whose character may combine with what stands before it.
    """

    ids: np.ndarray
    letters: np.ndarray
    longer: np.ndarray
    joining: list[int]


class BpeWords:
    """Reads tokens under all guesses where the words end.

    Args:
        vocabulary: the vocabulary.
        model: its BPE model.
        shapes: its ordinary tokens taken apart.
        composition: its normalizer.

    Attributes:
        usable: [V] bool, ids that stand for text; what the guesses of the words do not decide may still take some off.
        automaton: the cut automaton.

    Raises:
        UnsupportedModelError: the pre-tokenizer is not learned.
    """

    start = Guess(START, 0, FREE)

    def __init__(self, vocabulary: Vocabulary, model: BpeModel, shapes: Shapes, composition: Composition) -> None:
        self._model, self._shapes, self._composition = model, shapes, composition
        self._fallback = bool(vocabulary.fallback)
        self._letters, self.automaton = _learned(json.dumps(without_prefix_space(vocabulary)))
        self._begun: dict[bytes, set[int]] = {}
        for character in {*characters_of_every_sort(LAST_BYTE), *self._letters.known}:
            self._note(character)
        shapes.number(self.letter)
        self.usable = (model.joined | (model.alone & shapes.whole)) & shapes.valid
        for index in np.flatnonzero(self.usable).tolist():
            text = shapes.texts[index]
            spelt = index in vocabulary.fallback and bool(text) and not model.lacks(text)
            if spelt or not composition.fixed(text):
                self.usable[index] = False
        self.walk = Kept(self._walk, max(64, KEPT_BYTES // (2 * model.size)))
        self.ends_after = Kept(self._ends_after, max(64, KEPT_BYTES // (2 * model.size)))
        self.completing = Kept(self._completing, KEPT_BEGUN)

    def _note(self, character: str) -> None:
        """Note what sort of character comes of the first bytes of one."""
        number, code = self._letters.of(character), character.encode()
        for size in range(1, len(code)):
            self._begun.setdefault(code[:size], set()).add(number)

    def _may_go_on(self, state: int, cut: int, begun: bytes) -> bool:
        """Whether some character that begins with these bytes may come."""
        steps = self.automaton.steps[state, cut]
        return any(steps[number] != DEAD for number in self._begun.get(begun, ()))

    def letter(self, character: str) -> int:
        """Number of a character's sort; the automaton learns a sort that is new.

        Args:
            character: one character.

        Returns:
            The number.
        """
        near = self._begun.get(character.encode()[:-1], ())
        if len(near) == 1 and character not in self._letters.named and unicodedata.category(character) not in SPARSE:
            return next(iter(near))  # all characters near it are of one sort
        number = self._letters.of(character)
        if number == self.automaton.steps.shape[2]:
            self.automaton.add(character)
        if number not in self._begun.get(character.encode()[:1], (number,)):
            self._note(character)
        return number

    def _walk(self, place: Place) -> np.ndarray:
        """[V] int16: the automaton's state after each token."""
        found = self._shapes.walk(self.automaton.steps, *place)
        found[~self.usable] = DEAD
        known: dict[tuple[int, int, bytes], bool] = {}
        for index in self._shapes.ending.tolist():
            key = (int(found[index]), 0 if self._shapes.texts[index] else place[1], self._shapes.tails[index])
            if key not in known:
                known[key] = self._may_go_on(*key)
            if not known[key]:
                found[index] = DEAD
        return found

    def _ends_after(self, place: Place) -> np.ndarray:
        """[V] bool: tokens after which a text may end, as far as the automaton knows."""
        return self.automaton.accepts[self.walk(place)] & self._shapes.whole

    def _completing(self, begun: bytes) -> Completing:
        done, longer = self._shapes.completing(begun)
        letters: dict[int, int] = {}
        joining = []
        for character, ids in done:
            if self._fallback and not self._model.lacks(character):
                continue
            joins = self._composition.joins(character)
            for index in ids:
                if self.usable[index] and self._composition.fixed(character + self._shapes.texts[index]):
                    letters[index] = self.letter(character)
                    joining += [index] if joins else []
        sorted_ids = self._shapes.sorted_by_length(list(letters))
        numbers = np.array([letters[index] for index in sorted_ids.tolist()], dtype=np.int16)
        return Completing(sorted_ids, numbers, np.array([i for i in longer if self.usable[i]], dtype=np.int64), joining)

    def ends(self, guess: Guess) -> bool:
        """Whether a text may end here, no character being begun."""
        return bool(self.automaton.accepts[guess.state]) and not self._model.is_no_word(guess.path)

    def options(
        self,
        guesses: Iterable[Guess],
        begun: bytes,
        last: int,
        proof: Callable[[Place], np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tell what the ids lead to.

        Args:
            guesses: the ways to mark the cuts so far.
            begun: first bytes of a character.
            last: the id before, or `NO_ID`.
            proof: gives [V] bool for a place, ids after which the sequence is viable; used where no character is begun.

        Returns:
            [V] bool, ids after which some guess is left (or, by the proof, viable); [V] bool, those after which a text
            may end.
        """
        found, done = np.zeros((2, self._model.size), dtype=bool)
        if begun:
            for guess in guesses:
                self._go_on(guess, begun, last, found, done)
            return found, done
        beside = self._model.beside(last) if last != NO_ID else None
        for guess in guesses:
            if not self._model.is_no_word(guess.path):
                left, ends = self._options_at((guess.state, 1), proof)
                found |= left
                done |= ends
            if beside is not None and guess.path != ALONE:
                left, ends = self._options_at((guess.state, 0), proof, self._model.no_words(guess.path))
                found |= left & beside
                done |= ends & beside
        return found, done

    def _options_at(
        self, place: Place, proof: Callable[[Place], np.ndarray] | None, no_words: list[int] | tuple[()] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        after = self.walk(place)
        left = after != DEAD if proof is None else proof(place)
        ends = self.ends_after(place)
        if no_words:
            left, ends = left.copy(), ends.copy()
            left[no_words], ends[no_words] = after[no_words] != DEAD, False
        return left, ends

    def _go_on(self, guess: Guess, begun: bytes, last: int, found: np.ndarray, done: np.ndarray) -> None:
        ids, letters, longer, _ = self.completing(begun)
        after = self.automaton.steps[guess.state, guess.cut][letters]
        after = self._shapes.read(self.automaton.steps, after, ids)
        fits = self._model.stand(last, ids) & (after != DEAD)
        ids, after = ids[fits], after[fits]
        found[ids] = True
        heads = self._shapes.heads
        longer = longer[self._model.stand(last, longer)]
        found[[i for i in longer.tolist() if self._may_go_on(guess.state, guess.cut, begun + heads[i])]] = True
        ends = self.automaton.accepts[after] & ~self._shapes.tailed[ids]
        if no_words := self._model.no_words(guess.path):
            ends &= ~np.isin(ids, no_words)
        done[ids] |= ends

    def read(self, guesses: Iterable[Guess], begun: bytes, last: int, index: int) -> tuple[set[Guess], bytes, str]:
        """Read an id.

        Args:
            guesses: the ways to mark the cuts before it.
            begun: first bytes of a character.
            last: the id before, or `NO_ID`.
            index: the id.

        Returns:
            The guesses left; the bytes of the character now begun; the characters completed.
        """
        model, shapes = self._model, self._shapes
        head, text, tail = shapes.heads[index], shapes.texts[index], shapes.tails[index]
        beside = last != NO_ID and bool(model.stand(last, index))
        found = set()
        if begun:
            text, tail = _characters(begun + head, text, tail)
            if beside:
                for guess in guesses:
                    state = self._follow(guess.state, guess.cut, text)
                    if state != DEAD and (not tail or self._may_go_on(state, 0 if text else guess.cut, tail)):
                        found.add(Guess(state, 0 if text else guess.cut, model.goes_on(guess.path, index)))
            return found, tail, text
        for guess in guesses:
            state = int(self.walk((guess.state, 1))[index])
            if state != DEAD and not model.is_no_word(guess.path):
                found.add(Guess(state, 0 if text else 1, model.opens(index)))
            state = int(self.walk((guess.state, 0))[index])
            if state != DEAD and beside and guess.path != ALONE:
                found.add(Guess(state, 0, model.goes_on(guess.path, index)))
        return found, tail, text

    def _follow(self, state: int, cut: int, text: str) -> int:
        for character in text:
            state, cut = int(self.automaton.steps[state, cut, self.letter(character)]), 0
        return state


@lru_cache(4)
def _learned(rules: str) -> tuple[Letters, CutAutomaton]:
    """What is learned of a pre-tokenizer; both only ever grow, so tokenizers with the same rules share them."""
    cutter = Cutter(json.loads(rules))
    letters = Letters(cutter)
    return letters, CutAutomaton(cutter, letters.samples)


def _characters(first: bytes, text: str, tail: bytes) -> tuple[str, bytes]:
    """Whole characters and the bytes of one begun, from the bytes of one that may be whole and what comes after it."""
    try:
        return first.decode() + text, tail
    except UnicodeDecodeError:
        return "", first
