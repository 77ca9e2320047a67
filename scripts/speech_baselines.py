"""Trivial codecs of frames of sound, fitted to training frames: what a trained codec has to beat at equal bits.

Each takes training frames [N, hop] and bits a frame, and gives a function from frames to what is left of them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hf_tokext.quantizers.kmeans import kmeans
from hf_tokext.quantizers.search import nearest

Coder = Callable[[Tensor], Tensor]
MOST = 8  # bits of one number, or of one code


def mean(frames: Tensor, bits: int) -> Coder:
    """The mean frame, for 0 bits."""
    found = frames.mean(0)
    return lambda given: found.expand_as(given)


def clusters(frames: Tensor, bits: int) -> Coder:
    """K-means of frames, again of what is left over, with at most 8 bits a step."""
    left, books = frames, []
    while bits > 0:
        step = min(bits, MOST)
        books.append(kmeans(left, 2**step, 20, torch.Generator().manual_seed(0)))
        left = left - books[-1][nearest(left, books[-1])]
        bits -= step

    def code(given: Tensor) -> Tensor:
        rest = given
        for book in books:
            rest = rest - book[nearest(rest, book)]
        return given - rest

    return code


def principal(frames: Tensor, bits: int) -> Coder:
    """Principal components, each rounded to levels of its own; bits go where they help most."""
    middle = frames.mean(0)
    basis = torch.linalg.svd(frames - middle, full_matrices=False).Vh
    return _transform(frames, bits, basis, middle)


def cosines(frames: Tensor, bits: int) -> Coder:
    """The same with cosines (DCT-II) in place of what was learned."""
    size = frames.shape[1]
    places = (torch.arange(size) + 0.5) * torch.arange(size)[:, None]
    basis = torch.cos(math.pi / size * places) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return _transform(frames, bits, basis, torch.zeros(size))


def _transform(frames: Tensor, bits: int, basis: Tensor, middle: Tensor) -> Coder:
    numbers = (frames - middle) @ basis.T
    top = numbers.var(0).argsort(descending=True)[: 2 * bits]
    levels: dict[tuple[int, int], Tensor] = {}
    left = {(int(at), 0): float(numbers[:, at].square().mean()) for at in top}

    def error(at: int, count: int) -> float:
        if (at, count) not in left:
            column = numbers[:, at, None]
            levels[at, count] = kmeans(column, 2**count, 20, torch.Generator().manual_seed(0))
            left[at, count] = float((column - levels[at, count][nearest(column, levels[at, count])]).square().mean())
        return left[at, count]

    given = dict.fromkeys(map(int, top), 0)
    for _ in range(bits):
        gains = {at: error(at, count) - error(at, count + 1) for at, count in given.items() if count < MOST}
        best = max(gains, key=gains.__getitem__)
        given[best] += 1

    def code(wanted: Tensor) -> Tensor:
        found = torch.zeros(len(wanted), len(basis))
        seen = (wanted - middle) @ basis.T
        for at, count in given.items():
            if count:
                table = levels[at, count]
                found[:, at] = table[nearest(seen[:, at, None].contiguous(), table)][:, 0]
        return found @ basis + middle

    return code


BASELINES = {"mean frame": mean, "DCT": cosines, "PCA": principal, "k-means of frames": clusters}
