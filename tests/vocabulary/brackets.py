"""A small domain for tests: brackets of two kinds that must close, and letters."""

import numpy as np

from hf_tokext.errors import TextError
from hf_tokext.models.blocks.domain_tokenizer import DomainTokenizer
from hf_tokext.vocabulary.domain import Domain
from hf_tokext.vocabulary.grammar import Grammar

OPENERS = {"(": ")", "[": "]"}


class BracketGrammar(Grammar):
    """States: what is still to be closed, or None before the document; "ended" after it."""

    def __init__(self, characters):
        super().__init__(2 + len(characters))
        self.characters = characters

    def start(self):
        return None

    def allowed(self, state):
        found = np.zeros(self.size, dtype=bool)
        if state is None:
            found[0] = True
        elif state != "ended":
            found[1] = not state
            for place, character in enumerate(self.characters, 2):
                found[place] = character not in ")]" or state[-1:] == (character,)
        return found

    def complete(self, state):
        return state == "ended"

    def distance(self, state):
        return 2 if state is None else 0 if state == "ended" else len(state) + 1

    def _advance(self, state, index):
        if index < 2:
            return () if index == 0 else "ended"
        character = self.characters[index - 2]
        if character in OPENERS:
            return (*state, OPENERS[character])
        return state[:-1] if character in ")]" else state


class Brackets(Domain):
    name = "brackets"

    def __init__(self, letters="ab"):
        self.letters = letters
        characters = ["(", ")", "[", "]", *letters]
        super().__init__(
            ["open", "close", "round", "/round", "square", "/square", *letters], {"round": "round bracket"}
        )
        self.characters = characters
        self.grammar = BracketGrammar(characters)

    @property
    def settings(self):
        return {"letters": self.letters}

    def parse(self, text):
        unknown = next((character for character in text if character not in self.characters), None)
        if unknown:
            raise TextError(f"{unknown!r} is neither a bracket nor a letter of this domain")
        indices = [0, *(2 + self.characters.index(character) for character in text), 1]
        self.grammar.read(indices)
        return indices

    def write(self, indices):
        state, text = self.grammar.advance(self.grammar.start(), 0), ""
        for index in indices:
            if index > 1 and self.grammar.allowed(state)[index]:
                state = self.grammar.advance(state, index)
                text += self.characters[index - 2]
        return text + "".join(reversed(state))


class BracketTokenizer(DomainTokenizer):
    domain_class = Brackets
