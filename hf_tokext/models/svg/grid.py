"""Coordinates of a drawing as tokens of a grid, and back."""

from collections.abc import Iterable
from decimal import Decimal

from hf_tokext.errors import TextError
from hf_tokext.models.svg.grammar_quantised import Geometry
from hf_tokext.models.svg.path_data import read_numbers, snap, snap_path

NUMBERS = ("x", "y", "width", "height", "cx", "cy", "r", "rx", "ry", "x1", "y1", "x2", "y2")
SHAPES = {"rect", "circle", "ellipse", "line", "path", "polyline", "polygon", "text", "tspan", "use", "image"}
GEOMETRY = {"d": Geometry("", path=True), "points": Geometry("nn"), **dict.fromkeys(NUMBERS, Geometry("n"))}
FARTHEST = 128  # grids from the origin
ARCS = ("small arc counterclockwise", "small arc clockwise", "large arc counterclockwise", "large arc clockwise")


class GridTokens:
    """Tokens of coordinates, of the turns of arcs and of their flags.

    Args:
        grid: steps over the longer side of a drawing.
        start: index of the first token.
        commands: tokens of path commands.

    Attributes:
        descriptions: by the name of each token, in order.
        far: tokens of multiples of the grid.
        steps: tokens of coordinates in steps.
        turns: tokens of degrees.
        arcs: tokens of the two flags.
    """

    def __init__(self, grid: int, start: int, commands: dict[str, int]) -> None:
        self._grid, self._commands = grid, commands
        self._letters = {index: letter for letter, index in commands.items()}
        multiples = [number for number in range(-FARTHEST, FARTHEST + 1) if number]
        self.descriptions = {f"far:{number}": f"far {number}" for number in multiples}
        self.descriptions |= {f"n:{number}": str(number) for number in range(-grid, grid + 1)}
        self.descriptions |= {f"turn:{degrees}": f"turn {degrees} degrees" for degrees in range(360)}
        self.descriptions |= {f"arc:{flags:02b}": words for flags, words in enumerate(ARCS)}
        self.far = range(start, start + len(multiples))
        self.steps = range(self.far.stop, self.far.stop + 2 * grid + 1)
        self.turns = range(self.steps.stop, self.steps.stop + 360)
        self.arcs = range(self.turns.stop, self.turns.stop + 4)
        self._multiples = dict(zip(multiples, self.far, strict=True))
        self._multiple_of = {index: number for number, index in self._multiples.items()}

    def read(self, element: str, key: str, value: str, step: float) -> list[int] | None:
        """Give the tokens of an attribute's value.

        Args:
            element: name of the element.
            key: name of the attribute.
            value: of it.
            step: between two lines of the grid there.

        Returns:
            Tokens, None where the value is not one of coordinates without other units than px.

        Raises:
            TextError: a coordinate is too far away.
        """
        if key == "d":
            return self._path(value, step)
        if key == "points":
            numbers = read_numbers(value)
            return None if numbers is None else self._all(numbers[: len(numbers) // 2 * 2], step)
        if key not in GEOMETRY or element not in SHAPES:
            return None
        numbers = read_numbers(value.strip().removesuffix("px"))
        return self._all(numbers, step) if numbers is not None and len(numbers) == 1 else None

    def write(self, indices: Iterable[int], step: float) -> str:
        """Give the text of a value.

        Args:
            indices: tokens of commands and coordinates, as the grammar lets them stand.
            step: between two lines of the grid there.

        Returns:
            Numbers and commands, with blanks between them.
        """
        unit, far, found = Decimal(repr(step)), 0, []
        for index in indices:
            if index in self._letters:
                found.append(self._letters[index])
            elif index in self.far:
                far = self._multiple_of[index] * self._grid
            elif index in self.steps:
                number = format(unit * (far + index - self.steps.start - self._grid), "f")
                found.append((number.rstrip("0").rstrip(".") if "." in number else number) if float(number) else "0")
                far = 0
            elif index in self.turns:
                found.append(str(index - self.turns.start))
            elif index in self.arcs:
                flags = index - self.arcs.start
                found.append(f"{flags >> 1} {flags & 1}")
        return " ".join(found)

    def _all(self, numbers: Iterable[float], step: float) -> list[int]:
        return [index for number in numbers for index in self._coordinate(snap(number, step))]

    def _coordinate(self, number: int) -> list[int]:
        """Tokens of a number of steps: one within the grid, two beyond."""
        zero = self.steps.start + self._grid
        if abs(number) <= self._grid:
            return [zero + number]
        multiple = round(number / self._grid)
        if multiple not in self._multiples:
            raise TextError(
                f"a coordinate is {abs(multiple):,} times the size of the drawing away, more than {FARTHEST}"
            )
        return [self._multiples[multiple], zero + number - multiple * self._grid]

    def _path(self, value: str, step: float) -> list[int]:
        found: list[int] = []
        for item in snap_path(value, step):
            if isinstance(item, str):
                found.append(self._commands[item])
            elif isinstance(item, int):
                found += self._coordinate(item)
            else:
                found.append((self.turns if item[0] == "turn" else self.arcs).start + item[1])
        return found
