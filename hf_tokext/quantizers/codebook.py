"""A table of code vectors that follows the vectors it stands for."""

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import initialization

from hf_tokext.quantizers.kmeans import draw, kmeans
from hf_tokext.quantizers.search import nearest

ITERATIONS = 10  # of k-means
SMALLEST = 1e-5  # vectors, that a code is taken to stand for at least


class Codebook(nn.Module):
    """Code vectors; either moving averages of the vectors that they stood for, or parameters.

    The first vectors seen in training give the start, by k-means. Codes that stand for too few vectors are put at vectors
    of the batch. Both are drawn by a generator that depends on the seed and on the number of batches seen, so a training
    that goes on from a checkpoint draws what it would have drawn. With `torch.distributed` all processes learn from the
    vectors of all.

    Args:
        size: number of codes K.
        dim: numbers of a vector.
        decay: of the moving averages; None for parameters, which the optimizer moves (without weight decay).
        cosine: vectors and codes have length 1.
        dead_below: a code is put elsewhere if it stands for fewer vectors than this share of the mean; 0 for never.
        seed: of what is drawn.

    Source: van den Oord et al., Neural Discrete Representation Learning (arXiv 1711.00937), appendix A.1; replacement as in
        Zeghidour et al., SoundStream (arXiv 2107.03312), section 3.3.
    """

    weight: Tensor
    mass: Tensor
    sums: Tensor
    batches: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        decay: float | None = 0.99,
        cosine: bool = False,
        dead_below: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.size, self.decay, self.cosine, self.dead_below, self.seed = size, decay, cosine, dead_below, seed
        if decay is None:
            self.weight = nn.Parameter(torch.empty(size, dim))
        else:
            self.register_buffer("weight", torch.empty(size, dim))
            self.register_buffer("sums", torch.empty(size, dim))
        self.register_buffer("mass", torch.empty(size))  # vectors of a batch that a code stands for, on average
        self.register_buffer("batches", torch.empty((), dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin as a new codebook."""
        if self.weight.device.type == "meta":
            return
        start = torch.randn(self.weight.shape, generator=self._generator(0)) / self.weight.shape[1] ** 0.5
        start = normalize(start, dim=1) if self.cosine else start
        initialization.copy_(self.weight, start)
        if self.decay is not None:
            initialization.copy_(self.sums, start)
        initialization.ones_(self.mass)
        initialization.zeros_(self.batches)

    def shaped(self, values: Tensor) -> Tensor:
        """Give vectors the length that the codes have.

        Args:
            values: [N, d].

        Returns:
            [N, d]: as given, or of length 1.
        """
        return normalize(values, dim=1) if self.cosine else values

    def vectors(self) -> Tensor:
        """All code vectors, [K, d]."""
        return self.shaped(self.weight)

    def nearest(self, values: Tensor) -> Tensor:
        """Find the codes of vectors.

        Args:
            values: [N, d], `shaped`.

        Returns:
            [N] int64.
        """
        return nearest(values, self.vectors())

    def lookup(self, index: Tensor) -> Tensor:
        """Give the vectors of codes.

        Args:
            index: [N] int64.

        Returns:
            [N, d].
        """
        return self.shaped(self.weight[index])

    @torch.no_grad()
    def start(self, values: Tensor) -> None:
        """Place the codes by k-means, where nothing was learned yet.

        Args:
            values: [N, d], `shaped`.
        """
        if not self.training or len(values) == 0 or int(self.batches) > 0:
            return
        centres = self.shaped(kmeans(values.detach(), self.size, ITERATIONS, self._generator(1)))
        _from_first(centres)
        self.weight.copy_(centres)
        self.mass.fill_(len(values) * _processes() / self.size)
        if self.decay is not None:
            self.sums.copy_(centres * self.mass[:, None])

    @torch.no_grad()
    def learn(self, values: Tensor, index: Tensor) -> None:
        """Move the codes to what they stood for, and those that stood for nothing elsewhere.

        Does nothing outside of training, and where checkpointing runs a forward pass a second time.

        Args:
            values: [N, d], `shaped`.
            index: [N] int64, their codes.
        """
        if not self.training or torch._C._current_graph_task_id() != -1:
            return
        values = values.detach()
        counts = torch.bincount(index, minlength=self.size).float()
        _summed(counts)
        decay = 0.99 if self.decay is None else self.decay
        self.mass.lerp_(counts, 1 - decay)
        if self.decay is not None:
            sums = torch.zeros_like(self.sums).index_add_(0, index, values)
            _summed(sums)
            self.sums.lerp_(sums, 1 - decay)
            self.weight.copy_(self.shaped(self.sums / self.mass.clamp(min=SMALLEST)[:, None]))
        self.batches += 1
        self._revive(values, float(counts.sum()) / self.size)

    def _revive(self, values: Tensor, mean: float) -> None:
        dead = torch.nonzero(self.mass < self.dead_below * mean).flatten()
        if not len(dead) or not len(values):
            return
        drawn = draw(len(values), len(dead), self._generator(1 + int(self.batches))).to(values.device)
        fresh = values[drawn]
        _from_first(fresh)
        self.weight[dead] = fresh
        self.mass[dead] = mean
        if self.decay is not None:
            self.sums[dead] = fresh * mean

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + number)


class Codebooks(nn.ModuleList):
    """Several of one kind, each with a seed of its own.

    Args:
        count: how many.
        size: as for `Codebook`.
        dim: as for `Codebook`.
        seed: of the first; others count on.
        **options: as for `Codebook`.
    """

    def __init__(self, count: int, size: int, dim: int, seed: int = 0, **options: Any) -> None:
        super().__init__(Codebook(size, dim, seed=seed * count + number, **options) for number in range(count))

    def __iter__(self) -> Iterator[Codebook]:
        return iter(cast("list[Codebook]", list(self._modules.values())))

    def reset_parameters(self) -> None:
        """Begin as new codebooks."""
        for book in self:
            book.reset_parameters()

    @property
    def first(self) -> Codebook:
        """The first one."""
        return next(iter(self))


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _summed(values: Tensor) -> None:
    if _processes() > 1:
        dist.all_reduce(values)


def _from_first(values: Tensor) -> None:
    if _processes() > 1:
        dist.broadcast(values, 0)
