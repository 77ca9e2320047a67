"""Which SMILES tokens may follow which, so that brackets, branches and rings close."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hf_tokext.models.molecule import bracket
from hf_tokext.vocabulary.grammar import Grammar

ATOMS = ["B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s", "*"]
BONDS = ["-", "=", "#", "$", ":", "/", "\\"]
RINGS = [f"ring{number}" for number in range(100)]
MASKS = 1024  # of which it is kept what may follow


class State(NamedTuple):
    """What was read.

    Attributes:
        phase: "before", "part" (an atom must follow), "atom" (all that belongs to one may follow), "bond" (an atom or
            a ring must follow), "branch" (just opened), "tie" (a bond at the beginning of a branch, where an atom must
            follow), "bracket", "ended".
        atom: number of the atom that is bound next; -1 for none.
        atoms: their number so far.
        branches: atoms to go back to, and what they are bound to.
        rings: open rings: number, atom, bond.
        bound: atoms that the atom which is bound next is bound to already.
        bond: the bond that was read last, or "".
        place: where one is in a bracket.
    """

    phase: str
    atom: int = -1
    atoms: int = 0
    branches: tuple[tuple[int, tuple[int, ...]], ...] = ()
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
        # tokens of a kind bring the end equally near; rings that are open are kinds of their own
        self._kinds = dict.fromkeys(ATOMS, "atom") | dict.fromkeys(BONDS, "bond") | dict.fromkeys(RINGS, "ring")
        self._mask = lru_cache(MASKS)(self._masked)

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
            [size] bool, read-only.
        """
        phase, place = state.phase, state.place if state.phase == "bracket" else bracket.Place()
        rings = state.rings if phase in ("atom", "bond") else ()
        shut = tuple(ring[0] for ring in rings if not self._fits(state, ring))
        return self._mask(phase, bool(state.branches), bool(state.rings), shut, place)

    def _masked(
        self, phase: str, branches: bool, rings: bool, shut: tuple[str, ...], place: bracket.Place
    ) -> np.ndarray:
        """What `allowed` gives wherever there are branches or not, rings or not, and these of them may not close."""
        found = np.zeros(self.size, dtype=bool)
        found[[self._index[token] for token in self._names(phase, branches, rings, shut, place)]] = True
        found.flags.writeable = False
        return found

    def _names(self, phase: str, branches: bool, rings: bool, shut: tuple[str, ...], place: bracket.Place) -> list[str]:
        if phase == "ended":
            return []
        if phase == "before":
            return [self._tokens[0]]
        if phase == "bracket":
            inside = [*bracket.ELEMENTS, *bracket.AROMATIC, *bracket.DIGITS, *bracket.CHIRAL, "*", "+", "-", ":"]
            found = [token for token in inside if bracket.step(place, token)]
            return [*found, "]"] if bracket.may_end(place) else found
        found = [*ATOMS, "["]
        if phase in ("atom", "bond"):
            found += [ring for ring in RINGS if ring not in shut]
        if phase in ("atom", "branch"):
            found += BONDS
        if phase == "atom":
            found += ["("]
            if branches:
                found += [")"]
            else:
                found += ["."] + ([] if rings else [self._tokens[1]])
        return found

    @staticmethod
    def _fits(state: State, ring: tuple[str, int, str]) -> bool:
        """Whether a ring that is open may close here."""
        _, atom, bond = ring
        directed = bond in ("/", "\\") and state.bond in ("/", "\\")
        agrees = not bond or not state.bond or bond == state.bond or directed
        return agrees and atom != state.atom and atom not in state.bound

    def _count_needs(self, state: State) -> np.ndarray:
        needs, known = np.zeros(self.size, dtype=np.int64), dict[str, int]()
        opened = {number for number, _, _ in state.rings}
        for index in np.flatnonzero(self.allowed(state)).tolist():
            token = self._tokens[index]
            kind = token if state.phase == "bracket" or token in opened else self._kinds.get(token, token)
            if kind not in known:
                known[kind] = 1 + self.distance(self._advance(state, index))
            needs[index] = known[kind]
        return needs

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
        if state.phase in ("bond", "branch", "tie"):
            return 2 + self._to_close(self._bound_atom(state))
        return 1 + self._to_close(state)

    @staticmethod
    def _to_close(state: State) -> int:
        """Tokens that close all rings and branches after an atom, as `within` may choose them."""
        rings = tuple(atom for _, atom, _ in state.rings)
        return len(state.branches) + _to_close(rings, state.atom, state.bound, state.atoms, state.phase == "atom")

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
            return state._replace(phase="tie" if state.phase == "branch" else "bond", bond=token)
        if token == "(":
            here = state.atom, (*state.bound, state.atoms)  # the branch begins with the next atom
            return state._replace(phase="branch", branches=(*state.branches, here))
        if token == ")":
            atom, bound = state.branches[-1]
            return state._replace(atom=atom, branches=state.branches[:-1], bound=bound)
        if token == ".":
            return state._replace(phase="part", atom=-1, bound=())
        opened = {number: atom for number, atom, _ in state.rings}
        if token in opened:
            other, rings = opened[token], tuple(ring for ring in state.rings if ring[0] != token)
            branches = tuple((atom, (*bound, state.atom) if atom == other else bound) for atom, bound in state.branches)
            return state._replace(phase="atom", rings=rings, branches=branches, bound=(*state.bound, other), bond="")
        return state._replace(phase="atom", rings=(*state.rings, (token, state.atom, state.bond)), bond="")


@lru_cache(maxsize=1 << 14)
def _to_close(rings: tuple[int, ...], atom: int, bound: tuple[int, ...], count: int, may_close: bool) -> int:
    """Tokens that close rings to these atoms; without `may_close` another atom comes first."""
    cost, near = 0, set(bound)
    while rings:
        if not may_close:
            cost, near, atom, count = cost + 1, {atom}, count, count + 1
        may_close, left = False, []
        for ring in rings:
            if ring == atom or ring in near:
                left.append(ring)
            else:
                near.add(ring)
                cost += 1
        rings = tuple(left)
    return cost
