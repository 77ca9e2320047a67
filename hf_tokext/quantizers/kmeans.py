"""Where codebooks start from."""

import torch
from torch import Tensor

from hf_tokext.quantizers.search import nearest

VECTORS = 64  # for each centre; more are not looked at


def kmeans(values: Tensor, count: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Find centres of vectors.

    Args:
        values: [N, d] float32, N at least 1.
        count: number of centres K.
        iterations: rounds of Lloyd's algorithm.
        generator: of the CPU; it draws the vectors to start from, and those that take the place of empty centres.

    Returns:
        [K, d] float32. Where there are fewer vectors than centres, vectors are taken several times, each a little moved.

    Source: Lloyd, Least Squares Quantization in PCM (1982).
    """
    values = values[draw(len(values), min(len(values), VECTORS * count), generator).to(values.device)]
    centres = values[draw(len(values), count, generator).to(values.device)].clone()
    if len(values) < count:
        spread = values.std(0, correction=0).mean() * 0.01 + 1e-6
        centres += torch.randn(centres.shape, generator=generator).to(values.device) * spread
    for _ in range(iterations if len(values) > count else 0):
        index = nearest(values, centres)
        sizes = torch.bincount(index, minlength=count)
        sums = torch.zeros_like(centres).index_add_(0, index, values)
        empty = sizes == 0
        centres = sums / sizes.clamp(min=1)[:, None]
        centres[empty] = values[draw(len(values), int(empty.sum()), generator).to(values.device)]
    return centres


def draw(size: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw places of a sequence, none twice as long as there are enough.

    Args:
        size: length of the sequence.
        count: how many are drawn.
        generator: of the CPU.

    Returns:
        [count] int64.
    """
    rounds = [torch.randperm(size, generator=generator) for _ in range(-(-count // size))]
    return torch.cat(rounds)[:count] if rounds else torch.zeros(0, dtype=torch.long)
