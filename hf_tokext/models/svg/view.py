"""How fine the grid is inside an element."""

import math
import re
from collections.abc import Mapping

import numpy as np

from hf_tokext.models.svg.path_data import read_numbers

MOST_HALVINGS = 20
UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}  # in px, by CSS
_SIZE = re.compile(r"\s*\+?(\d+(?:\.\d*)?|\.\d+)(px|pt|pc|mm|cm|in)?\s*", re.IGNORECASE)
_BOXES = ("clipPathUnits", "maskContentUnits", "patternContentUnits")
FUNCTION = re.compile(r"[\s,]*(matrix|translate|scale|rotate|skewX|skewY)\s*\(([^()]*)\)")


def step_inside(attributes: Mapping[str, str], step: float | None, grid: int) -> float:
    """Give the distance between two lines of the grid inside an element.

    A view box has a grid of its own, of `grid` steps over its longer side; so has a clip, mask or pattern whose content is
    measured in boxes of what it is used for. A transform that enlarges what is inside makes the grid finer by a power of
    two, so that half a step there is at most half a step outside.

    Args:
        attributes: of the element, transform, viewBox and units among them.
        step: distance outside, None for the root.
        grid: steps over the longer side of a view box.

    Returns:
        The distance, in units of what is inside.
    """
    size = _extent(attributes.get("viewBox", ""))
    if size is None and step is None:
        found = [_SIZE.fullmatch(attributes.get(key, "")) for key in ("width", "height")]
        sizes = [float(match[1]) * UNITS[(match[2] or "").lower()] for match in found if match and len(match[1]) < 12]
        size = max(sizes, default=0.0)
    if size is None and any(attributes.get(key) == "objectBoundingBox" for key in _BOXES):
        size = 1.0
    if size is not None:
        # nine digits, so that every line of the grid has a short spelling and comes back exactly
        return float(f"{size / grid:.8e}") if 1e-6 < size < 1e9 else 1.0
    assert step is not None
    transform = attributes.get("transform") or attributes.get("patternTransform", "")
    halvings = math.ceil(math.log2(_enlargement(transform)) - 1e-6)
    return min(max(step / 2.0 ** max(-MOST_HALVINGS, min(halvings, MOST_HALVINGS)), 1e-12), 1e12)


def _extent(view_box: str) -> float | None:
    numbers = _numbers(view_box)
    return max(numbers[2:]) if len(numbers) == 4 and min(numbers[2:]) > 0 else None


def _numbers(text: str) -> list[float]:
    """Numbers of an attribute, none where something else is among them or one is huge."""
    return (read_numbers(text) or []) if len(text) < 1000 and not re.search(r"[eE]\+?\d{2}|\d{12}", text) else []


def _enlargement(transform: str) -> float:
    """Most by which a transform makes a distance longer: its largest singular value; 1 for what is none."""
    matrix, at = np.eye(2), 0
    while match := FUNCTION.match(transform, at):
        at, numbers = match.end(), _numbers(match[2])
        if not numbers:
            return 1.0
        if match[1] == "matrix" and len(numbers) == 6:
            matrix = matrix @ np.array([[numbers[0], numbers[2]], [numbers[1], numbers[3]]])
        elif match[1] == "scale":
            matrix = matrix @ np.diag([numbers[0], numbers[-1]])
        elif match[1].startswith("skew"):
            slope = math.tan(math.radians(numbers[0]))
            matrix = matrix @ np.array([[1, slope], [0, 1]] if match[1] == "skewX" else [[1, 0], [slope, 1]])
        if not np.isfinite(matrix).all() or np.abs(matrix).max() > 1e12:
            return 1.0  # no honest one
    if not transform or transform[at:].strip():
        return 1.0
    return max(float(np.linalg.norm(matrix, 2)), 1e-9)
