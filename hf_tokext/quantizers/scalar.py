"""Finite scalar quantization: every number is rounded by itself."""

import math

import torch
from torch import Tensor

from hf_tokext.errors import QuantizerError
from hf_tokext.quantizers.base import Parts, Quantizer, through

WITHIN = 1e-3  # by how much the bounded value may pass the outermost level, so that its gradient does not vanish


class FSQ(Quantizer):
    """Numbers bounded by tanh and rounded to a few levels; a code is the number in mixed radix that they spell.

    There is no codebook and no loss, and nothing is learned but the layers around it.

    Args:
        dim: numbers of a vector outside.
        levels: levels of each number, at least 2.

    Raises:
        QuantizerError: there are no levels, or fewer than 2 of a number.

    Source: Mentzer et al., Finite Scalar Quantization: VQ-VAE Made Simple (arXiv 2309.15505), section 3 and appendix A.1.
    """

    def __init__(self, dim: int, levels: tuple[int, ...] | list[int] = (8, 5, 5, 5)) -> None:
        if not levels or min(levels) < 2:
            raise QuantizerError(f"every number needs at least 2 levels, not {list(levels)}")
        super().__init__(dim, (math.prod(levels),), len(levels))
        self.levels = tuple(levels)

    def _quantize(self, values: Tensor) -> Parts:
        bounded = self._bounded(values)
        rounded = bounded.round()
        halves = self._halves(values)
        return through(bounded, rounded) / halves, self._index(rounded.detach())[:, None], {}

    def _bounded(self, values: Tensor) -> Tensor:
        """Numbers between the outermost levels, which are whole numbers around 0, [N, levels]."""
        levels = values.new_tensor(self.levels)
        half = (levels - 1) * (1 + WITHIN) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return (values + torch.atanh(offset / half)).tanh() * half - offset

    def _halves(self, values: Tensor) -> Tensor:
        """Half the number of levels of each number."""
        return values.new_tensor([level // 2 for level in self.levels])

    def _index(self, rounded: Tensor) -> Tensor:
        digits = (rounded + self._halves(rounded)).long()
        places = [math.prod(self.levels[:number]) for number in range(len(self.levels))]
        return (digits * digits.new_tensor(places)).sum(1)

    def _codes(self, values: Tensor) -> Tensor:
        return self._index(self._bounded(values).round())[:, None]

    def _vectors(self, codes: Tensor) -> Tensor:
        rest, digits = codes[:, 0], []
        for level in self.levels:
            digits.append(rest % level)
            rest = rest // level
        halves = codes.new_tensor([level // 2 for level in self.levels])
        return (torch.stack(digits, 1) - halves).float() / halves
