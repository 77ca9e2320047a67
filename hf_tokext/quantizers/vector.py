"""Vector quantization by one table: plain, with a learned transform, and with gradients for every code."""

import torch
from torch import Tensor, nn
from transformers import initialization

from hf_tokext.quantizers.base import Parts, Quantizer, mean_square, through
from hf_tokext.quantizers.codebook import Codebook
from hf_tokext.quantizers.search import nearest


class VectorQuantizer(Quantizer):
    """The nearest of K vectors.

    Args:
        dim: numbers of a vector outside.
        size: number of codes K.
        inner: numbers of a code vector; None for `dim`.
        decay: of the moving averages that the codes are; None for codes that the optimizer learns.
        cosine: compare directions only.
        commitment: weight of the loss that draws vectors to their codes.
        dead_below: as for `Codebook`.
        seed: as for `Codebook`.

    Source: van den Oord et al., Neural Discrete Representation Learning (arXiv 1711.00937), equation 3 and appendix A.1;
        cosine and few numbers as in Yu et al., Vector-quantized Image Modeling with Improved VQGAN (arXiv 2110.04627).
    """

    def __init__(
        self, dim: int, size: int = 512, inner: int | None = None, decay: float | None = 0.99, cosine: bool = False,
        commitment: float = 0.25, dead_below: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(dim, (size,), inner or dim)
        self.commitment = commitment
        self.codebook = Codebook(size, self.inner, decay, cosine, dead_below, seed)

    def reset_parameters(self) -> None:
        """As for every quantizer."""
        super().reset_parameters()
        self.codebook.reset_parameters()

    def _quantize(self, values: Tensor) -> Parts:
        values = self.codebook.shaped(values)
        self.codebook.start(values)
        index = self.codebook.nearest(values)
        code = self.codebook.lookup(index)
        losses = {"commitment": self.commitment * mean_square(values, code.detach())}
        if self.codebook.decay is None:
            losses["codebook"] = mean_square(code, values.detach())
        self.codebook.learn(values, index)
        return through(values, code), index[:, None], losses

    def _codes(self, values: Tensor) -> Tensor:
        return self.codebook.nearest(self.codebook.shaped(values))[:, None]

    def _vectors(self, codes: Tensor) -> Tensor:
        return self.codebook.lookup(codes[:, 0])


class SimVQ(Quantizer):
    """The nearest of K fixed vectors behind a learned linear layer, which moves all of them at once.

    Args:
        dim: numbers of a vector outside.
        size: number of codes K.
        inner: numbers of a code vector; None for `dim`.
        commitment: weight of the loss that draws vectors to their codes.
        seed: of the fixed vectors.

    Source: Zhu et al., Addressing Representation Collapse in Vector Quantized Models with One Linear Layer
        (arXiv 2411.02038), equation 7.
    """

    table: Tensor

    def __init__(
        self, dim: int, size: int = 512, inner: int | None = None, commitment: float = 0.25, seed: int = 0
    ) -> None:
        super().__init__(dim, (size,), inner or dim)
        self.commitment, self.seed = commitment, seed
        self.register_buffer("table", torch.empty(size, self.inner))
        self.transform = nn.Linear(self.inner, self.inner, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As for every quantizer."""
        super().reset_parameters()
        if self.table.device.type != "meta":
            drawn = torch.randn(self.table.shape, generator=torch.Generator().manual_seed(self.seed))
            initialization.copy_(self.table, drawn / self.inner**0.5)
        initialization.orthogonal_(self.transform.weight)

    def _quantize(self, values: Tensor) -> Parts:
        codes = self.transform(self.table)
        index = nearest(values, codes)
        code = codes[index]
        losses = {
            "commitment": self.commitment * mean_square(values, code.detach()),
            "codebook": mean_square(code, values.detach()),
        }
        return through(values, code), index[:, None], losses

    def _codes(self, values: Tensor) -> Tensor:
        return nearest(values, self.transform(self.table))[:, None]

    def _vectors(self, codes: Tensor) -> Tensor:
        return self.transform(self.table[codes[:, 0]])


class IBQ(Quantizer):
    """The code with the largest inner product; the gradient of a softmax goes to every code.

    Training takes N x K numbers by its nature.

    Args:
        dim: numbers of a vector outside.
        size: number of codes K.
        inner: numbers of a code vector; None for `dim`.
        commitment: weight of the loss that draws vectors to their codes.
        entropy: weight of the entropy losses.
        temperature: of the softmax of the entropy losses.

    Source: Shi et al., Scalable Image Tokenization with Index Backpropagation Quantization (arXiv 2412.02692), section 3.
    """

    def __init__(
        self, dim: int, size: int = 512, inner: int | None = None, commitment: float = 0.25, entropy: float = 0.05,
        temperature: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__(dim, (size,), inner or dim)
        self.commitment, self.entropy, self.temperature = commitment, entropy, temperature
        self.weight = nn.Parameter(torch.empty(size, self.inner))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As for every quantizer."""
        super().reset_parameters()
        initialization.uniform_(self.weight, -1 / self.sizes[0], 1 / self.sizes[0])

    def _quantize(self, values: Tensor) -> Parts:
        index = self._codes(values)
        hard = self.weight[index[:, 0]]
        if not torch.is_grad_enabled():
            return hard, index, {"commitment": self.commitment * mean_square(hard, values)}
        scores = values @ self.weight.t()
        soft = scores.softmax(1)
        picked = through(soft, torch.zeros_like(soft).scatter_(1, index, 1.0))
        quantized = picked @ self.weight
        losses = {
            "quantized": mean_square(quantized, values),
            "codebook": mean_square(hard, values.detach()),
            "commitment": self.commitment * mean_square(hard.detach(), values),
        }
        if self.entropy and len(values):
            chances = (scores / self.temperature).log_softmax(1)
            each = -(chances.exp() * chances).sum(1).mean()
            mean = chances.exp().mean(0)
            losses["entropy"] = self.entropy * (each + torch.special.xlogy(mean, mean).sum())
        return quantized, index, losses

    def _codes(self, values: Tensor) -> Tensor:
        return nearest(values, self.weight, by="product")[:, None]

    def _vectors(self, codes: Tensor) -> Tensor:
        return self.weight[codes[:, 0]]
