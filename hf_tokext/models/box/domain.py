"""Boxes and points as tokens of pixels."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.vocabulary.domain import Domain
from hf_tokext.vocabulary.grammar import Grammar

OPEN, CLOSE, PIXELS = range(3)
ENDED = (-1,)
State = tuple[int, ...]


class BoxGrammar(Grammar[State | None]):
    """Two numbers are a point, four a box, whose second corner is neither left of the first nor above it.

    Args:
        pixels: how many numbers there are.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__(PIXELS + pixels)

    def start(self) -> State | None:
        """See the base class."""
        return None

    def allowed(self, state: State | None) -> np.ndarray:
        """See the base class."""
        found = np.zeros(self.size, dtype=bool)
        if state is None:
            found[OPEN] = True
        elif state != ENDED:
            found[CLOSE] = len(state) in (2, 4)
            if len(state) < 4:
                found[PIXELS + (state[len(state) - 2] if len(state) > 1 else 0) :] = True
        found.flags.writeable = False
        return found

    def complete(self, state: State | None) -> bool:
        """See the base class."""
        return state == ENDED

    def distance(self, state: State | None) -> int:
        """See the base class."""
        if state is None:
            return 4
        return 0 if state == ENDED else 1 + len(state) % 2 + 2 * (not state)

    def _advance(self, state: State | None, index: int) -> State | None:
        if index < PIXELS:
            return () if index == OPEN else ENDED
        return (*(state or ()), index - PIXELS)


class BoxDomain(Domain):
    """Boxes such as (12,30,200,310), from the left and the top, and points such as (12,30), in a frame of pixels.

    Args:
        size: width and height of the frame; whatever size a picture has, its boxes are brought to this one.

    Attributes:
        size: as given.

    Raises:
        VocabularyError: the frame has less than two pixels.

    Source: AURORA (Bigverdi et al., Perception Tokens Enhance Visual Reasoning, arXiv 2412.03548), section 3.2.
    """

    name: ClassVar[str] = "box"

    def __init__(self, size: int = 336) -> None:
        if size < 2:
            raise VocabularyError(f"a frame has at least two pixels, not {size}")
        self.size = size
        described = {"open": "position", "close": "end of position"}
        super().__init__(["open", "close", *map(str, range(size))], described)
        self.grammar: BoxGrammar = BoxGrammar(size)

    @property
    def settings(self) -> dict[str, Any]:
        """The size of the frame."""
        return {"size": self.size}

    def parse(self, text: str) -> list[int]:
        """Read a box or a point.

        Args:
            text: two or four numbers, with commas between and parentheses around them.

        Returns:
            Indices of its tokens.

        Raises:
            TextError: it is neither, or leaves the frame, or its corners are the wrong way round.
        """
        if not re.fullmatch(r"\s*\(\s*\d+\s*(,\s*\d+\s*)+\)\s*", text):
            raise TextError(f"{text!r} is no box such as (12,30,200,310), nor a point such as (12,30)")
        numbers = [int(each) for each in re.findall(r"\d+", text)]
        outside = [each for each in numbers if each >= self.size]
        if outside or len(numbers) not in (2, 4):
            wrong = (
                f"{outside[0]} is outside of the frame, 0 to {self.size - 1}" if outside else "give two or four numbers"
            )
            raise TextError(f"{text!r}: {wrong}")
        if len(numbers) == 4 and (numbers[2] < numbers[0] or numbers[3] < numbers[1]):
            raise TextError(f"{text!r}: the second corner lies left of the first, or above it")
        return [OPEN, *(PIXELS + each for each in numbers), CLOSE]

    def write(self, indices: Sequence[int]) -> str:
        """Write a box or a point.

        Args:
            indices: any tokens of the domain.

        Returns:
            The box or point that they begin with; a missing number is that of the corner before, or 0.
        """
        state: State = ()
        for index in indices:
            if index >= PIXELS and len(state) < 4 and self.grammar.allowed(state)[index]:
                state = (*state, index - PIXELS)
        while len(state) not in (2, 4):
            state = (*state, state[len(state) - 2] if len(state) > 1 else 0)
        return f"({','.join(map(str, state))})"

    def to_frame(self, numbers: Sequence[float], width: int, height: int) -> str:
        """Bring a box or a point of a picture to the frame.

        Args:
            numbers: x, y or x1, y1, x2, y2 in pixels of the picture.
            width: of the picture, in pixels.
            height: of the picture, in pixels.

        Returns:
            Its text, as `parse` takes it.

        Raises:
            TextError: it is neither, or leaves the picture.
        """
        if len(numbers) not in (2, 4):
            raise TextError(f"a point has two numbers and a box four, not {len(numbers)}")
        sides = (width, height) * 2
        if any(not 0 <= number <= side for number, side in zip(numbers, sides, strict=False)):
            raise TextError(f"{tuple(numbers)} leaves a picture of {width} x {height} pixels")
        found = [
            min(int(number * self.size / side), self.size - 1) for number, side in zip(numbers, sides, strict=False)
        ]
        text = f"({','.join(map(str, found))})"
        self.parse(text)
        return text

    def from_frame(self, text: str, width: int, height: int) -> tuple[float, ...]:
        """Bring a box or a point to a picture.

        Args:
            text: as `write` gives it.
            width: of the picture, in pixels.
            height: of the picture, in pixels.

        Returns:
            Its numbers in pixels of the picture: the middles of the frame's pixels.

        Raises:
            TextError: it is neither box nor point.
        """
        numbers = [index - PIXELS for index in self.parse(text)[1:-1]]
        return tuple(
            (number + 0.5) * side / self.size for number, side in zip(numbers, (width, height) * 2, strict=False)
        )
