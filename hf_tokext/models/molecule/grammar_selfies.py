"""Which SELFIES symbols may follow which: any, once there is an atom."""

from typing import Any

import numpy as np

from hf_tokext.models.molecule import bracket
from hf_tokext.models.molecule.symbols import OPENERS, is_atom
from hf_tokext.vocabulary.grammar import Grammar

BEFORE, FIRST, INSIDE, ENDED = "before", "first", "inside", "ended"


class SelfiesGrammar(Grammar[Any]):
    """States: before the document, before the first atom of a part, after it, ended; or a place in a rare atom.

    Args:
        tokens: names of the tokens; the first two open and close a document.
    """

    def __init__(self, tokens: tuple[str, ...]) -> None:
        super().__init__(len(tokens))
        self._tokens = tokens
        self._masks: dict[Any, np.ndarray] = {}

    def start(self) -> Any:
        """State before the first token of a document.

        Returns:
            The state.
        """
        return BEFORE

    def allowed(self, state: Any) -> np.ndarray:
        """Tokens that may follow.

        Args:
            state: what was read.

        Returns:
            [size] bool, read-only.
        """
        if state not in self._masks:
            mask = np.array([self._may(state, index) for index in range(self.size)])
            mask.setflags(write=False)
            self._masks[state] = mask
        return self._masks[state]

    def complete(self, state: Any) -> bool:
        """Whether the tokens so far are a whole document.

        Args:
            state: what was read.

        Returns:
            Whether they are.
        """
        return state == ENDED

    def distance(self, state: Any) -> int:
        """Fewest tokens after which the document is complete.

        Args:
            state: what was read.

        Returns:
            Their number.
        """
        if isinstance(state, bracket.Place):
            return bracket.needs(state) + 2
        return {BEFORE: 3, FIRST: 2, INSIDE: 1, ENDED: 0}[state]

    def _may(self, state: Any, index: int) -> bool:
        token = self._tokens[index]
        if isinstance(state, bracket.Place):
            if token == "]":
                return bracket.may_end(state)
            after = bracket.step(state, token)
            return after is not None and after.part not in ("colon", "map") and token not in (*bracket.AROMATIC, "*")
        if state in (BEFORE, ENDED):
            return state == BEFORE and index == 0
        if token in OPENERS or is_atom(token):
            return True
        return state == INSIDE and (index == 1 or token[0] == "[" or token == ".")

    def _advance(self, state: Any, index: int) -> Any:
        token = self._tokens[index]
        if token == "]":
            return INSIDE
        if isinstance(state, bracket.Place):
            return bracket.step(state, token)
        if index < 2:
            return FIRST if index == 0 else ENDED
        if token in OPENERS:
            return bracket.Place()
        return FIRST if token == "." else INSIDE
