"""In which order the codes of several codebooks stand in one row."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

LAYOUTS = ("flat", "interleave", "delay")


@dataclass(frozen=True)
class CodeLayout:
    """An order of codes.

    Attributes:
        name: one of `LAYOUTS`.
        books: Q, number of codebooks.
    """

    name: str
    books: int

    @lru_cache(maxsize=64)  # noqa: B019 (frozen, and equal ones share what was made)
    def order(self, steps: int) -> tuple[Tensor, Tensor]:
        """Say what stands where.

        Args:
            steps: T, number of places.

        Returns:
            Codebook and place of each code, [Q * T] int64 each.
        """
        book, place = torch.arange(self.books), torch.arange(steps)
        if self.name == "flat":
            return book.repeat_interleave(steps), place.repeat(self.books)
        if self.name == "interleave":
            return book.repeat(steps), place.repeat_interleave(self.books)
        moment = torch.arange(steps + self.books - 1)[:, None]
        here = (moment - book >= 0) & (moment - book < steps)
        moments, books = here.nonzero(as_tuple=True)
        return books, moments - books

    def book(self, count: int, steps: int | None) -> int:
        """Say which codebook comes next.

        Args:
            count: codes that stand before.
            steps: T; None where it is not known yet, and the row goes on as if it had no end.

        Returns:
            The codebook, 0 to Q - 1; Q where all codes stand.
        """
        if steps is not None:
            return int(self.order(steps)[0][count]) if count < self.books * steps else self.books
        if self.name == "flat":
            return 0
        before = self.books * (self.books - 1) // 2  # in the moments in which not all codebooks have begun
        if self.name == "interleave" or count >= before:
            return (count if self.name == "interleave" else count - before) % self.books
        begun = 1
        while count >= begun:
            count, begun = count - begun, begun + 1
        return count

    def begun(self, count: int) -> int:
        """Say how many places a row without end has begun.

        Args:
            count: codes that stand in it.

        Returns:
            Number of codes of the first codebook among them.
        """
        if self.name == "flat":
            return count
        if self.name == "interleave":
            return -(-count // self.books)
        before = self.books * (self.books - 1) // 2
        if count > before:
            return self.books - 1 - (before - count) // self.books
        begun = 0
        while count > 0:
            begun += 1
            count -= begun
        return begun
