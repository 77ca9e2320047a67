"""Path data: a lexer by the grammar of SVG, and paths as whole steps of a grid."""

import math
import re
from collections.abc import Iterator

from hf_tokext.errors import TextError

# What follows each command, again and again: n a number, t a turn in degrees, f the two flags of an arc.
ARGUMENTS = {
    "M": "nn", "L": "nn", "H": "n", "V": "n", "C": "nnnnnn", "S": "nnnn", "Q": "nnnn", "T": "nn", "A": "nntfnn", "Z": "",
}  # fmt: skip
_NUMBER = re.compile(r"[\s,]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_FLAG = re.compile(r"[\s,]*([01])")
_COMMAND = re.compile(r"\s*([MmLlHhVvCcSsQqTtAaZz])")


def read_number(spelling: str) -> float:
    """Give the value of a number of SVG.

    Args:
        spelling: such as "-.5e3".

    Returns:
        Its value.

    Raises:
        TextError: it is larger than any coordinate of a drawing.
    """
    value = float(spelling)
    if not abs(value) < 1e12:
        raise TextError(f"{spelling[:40]} is too large for a coordinate")
    return value


def read_numbers(text: str) -> list[float] | None:
    """Read a list of numbers, such as the points of a polygon.

    Args:
        text: numbers without units, with or without separators.

    Returns:
        Their values, None where something else is among them.

    Raises:
        TextError: a number is too large.
    """
    found, at = [], 0
    while match := _NUMBER.match(text, at):
        found.append(read_number(match[1]))
        at = match.end()
    return None if text[at:].strip() else found


def read_path(text: str) -> Iterator[tuple[str, list[float]]]:
    """Read path data up to its first error, as a renderer does (SVG 2, section 9.5.4).

    Flags of arcs may stand without separators, and numbers may follow one another where the next one's sign or point
    tells them apart.

    Args:
        text: path data.

    Yields:
        Commands as they are written, each with one group of its numbers; one whose numbers go on comes once a group.

    Raises:
        TextError: a number is too large.
    """
    at, command = 0, ""
    while True:
        match = _COMMAND.match(text, at)
        if match:
            command, at = match[1], match.end()
            if command in "Zz":
                yield command, []
                continue
        pattern = ARGUMENTS[command.upper()].replace("f", "ff") if command else ""
        group: list[float] = []
        for kind in pattern:
            found = (_FLAG if kind == "f" else _NUMBER).match(text, at)
            if not found:
                return
            group.append(read_number(found[1]))
            at = found.end()
        if not group:
            return
        yield command, group
        command = {"M": "L", "m": "l"}.get(command, command)  # numbers that go on after "move to" are those of lines


def snap(value: float, step: float) -> int:
    """Give the nearest line of a grid.

    Args:
        value: a coordinate.
        step: between two lines.

    Returns:
        Number of the line, at most half a step away.
    """
    return math.floor(value / step + 0.5)


def snap_path(text: str, step: float) -> Iterator[str | int | tuple[str, int]]:
    """Put path data on a grid.

    Where a command is relative, the difference to the current point on the grid is taken, so that errors do not add up:
    every point is at most half a step away from where it was. Radii of arcs are up to one and a half away.

    Args:
        text: path data.
        step: between two lines of the grid, in units of the path.

    Yields:
        Commands where they are written anew; steps; and for arcs ("turn", degrees) and ("arc", 0 to 3 for their flags).

    Raises:
        TextError: a number is too large.
    """
    here = start = (0.0, 0.0)  # where the path stands, and stood when the subpath began
    grid = grid_start = (0, 0)  # the same on the grid
    before = ""
    for command, group in read_path(text):
        kind, relative = command.upper(), command.islower()
        if not before and kind != "M":
            return
        if command != before or kind in "MZ":
            yield command
        before = command
        if kind == "Z":
            here, grid = start, grid_start
            continue
        base, grid_base = (here, grid) if relative else ((0.0, 0.0), (0, 0))
        if kind == "H":
            here = (base[0] + group[0], here[1])
            grid, old = (snap(here[0], step), grid[1]), grid_base[0]
            yield grid[0] - old
        elif kind == "V":
            here = (here[0], base[1] + group[0])
            grid, old = (grid[0], snap(here[1], step)), grid_base[1]
            yield grid[1] - old
        else:
            if kind == "A":
                before_end = here[0] - base[0] - group[5], here[1] - base[1] - group[6]
                end = snap(base[0] + group[5], step), snap(base[1] + group[6], step)
                chord = grid[0] - end[0], grid[1] - end[1]
                yield from _snap_radii(group, (before_end[0] / step, before_end[1] / step), chord, step)
                yield "turn", round(group[2]) % 360
                yield "arc", int(2 * group[3] + group[4])
            points = group[5:] if kind == "A" else group
            for x, y in zip(points[::2], points[1::2], strict=True):
                here = base[0] + x, base[1] + y
                grid = snap(here[0], step), snap(here[1], step)
                yield from (grid[0] - grid_base[0], grid[1] - grid_base[1])
        if kind == "M":
            start, grid_start = here, grid


def _snap_radii(group: list[float], old: tuple[float, float], new: tuple[int, int], step: float) -> tuple[int, int]:
    """Radii of an arc on the grid.

    The centre of an arc that is almost half an ellipse moves much where its radii move little; of the nearest radii, one
    more and one less, those are taken with which it lies best.
    """
    radii = snap(abs(group[0]), step), snap(abs(group[1]), step)
    aim = _height(abs(group[0]) / step, abs(group[1]) / step, group[2], old)

    def trouble(more: int) -> tuple[float, int]:
        height = _height(radii[0] + more, radii[1] + more, round(group[2]), new)
        return round(abs(height - aim), 2), abs(more)

    more = min((0, 1, -1), key=trouble) if min(radii) > 1 else 0
    return radii[0] + more, radii[1] + more


def _height(rx: float, ry: float, turn: float, chord: tuple[float, float]) -> float:
    """Distance of the middle of a chord from the centre of its ellipse (SVG 2, appendix B.2.4), times the longer radius."""
    if not rx or not ry:
        return 0.0
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    x, y = (cosine * chord[0] + sine * chord[1]) / rx / 2, (cosine * chord[1] - sine * chord[0]) / ry / 2
    return max(rx, ry) * math.sqrt(max(0.0, 1 - x * x - y * y))
