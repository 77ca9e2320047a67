"""Quantization by signs: the code is a binary number, and there is no table at any size."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, logsigmoid, normalize

from hf_tokext.errors import QuantizerError
from hf_tokext.quantizers.base import Parts, Quantizer, mean_square, through

MOST_BITS = 62


class _Signs(Quantizer):
    """What both kinds share: signs, their code, and entropies that factorise over bits."""

    def __init__(
        self, dim: int, bits: int, commitment: float, entropy: float, diversity: float, temperature: float
    ) -> None:
        if not 0 < bits <= MOST_BITS:
            raise QuantizerError(f"a code has 1 to {MOST_BITS} bits, not {bits}")
        super().__init__(dim, (2**bits,), bits)
        self.commitment, self.entropy, self.diversity, self.temperature = commitment, entropy, diversity, temperature

    @abstractmethod
    def _shaped(self, values: Tensor) -> Tensor:
        """What signs are taken of, [N, bits]."""

    @abstractmethod
    def _length(self) -> float:
        """What a sign counts."""

    def _quantize(self, values: Tensor) -> Parts:
        values = self._shaped(values)
        positive = values > 0
        code = torch.where(positive, self._length(), -self._length())
        losses = {}
        if self.commitment:
            losses["commitment"] = self.commitment * mean_square(values, code)
        if self.entropy and self.training and len(values):
            logits = 4 * self.temperature * self._length() * values  # of a bit being 1, which are independent
            each = _entropy(logits).sum(1).mean()
            together = _entropy(torch.logit(logits.sigmoid().mean(0), eps=1e-6)).sum()
            losses["entropy"] = self.entropy * (each - self.diversity * together)
        return through(values, code), _number(positive)[:, None], losses

    def _codes(self, values: Tensor) -> Tensor:
        return _number(self._shaped(values) > 0)[:, None]

    def _vectors(self, codes: Tensor) -> Tensor:
        bits = codes >> torch.arange(self.inner, device=codes.device) & 1
        return torch.where(bits > 0, self._length(), -self._length())

    def _count(self, codes: Tensor) -> None:
        if self.inner <= 24:  # a table of counts is no larger than others' codebooks
            super()._count(codes)


class LFQ(_Signs):
    """Signs of normalised numbers.

    The entropy of each vector's bits is exact; that of the batch is the sum over bits, which is at least the true one.

    Args:
        dim: numbers of a vector outside.
        bits: of a code; there are 2 to the power of it.
        commitment: weight of the loss that draws numbers to their signs.
        entropy: weight of the entropy loss: sure of each vector, even over the batch.
        diversity: weight of evenness in it.
        temperature: larger is surer.

    Raises:
        QuantizerError: more bits than an id has.

    Source: Yu et al., Language Model Beats Diffusion: Tokenizer is Key to Visual Generation (arXiv 2310.05737), section 3.1
        and equation 7; the norm is what its users found it to need.
    """

    def __init__(
        self, dim: int, bits: int = 10, commitment: float = 0.25, entropy: float = 0.1, diversity: float = 1.0,
        temperature: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(dim, bits, commitment, entropy, diversity, temperature)

    def _shaped(self, values: Tensor) -> Tensor:
        return layer_norm(values, (self.inner,)) if self.inner > 1 else values

    def _length(self) -> float:
        return 1.0


class BSQ(_Signs):
    """Signs of a vector on the unit sphere; the error is bounded.

    Args:
        dim: numbers of a vector outside.
        bits: of a code; there are 2 to the power of it.
        commitment: weight of the loss that draws vectors to their codes.
        entropy: as for `LFQ`.
        diversity: as for `LFQ`.
        temperature: as for `LFQ`.

    Raises:
        QuantizerError: more bits than an id has.

    Source: Zhao et al., Image and Video Tokenization with Binary Spherical Quantization (arXiv 2406.07548), section 4.
    """

    def __init__(
        self, dim: int, bits: int = 10, commitment: float = 0.0, entropy: float = 0.1, diversity: float = 1.0,
        temperature: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(dim, bits, commitment, entropy, diversity, temperature)

    def _shaped(self, values: Tensor) -> Tensor:
        return normalize(values, dim=1)

    def _length(self) -> float:
        return self.inner**-0.5


def _number(bits: Tensor) -> Tensor:
    """The numbers that bits spell, [N] of [N, bits], the lowest first."""
    return (bits.long() << torch.arange(bits.shape[1], device=bits.device)).sum(1)


def _entropy(logits: Tensor) -> Tensor:
    """Entropy of bits, in nats."""
    return -(logits.sigmoid() * logsigmoid(logits) + (-logits).sigmoid() * logsigmoid(-logits))
