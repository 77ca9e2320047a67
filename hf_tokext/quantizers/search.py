"""Nearest codes, exactly and in little memory."""

import torch
from torch import Tensor

AT_ONCE = 1 << 23  # scores that are held at a time: 32 megabytes
CLOSE_AT_ONCE = 1 << 20  # of these, compared anew at a time
ROUNDING = {"tf32": 2**-10, "high": 2**-10, "bf16": 2**-7, "medium": 2**-7}
BLOCK = 128  # codes whose best score is kept, to look for the index in one block only


def nearest(values: Tensor, codes: Tensor, by: str = "distance") -> Tensor:
    """Find the code nearest to each vector.

    Scores are computed in float32, or in what torch is told to take for it (TF32), some vectors at a time; where several
    codes are within its rounding of the best, these few are compared in float64, so that the answer is that of a search in
    float64. Of equal ones it is the first.

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
        unit = torch.finfo(torch.float32).eps * (width**0.5 + 2) + _rounding(values.device)
        largest = codes.square().sum(1).max().sqrt()
        block = min(BLOCK, len(codes))
        columns = -(-len(codes) // block) * block
        step = min(max(AT_ONCE // columns, 1), max(len(values), 1))
        scores = values.new_empty((step, columns))  # for all parts: memory that is new costs as much as a product
        scores[:, len(codes) :] = -torch.inf
        found = []
        for part in values.split(step):
            torch.addmm(halves, part, codes.t(), beta=-1, out=scores[: len(part), : len(codes)])
            error = unit * (part.square().sum(1).sqrt() * largest + halves.max())  # of a score
            found.append(_best(scores[: len(part)].unflatten(1, (-1, block)), 2 * error, part, codes, by))
        return torch.cat(found) if found else values.new_zeros(0, dtype=torch.long)


def _rounding(device: torch.device) -> float:
    """Of both factors of float32 products, where torch is told to compute these in something coarser."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    if not hasattr(torch.backends, "fp32_precision"):  # before torch 2.9
        return ROUNDING.get(torch.get_float32_matmul_precision(), 0.0)
    own = backend.matmul.fp32_precision
    return ROUNDING.get(own if own != "none" else torch.backends.fp32_precision, 0.0)


def _best(scores: Tensor, margin: Tensor, values: Tensor, codes: Tensor, by: str) -> Tensor:
    """The best code by scores [N, blocks, block]; those within the margin [N] of the best are settled."""
    tops = scores.amax(2)  # many times faster than a search for the index in all of a row
    least = (tops.amax(1) - margin)[:, None]
    block = tops.argmax(1)
    own = scores[torch.arange(len(block), device=block.device), block]
    index = block * scores.shape[2] + own.argmax(1)
    several = ((tops >= least).sum(1) > 1) | ((own >= least).sum(1) > 1)
    for rows in several.nonzero().flatten().split(max(CLOSE_AT_ONCE // len(codes), 1)):
        rivals = scores[rows].flatten(1)[:, : len(codes)] >= least[rows]
        index[rows] = _settle(values[rows], codes, rivals, by)
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
