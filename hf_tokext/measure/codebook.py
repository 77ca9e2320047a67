"""How a codebook is used by a data set: what it could say, and what it says."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import expm1, log1p, log2
from typing import Any

import torch
from torch import Tensor

from hf_tokext.errors import CodecError
from hf_tokext.quantizers.usage import usage


@dataclass(frozen=True)
class CodebookUse:
    """The codes of one codebook on a data set.

    Attributes:
        size: number of codes that there are.
        counted: number of codes that were seen.
        used: share of all codes that were seen at all.
        used_if_even: the share to be expected if all were equally likely: with few codes counted, `used` cannot be 1.
        bits: entropy, in bits a code; from below, since few codes look less varied than they are.
        perplexity: 2 to the power of `bits`.
        huffman_bits: of the best prefix code for these counts, in bits a code.
        stored_bits: of a code that is stored as a number below `size`.
        most: share of the commonest code.
    """

    size: int
    counted: int
    used: float
    used_if_even: float
    bits: float
    perplexity: float
    huffman_bits: float
    stored_bits: float
    most: float

    def to_dict(self) -> dict[str, Any]:
        """Give the figures by name.

        Returns:
            What JSON holds.
        """
        return asdict(self)


def codebook_use(codes: Iterable[Tensor], sizes: Sequence[int]) -> list[CodebookUse]:
    """Measure how codebooks are used.

    Args:
        codes: of each file, [codebooks, T] integers without padding.
        sizes: number of codes of each codebook.

    Returns:
        The use of each codebook.

    Raises:
        CodecError: there are no codes, another number of codebooks, or codes out of range.
    """
    counts = [torch.zeros(size, dtype=torch.long) for size in sizes]
    for number, each in enumerate(codes):
        if each.ndim != 2 or len(each) != len(sizes):
            raise CodecError(f"file {number} has codes of the shape {list(each.shape)}, not [{len(sizes)}, T]")
        for book, (row, size) in enumerate(zip(each, sizes, strict=True)):
            if row.numel() and not 0 <= int(row.min()) <= int(row.max()) < size:
                raise CodecError(
                    f"file {number} has codes from {int(row.min())} to {int(row.max())} in codebook {book}, "
                    f"which has 0 to {size - 1}"
                )
            counts[book] += torch.bincount(row.long(), minlength=size)
    if not sizes or not all(int(each.sum()) for each in counts):
        raise CodecError("there are no codes to measure")
    return [_use(each) for each in counts]


def _use(counts: Tensor) -> CodebookUse:
    size, counted, found = len(counts), int(counts.sum()), usage(counts)
    even = -expm1(counted * log1p(-1 / size)) if size > 1 else 1.0
    coded = _huffman_length(counts[counts > 0].tolist()) / counted
    most = int(counts.max()) / counted
    return CodebookUse(size, counted, found.used, even, found.bits, found.perplexity, coded, log2(size), most)


def _huffman_length(counts: list[int]) -> int:
    """Bits of everything counted, by a Huffman code; one code alone needs none."""
    heapq.heapify(counts)
    total = 0
    while len(counts) > 1:
        joined = heapq.heappop(counts) + heapq.heappop(counts)
        heapq.heappush(counts, joined)
        total += joined
    return total
