"""Which tokens of a drawing may follow which."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from hf_tokext.models.svg.reading import DEEPEST
from hf_tokext.vocabulary.grammar import Grammar

# Where a document stands: before it, behind its opening token, in the name of an element or attribute, among the
# attributes of an element, in the value of one, in text, between elements, behind the root, behind its closing token.
START, ROOT, NAME, ATTRIBUTES, VALUE, TEXT, CONTENT, AFTER, END = range(9)


class Place(NamedTuple):
    """What matters of the tokens so far.

    Attributes:
        mode: where the document stands.
        depth: elements that are open.
        path: in the value of the attribute of path data.
        used: known attributes that the element has, by their tokens.
        named: whether the name has begun, or is that of an attribute: 0, or 1 and 2 of an element and 3 and 4 of an
            attribute, the latter with a letter each.
        geometry: where the value of an attribute of geometry stands, where drawings lie on a grid.
    """

    mode: int
    depth: int = 0
    path: bool = False
    used: frozenset[int] = frozenset()
    named: int = 0
    geometry: Any = None


class SVGGrammar(Grammar[Place]):
    """A pushdown automaton over elements: an anonymous token closes the innermost one.

    Args:
        size: number of tokens.
        element: token of an element whose name is spelt.
        attribute: token of an attribute whose name is spelt.
        named: token behind such a name.
        text: token before text.
        end: token that closes an element.
        elements: tokens of known elements.
        attributes: tokens of known attributes.
        path_data: that of the attribute of path data.
        commands: tokens of path commands.
        strings: tokens of pieces of strings.
        letters: those of them that may stand in a name that is spelt.
        first_letters: those that may begin one.
    """

    def __init__(
        self, size: int, *, element: int, attribute: int, named: int, text: int, end: int, elements: range,
        attributes: range, path_data: int, commands: range, strings: range, letters: list[int],
        first_letters: list[int],
    ) -> None:  # fmt: skip
        super().__init__(size)
        self._element, self._attribute, self._named, self._text, self._end = element, attribute, named, text, end
        self._elements, self._attributes, self._path_data = elements, attributes, path_data
        self._commands, self._strings, self._letters, self._first_letters = commands, strings, letters, first_letters
        self._masks = lru_cache(4096)(self._mask)  # of some thousand tokens each
        self._followed = lru_cache(1 << 16)(self._after)
        self._kinds = list(range(size))  # a token that may stand wherever each one may, with the same after it
        self._are_alike(elements)
        self._are_alike(sorted(set(strings) - set(letters)))
        self._are_alike(sorted(set(letters) - set(first_letters)))
        self._are_alike(first_letters)

    def start(self) -> Place:
        """State before the opening token."""
        return Place(START)

    def complete(self, state: Place) -> bool:
        """Whether the closing token was read.

        Args:
            state: what was read.

        Returns:
            Whether it was.
        """
        return state.mode == END

    def distance(self, state: Place) -> int:
        """Fewest tokens to the closing one.

        Args:
            state: what was read.

        Returns:
            Their number.
        """
        if state.mode in (START, ROOT):
            return 4 - state.mode
        if state.mode == END:
            return 0
        spelling = (1 if state.named in (2, 4) else 2) if state.mode == NAME else 0
        return spelling + state.depth + 1

    def allowed(self, state: Place) -> np.ndarray:
        """Tokens that may follow.

        Args:
            state: what was read.

        Returns:
            [size] bool.
        """
        return self._masks(state._replace(depth=min(state.depth, 1) if state.depth < DEEPEST else DEEPEST))

    def follow(self, state: Place, index: int) -> Place | None:
        """Read one token, fast.

        Args:
            state: what was read before.
            index: the token, from 0 to `size` - 1.

        Returns:
            The state after it, None where it may not stand here.
        """
        return self._followed(state, self._kinds[index])

    def _after(self, state: Place, index: int) -> Place | None:
        return self._advance(state, index) if self.allowed(state)[index] else None

    def _count_needs(self, state: Place) -> np.ndarray:
        needs = np.zeros(self.size, dtype=np.int64)
        found = np.flatnonzero(self.allowed(state))
        kinds, where = np.unique(np.array(self._kinds)[found], return_inverse=True)
        needs[found] = np.array([1 + self.distance(self._advance(state, kind)) for kind in kinds.tolist()])[where]
        return needs

    def _are_alike(self, tokens: Sequence[int]) -> None:
        for index in tokens:
            self._kinds[index] = tokens[0]

    def _mask(self, state: Place) -> np.ndarray:
        found = np.zeros(self.size, dtype=bool)
        mode, inside = state.mode, state.mode in (ATTRIBUTES, VALUE, TEXT, CONTENT)
        if mode == START:
            found[0] = True
        if mode == AFTER:
            found[1] = True
        if mode == ROOT or (inside and state.depth < DEEPEST):
            found[self._elements] = found[self._element] = True
        if inside:
            found[self._end] = True
            found[self._text] = mode != TEXT
        if mode in (ATTRIBUTES, VALUE):
            found[self._attributes] = found[self._attribute] = True
            found[list(state.used)] = False
        if mode in (VALUE, TEXT):
            found[self._strings] = True
            found[self._commands] = state.path
        if mode == NAME:
            begun = state.named in (2, 4)
            found[self._letters if begun else self._first_letters] = True
            found[self._named] = begun
        found.setflags(write=False)
        return found

    def _advance(self, state: Place, index: int) -> Place:
        if index == 0:
            return Place(ROOT)
        if index == 1:
            return Place(END)
        if state.mode == NAME:
            if index != self._named:
                return state._replace(named=2 if state.named < 3 else 4)
            return state._replace(mode=ATTRIBUTES if state.named < 3 else VALUE, named=0)
        if index in self._elements:
            return Place(ATTRIBUTES, state.depth + 1)
        if index == self._element:
            return Place(NAME, state.depth + 1, named=1)
        if index in self._attributes:
            return Place(VALUE, state.depth, index == self._path_data, state.used | {index})
        if index == self._attribute:
            return Place(NAME, state.depth, used=state.used, named=3)
        if index == self._text:
            return Place(TEXT, state.depth)
        if index == self._end:
            return Place(CONTENT if state.depth > 1 else AFTER, state.depth - 1)
        return state
