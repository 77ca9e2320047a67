"""How evenly the codes of a codebook are used."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Usage:
    """What is known of the codes that a codebook gave out.

    Attributes:
        counts: [K] int64, how often each was.
        used: share of the codes that were given out at all.
        bits: entropy of the codes, in bits a code.
        perplexity: 2 to the power of that: as many evenly used codes would have the same entropy.
    """

    counts: Tensor
    used: float
    bits: float
    perplexity: float


def usage(counts: Tensor) -> Usage:
    """Sum up counts.

    Args:
        counts: [K] integers, how often each code was given out.

    Returns:
        Their usage; all figures are 0 (perplexity 1) where nothing was counted.
    """
    shares = counts.double() / counts.sum().clamp(min=1)
    bits = float(-torch.special.xlogy(shares, shares).sum() / torch.log(torch.tensor(2.0)))
    return Usage(counts, float((counts > 0).double().mean()), max(bits, 0.0), 2 ** max(bits, 0.0))
