"""Which tokens of a drawing on a grid may follow which."""

from typing import Any, NamedTuple

import numpy as np

from hf_tokext.models.svg.grammar_svg import VALUE, Place, SVGGrammar
from hf_tokext.models.svg.path_data import ARGUMENTS


class Geometry(NamedTuple):
    """Where the value of an attribute of geometry stands.

    Attributes:
        again: what the group of numbers is that may follow once more; see `ARGUMENTS`.
        missing: what the group that has begun still needs; "!" is a number whose far part was read.
        begun: whether the value has begun.
        path: whether it is path data.
    """

    again: str
    missing: str = ""
    begun: bool = False
    path: bool = False


class QuantisedGrammar(SVGGrammar):
    """The grammar of drawings whose path data are whole: every command has the numbers that it needs.

    Args:
        size: number of tokens.
        far: tokens of multiples of the grid.
        steps: tokens of coordinates.
        turns: tokens of the turns of arcs.
        arcs: tokens of the flags of arcs.
        letters_of: path commands by their tokens.
        geometry: by the token of an attribute, the state at the beginning of its value.
        **kinds: tokens of the other kinds, as for `SVGGrammar`.
    """

    def __init__(
        self, size: int, *, far: range, steps: range, turns: range, arcs: range, letters_of: dict[int, str],
        geometry: dict[int, Geometry], **kinds: Any,
    ) -> None:  # fmt: skip
        super().__init__(size, **kinds)
        self._far, self._steps, self._turns, self._arcs = far, steps, turns, arcs
        self._letters_of, self._geometry = letters_of, geometry
        for alike in (far, steps, turns, arcs):
            self._are_alike(alike)

    def distance(self, state: Place) -> int:
        """Fewest tokens to the closing one.

        Args:
            state: what was read.

        Returns:
            Their number.
        """
        return super().distance(state) + (len(state.geometry.missing) if state.geometry else 0)

    def _mask(self, state: Place) -> np.ndarray:
        at: Geometry | None = state.geometry
        if state.mode != VALUE or at is None:
            return super()._mask(state._replace(path=False))
        if at.missing:
            found = np.zeros(self.size, dtype=bool)
            kind = at.missing[0]
            found[{"t": self._turns, "f": self._arcs}.get(kind, self._steps)] = True
            found[self._far] = kind == "n"
            found.setflags(write=False)
            return found
        found = super()._mask(state._replace(path=False)).copy()
        found[self._strings] = not at.begun and not at.path
        found[self._commands] = at.path and at.begun
        if at.path and not at.begun:
            found[[index for index, letter in self._letters_of.items() if letter in "Mm"]] = True
        found[self._steps] = found[self._far] = bool(at.again)
        found.setflags(write=False)
        return found

    def _advance(self, state: Place, index: int) -> Place:
        at: Geometry | None = state.geometry
        if state.mode == VALUE and at is not None:
            if index in self._strings:
                return state._replace(geometry=None)
            if index in self._commands:
                letter = self._letters_of[index].upper()
                group = ARGUMENTS[letter]
                again = ARGUMENTS["L"] if letter == "M" else group
                return state._replace(geometry=Geometry(again, group, True, True))
            if index in self._far or index in self._steps or index in self._turns or index in self._arcs:
                missing = at.missing or at.again
                again = at.again if at.path or len(at.again) > 1 else ""  # one number is all that "x" has
                rest = "!" + missing[1:] if index in self._far else missing[1:]
                return state._replace(geometry=Geometry(again, rest, True, at.path))
        after = super()._advance(state._replace(geometry=None), index)
        return (
            after._replace(geometry=self._geometry[index]) if index in self._geometry and after.mode == VALUE else after
        )
