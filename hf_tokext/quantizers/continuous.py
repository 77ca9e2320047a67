"""No codes at all: for models that are trained on vectors."""

import torch
from torch import Tensor

from hf_tokext.quantizers.base import Parts, Quantizer


class Unquantized(Quantizer):
    """Vectors as they are.

    Args:
        dim: numbers of a vector outside.
        inner: numbers of a vector inside; None for `dim`.
    """

    def __init__(self, dim: int, inner: int | None = None) -> None:
        super().__init__(dim, (), inner or dim)

    def _quantize(self, values: Tensor) -> Parts:
        return values, None, {}


class Gaussian(Quantizer):
    """A normal distribution for each vector: drawn in training, its mean otherwise.

    Args:
        dim: numbers of a vector outside.
        inner: numbers of a vector inside; None for half of `dim`.
        divergence: weight of the divergence from the standard normal distribution, a mean over all numbers.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (arXiv 1312.6114), equation 10 and appendix B.
    """

    def __init__(self, dim: int, inner: int | None = None, divergence: float = 1e-4) -> None:
        inner = inner or max(dim // 2, 1)
        super().__init__(dim, (), inner)
        self.divergence = divergence
        self.project_in = torch.nn.Linear(dim, 2 * inner)
        self.project_out = torch.nn.Linear(inner, dim)

    def _quantize(self, values: Tensor) -> Parts:
        mean, log_variance = values.chunk(2, 1)
        log_variance = log_variance.clamp(-30, 20)
        drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        return drawn, None, {"divergence": self.divergence * (divergence.mean() if len(mean) else divergence.sum())}
