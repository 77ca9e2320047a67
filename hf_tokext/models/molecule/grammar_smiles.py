"""Which SMILES tokens may follow which, so that brackets, branches and rings close."""

from typing import NamedTuple

import numpy as np

from hf_tokext.models.molecule import bracket
from hf_tokext.vocabulary.grammar import Grammar

ATOMS = ["B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s", "*"]
BONDS = ["-", "=", "#", "$", ":", "/", "\\"]
RINGS = [f"ring{number}" for number in range(100)]


class State(NamedTuple):
    """What was read.

    Attributes:
        phase: "before", "part" (an atom must follow), "atom", "bond", "branch" (just opened), "closed" (just closed a
            branch), "bracket", "ended".
        atom: number of the atom that is bound next; -1 for none.
        atoms: their number so far.
        branches: atoms to go back to.
        rings: open rings: number, atom, bond.
        bound: atoms that the last atom is bound to.
        bond: the bond that was read last, or "".
        place: where one is in a bracket.
    """

    phase: str
    atom: int = -1
    atoms: int = 0
    branches: tuple[int, ...] = ()
    rings: tuple[tuple[str, int, str], ...] = ()
    bound: tuple[int, ...] = ()
    bond: str = ""
    place: bracket.Place = bracket.Place()


class SmilesGrammar(Grammar[State]):
    """Brackets, branches and rings are closed; no ring joins an atom to itself or to one it is bound to.

    Args:
        tokens: names of the tokens; the first two open and close a document.
    """

    longest_step = 12

    def __init__(self, tokens: tuple[str, ...]) -> None:
        super().__init__(len(tokens))
        self._tokens = tokens
        self._index = {token: index for index, token in enumerate(tokens)}

    def start(self) -> State:
        """State before the first token of a document.

        Returns:
            The state.
        """
        return State("before")

    def complete(self, state: State) -> bool:
        """Whether the tokens so far are a whole document.

        Args:
            state: what was read.

        Returns:
            Whether they are.
        """
        return state.phase == "ended"

    def allowed(self, state: State) -> np.ndarray:
        """Tokens that may follow.

        Args:
            state: what was read.

        Returns:
            [size] bool.
        """
        found = np.zeros(self.size, dtype=bool)
        found[[self._index[token] for token in self._names(state)]] = True
        return found

    def _names(self, state: State) -> list[str]:
        phase = state.phase
        if phase == "ended":
            return []
        if phase == "before":
            return [self._tokens[0]]
        if phase == "bracket":
            inside = [*bracket.ELEMENTS, *bracket.AROMATIC, *bracket.DIGITS, *bracket.CHIRAL, "*", "+", "-", ":"]
            found = [token for token in inside if bracket.step(state.place, token)]
            return [*found, "]"] if bracket.may_end(state.place) else found
        found = [*ATOMS, "["]
        if phase in ("atom", "bond"):
            found += [ring for ring in RINGS if self._ring_fits(state, ring)]
        if phase in ("atom", "closed", "branch"):
            found += BONDS
        if phase in ("atom", "closed"):
            found += ["("]
            if state.branches:
                found += [")"]
            else:
                found += ["."] + ([self._tokens[1]] if not state.rings else [])
        return found

    @staticmethod
    def _ring_fits(state: State, ring: str) -> bool:
        for number, atom, bond in state.rings:
            if number == ring:
                directed = bond in ("/", "\\") and state.bond in ("/", "\\")
                agrees = not bond or not state.bond or bond == state.bond or directed
                return agrees and atom != state.atom and atom not in state.bound
        return True

    def distance(self, state: State) -> int:
        """Tokens after which the document can be complete.

        Args:
            state: what was read.

        Returns:
            Their number; at most one atom more than the fewest, for each ring that the last atom opened.
        """
        if state.phase == "ended":
            return 0
        if state.phase == "before":
            return 3
        if state.phase == "part":
            return 2 + self._to_close(State("atom", state.atoms, state.atoms + 1, state.branches, state.rings))
        if state.phase == "bracket":
            return bracket.needs(state.place) + 1 + self._to_close(self._bound_atom(state)) + 1
        if state.phase in ("bond", "branch"):
            return 2 + self._to_close(self._bound_atom(state))
        return 1 + self._to_close(state)

    def _to_close(self, state: State) -> int:
        """Tokens that close all rings and branches after an atom, as `within` may choose them."""
        rings, cost, atom, bound, count = (
            list(state.rings),
            len(state.branches),
            state.atom,
            set(state.bound),
            state.atoms,
        )
        first = state.phase == "atom"
        while rings:
            if not first:
                cost, bound, atom, count = cost + 1, {atom}, count, count + 1
            first = False
            for ring in list(rings):
                if ring[1] != atom and ring[1] not in bound:
                    rings.remove(ring)
                    bound.add(ring[1])
                    cost += 1
        return cost

    @staticmethod
    def _bound_atom(state: State) -> State:
        """State after one more atom."""
        bound = (state.atom,) if state.atom >= 0 else ()
        return state._replace(
            phase="atom", atom=state.atoms, atoms=state.atoms + 1, bound=bound, bond="", place=bracket.Place()
        )

    def _advance(self, state: State, index: int) -> State:
        token = self._tokens[index]
        if index < 2:
            return State("part" if index == 0 else "ended")
        if state.phase == "bracket":
            if token == "]":
                return self._bound_atom(state)
            place = bracket.step(state.place, token)
            assert place is not None
            return state._replace(place=place)
        if token == "[":
            return state._replace(phase="bracket")
        if token in ATOMS:
            return self._bound_atom(state)
        if token in BONDS:
            return state._replace(phase="bond", bond=token)
        if token == "(":
            return state._replace(phase="branch", branches=(*state.branches, state.atom), bound=())
        if token == ")":
            return state._replace(phase="closed", atom=state.branches[-1], branches=state.branches[:-1], bound=())
        if token == ".":
            return state._replace(phase="part", atom=-1, bound=())
        opened = {number: atom for number, atom, _ in state.rings}
        if token in opened:
            rings = tuple(ring for ring in state.rings if ring[0] != token)
            return state._replace(phase="atom", rings=rings, bound=(*state.bound, opened[token]), bond="")
        return state._replace(phase="atom", rings=(*state.rings, (token, state.atom, state.bond)), bond="")
