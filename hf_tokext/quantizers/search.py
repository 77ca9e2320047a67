"""Nearest codes, exactly and in little memory."""

import torch
from torch import Tensor

AT_ONCE = 1 << 23  # scores that are held at a time: 32 megabytes
CLOSE_AT_ONCE = 1 << 20  # of these, compared anew at a time


def nearest(values: Tensor, codes: Tensor, by: str = "distance") -> Tensor:
    """Find the code nearest to each vector.

    Scores are computed in float32, some vectors at a time; where several codes are within its rounding of the best, these
    few are compared in float64, so that the answer is that of a search in float64. Of equal ones it is the first.

    Args:
        values: [N, d] float32.
        codes: [K, d] float32.
        by: "distance" (Euclidean), or "product" for the largest inner product.

    Returns:
        [N] int64, in 0..K-1.
    """
    with torch.no_grad():
        values, codes = values.detach(), codes.detach()
        halves = codes.square().sum(1).div_(2) if by == "distance" else codes.new_zeros(len(codes))
        width = codes.shape[1]
        unit = torch.finfo(torch.float32).eps * (width**0.5 + 2)
        largest = codes.square().sum(1).max().sqrt()
        step = max(AT_ONCE // len(codes), 1)
        found = [_chunk(part, codes, halves, largest, unit, by) for part in values.split(step)]
        return torch.cat(found) if found else values.new_zeros(0, dtype=torch.long)


def _chunk(values: Tensor, codes: Tensor, halves: Tensor, largest: Tensor, unit: float, by: str) -> Tensor:
    scores = torch.addmm(halves, values, codes.t(), beta=-1)
    best, index = scores.max(1)
    error = unit * (values.square().sum(1).sqrt() * largest + halves.max())  # of a score
    scores.scatter_(1, index[:, None], -torch.inf)
    close = torch.nonzero(scores.amax(1) >= best - 2 * error).flatten()
    for rows in close.split(max(CLOSE_AT_ONCE // len(codes), 1)):
        rivals = scores[rows] >= (best - 2 * error)[rows, None]
        index[rows] = _settle(values[rows], codes, rivals.scatter_(1, index[rows, None], True), by)
    return index


def _settle(values: Tensor, codes: Tensor, rivals: Tensor, by: str) -> Tensor:
    """Of the rivals of each vector, [N, K] bool, the first of the best ones in float64."""
    row, code = rivals.nonzero().unbind(1)
    step = max(CLOSE_AT_ONCE // codes.shape[1], 1)
    pairs = zip(row.split(step), code.split(step), strict=True)
    worth = torch.cat([_worth(values[i].double(), codes[j].double(), by) for i, j in pairs])
    best = worth.new_full((len(values),), -torch.inf).scatter_reduce_(0, row, worth, "amax")
    first = worth == best[row]
    return code.new_full((len(values),), len(codes)).scatter_reduce_(0, row[first], code[first], "amin")


def _worth(values: Tensor, codes: Tensor, by: str) -> Tensor:
    return (values * codes).sum(1) if by == "product" else -(values - codes).square().sum(1)
