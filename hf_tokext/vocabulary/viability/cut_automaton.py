"""A finite automaton that reads texts with the pre-tokenizer's cuts marked in them, learned by asking the real one."""

import random
from collections.abc import Iterator
from itertools import product

import numpy as np

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.viability.cuts import Cutter

DEAD, START = 0, 1
MOST_STATES = 2000
SAMPLES, SAMPLE_LENGTH, RUN_LENGTH = 2000, 14, 12
Cuts = tuple[int, ...]
Marked = tuple[str, Cuts]


class CutAutomaton:
    r"""Accepts a text with marks exactly if the marks are where the pre-tokenizer cuts that text.

    Whether there is a cut may depend on what comes later (`\s+(?!\S)` of GPT-2). So a reader guesses: it reads every
    character with or without a cut before it, and a state from which no text makes the guesses right is dead. Of all
    guesses about a whole text, the automaton accepts one.

    It is learned as Angluin's L* does ("Learning regular sets from queries and counterexamples", 1987): marked
    beginnings are one state if all known endings complete them in the same way, and texts on which the automaton is
    wrong give more endings (Maler and Pnueli, 1995). It is tried on all texts of a state's shortest beginning and two
    letters more, on random ones, and on runs of like letters.

    Args:
        cutter: the pre-tokenizer.
        letters: characters, one of each sort that the cutter tells apart.

    Attributes:
        steps: [states, 2, letters] int16, the state after a letter without (0) and with (1) a cut before it; 0 is dead,
            1 is where a text begins.
        accepts: [states] bool, whether a text may end in the state.

    Raises:
        UnsupportedModelError: the cuts are not learned with a bounded number of states.
    """

    def __init__(self, cutter: Cutter, letters: list[str]) -> None:
        self._cutter = cutter
        self._letters = list(letters)
        self._endings = ["", *self._letters]
        self._known: dict[str, list[Cuts]] = {}
        self.steps = np.zeros((0, 2, len(letters)), dtype=np.int16)
        self._learn()
        while (wrong := self._first_wrong()) is not None:
            endings = [wrong[place:] for place in range(1, len(wrong))]
            fresh = [ending for ending in endings if ending not in self._endings]
            if not fresh:
                raise UnsupportedModelError(_REFUSAL.format(reason=f"the cuts of {wrong!r} follow no pattern"))
            self._endings += fresh
            self._learn()

    def add(self, letter: str) -> None:
        """Learn one letter more; states keep their numbers.

        Args:
            letter: a character of a new sort.
        """
        self._letters.append(letter)
        self.steps = np.concatenate((self.steps, np.full((len(self.steps), 2, 1), -1, dtype=np.int16)), axis=2)
        self._close()

    def _learn(self) -> None:
        self._shortest: list[Marked] = [("", ()), ("", ())]
        self._numbers: dict[tuple, int] = {}  # without the start, where a text begins with or without a cut alike
        self.steps = np.full((2, 2, len(self._letters)), -1, dtype=np.int16)
        self.steps[DEAD] = DEAD
        self._close()

    def _close(self) -> None:
        """Find the steps that are not known yet, and theirs in turn."""
        state = START
        rows = list(self.steps)
        while state < len(rows):
            text, cuts = self._shortest[state]
            for cut, number in np.argwhere(rows[state] < 0).tolist():
                marked = (text + self._letters[number], (*cuts, len(text)) if cut and text else cuts)
                outcomes = self._outcomes(*marked)
                found = DEAD
                if any(outcome is not None for outcome in outcomes):
                    found = self._numbers.setdefault(outcomes, len(rows))
                if found == len(rows):
                    self._shortest.append(marked)
                    rows.append(np.full((2, len(self._letters)), -1, dtype=np.int16))
                    if found > MOST_STATES:
                        raise UnsupportedModelError(_REFUSAL.format(reason=f"{MOST_STATES} states are not enough"))
                rows[state][cut, number] = found
            state += 1
        self.steps = np.stack(rows)
        self.accepts = np.array([False, *(self._outcomes(*marked)[0] is not None for marked in self._shortest[1:])])

    def _outcomes(self, text: str, cuts: Cuts) -> tuple[Cuts | None, ...]:
        """For every ending the cuts from the end of the text on, None where those inside it are others."""
        known = self._known.setdefault(text, [])
        known += [self._cutter.cuts(text + ending) for ending in self._endings[len(known) :]]
        size, inside = len(text), len(cuts)
        return tuple(
            tuple(place - size for place in found[inside:])
            if found[:inside] == cuts and (len(found) == inside or found[inside] >= size)
            else None
            for found in known
        )

    def _first_wrong(self) -> str | None:
        return next((text for text in self._trials() if self.marks(text) != [self._cutter.cuts(text)]), None)

    def _trials(self) -> Iterator[str]:
        for text, _ in self._shortest[1:]:
            for pair in product(self._letters, repeat=2):
                yield text + "".join(pair)
        chance = random.Random(0)
        for _ in range(SAMPLES if len(self._letters) > 1 else 1):
            few = chance.sample(self._letters, min(len(self._letters), chance.randint(1, 4)))
            yield "".join(chance.choices(few, k=chance.randint(3, SAMPLE_LENGTH)))
            yield "".join(
                letter * chance.randint(1, RUN_LENGTH) for letter in chance.choices(few, k=chance.randint(1, 4))
            )

    def marks(self, text: str) -> list[Cuts]:
        """All ways to mark a text that the automaton accepts.

        Args:
            text: a text of this automaton's letters.

        Returns:
            The places of the cuts in each; one way if all was learned.
        """
        numbers = {letter: number for number, letter in enumerate(self._letters)}
        steps: list = self.steps.tolist()
        found: list[tuple[int, Cuts]] = [(START, ())]
        for place, letter in enumerate(text):
            number = numbers[letter]
            found = [
                (after, (*cuts, place) if cut else cuts)
                for state, cuts in found
                for cut in ((0, 1) if place else (0,))
                if (after := steps[state][cut][number]) != DEAD
            ]
        return [cuts for state, cuts in found if self.accepts[state]]


_REFUSAL = (
    "viable sequences are not known for this pre-tokenizer, whose cuts were not learned: {reason}; "
    'use measure="all_strings", which needs no viability'
)
