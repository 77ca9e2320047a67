"""Vector quantization in several steps, each of what the one before has left over."""

import torch
from torch import Tensor

from hf_tokext.quantizers.base import Parts, Quantizer, mean_square, through
from hf_tokext.quantizers.codebook import Codebooks


class ResidualQuantizer(Quantizer):
    """A sum of vectors, one of each codebook; the first ones alone are a coarser answer.

    Args:
        dim: numbers of a vector outside.
        size: number of codes K of each codebook.
        codebooks: how many there are.
        inner: numbers of a code vector; None for `dim`.
        decay: as for `VectorQuantizer`.
        cosine: compare directions only, at every step.
        commitment: weight of the loss that draws what is left over to its codes, at every step.
        dropout: share of training batches that use only a random number of the first codebooks.
        dead_below: as for `Codebook`.
        seed: as for `Codebook`, and of the dropout.

    Source: Zeghidour et al., SoundStream (arXiv 2107.03312), algorithm 1 and section 3.3.
    """

    nested = True

    def __init__(
        self, dim: int, size: int = 512, codebooks: int = 4, inner: int | None = None, decay: float | None = 0.99,
        cosine: bool = False, commitment: float = 0.25, dropout: float = 0.0, dead_below: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(dim, (size,) * codebooks, inner or dim)
        self.commitment, self.dropout, self.seed = commitment, dropout, seed
        self.steps = Codebooks(codebooks, size, self.inner, seed, decay=decay, cosine=cosine, dead_below=dead_below)

    def reset_parameters(self) -> None:
        """As for every quantizer."""
        super().reset_parameters()
        self.steps.reset_parameters()

    def _quantize(self, values: Tensor) -> Parts:
        left, sums, found = values, torch.zeros_like(values), list[Tensor]()
        drawn = self._drawn()
        loss, codebook = values.new_zeros(()), values.new_zeros(())
        for number, step in enumerate(self.steps):
            shaped = step.shaped(left)
            step.start(shaped)
            index = step.nearest(shaped)
            found.append(index)
            if number >= drawn:
                continue
            code = step.lookup(index)
            loss = loss + mean_square(shaped, code.detach())
            if step.decay is None:
                codebook = codebook + mean_square(code, shaped.detach())
            step.learn(shaped, index)
            sums = sums + code
            left = left - code.detach()
        losses = {"commitment": self.commitment * loss}
        if self.steps.first.decay is None:
            losses["codebook"] = codebook
        return through(values, sums), torch.stack(found, 1), losses

    def _drawn(self) -> int:
        """How many codebooks this batch uses."""
        if not self.training or not self.dropout:
            return len(self.steps)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.steps.first.batches))
        chance, number = torch.rand(2, generator=generator).tolist()
        return 1 + int(number * len(self.steps)) if chance < self.dropout else len(self.steps)

    def _codes(self, values: Tensor) -> Tensor:
        found = []
        for step in self.steps:
            index = step.nearest(step.shaped(values))
            values = values - step.lookup(index)
            found.append(index)
        return torch.stack(found, 1)

    def _vectors(self, codes: Tensor) -> Tensor:
        parts = [step.lookup(index) for step, index in zip(self.steps, codes.unbind(1), strict=False)]
        return torch.stack(parts).sum(0)
