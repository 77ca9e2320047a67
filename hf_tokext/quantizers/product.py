"""Vector quantization of the parts of a vector, each by itself."""

import torch
from torch import Tensor

from hf_tokext.errors import QuantizerError
from hf_tokext.quantizers.base import Parts, Quantizer, mean_square, through
from hf_tokext.quantizers.codebook import Codebooks


class ProductQuantizer(Quantizer):
    """A vector cut into equal parts, each the nearest of a codebook of its own.

    Args:
        dim: numbers of a vector outside.
        size: number of codes K of each codebook.
        codebooks: how many parts there are.
        inner: numbers of a whole vector inside; None for `dim`.
        decay: as for `VectorQuantizer`.
        cosine: compare directions only, of every part.
        commitment: weight of the loss that draws parts to their codes.
        dead_below: as for `Codebook`.
        seed: as for `Codebook`.

    Raises:
        QuantizerError: the vector does not divide into that many parts.

    Source: Jegou et al., Product Quantization for Nearest Neighbor Search (2011), equation 8; in tokenizers Ma et al.,
        UniTok (arXiv 2502.20321), section 3.2.
    """

    def __init__(
        self, dim: int, size: int = 512, codebooks: int = 4, inner: int | None = None, decay: float | None = 0.99,
        cosine: bool = False, commitment: float = 0.25, dead_below: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(dim, (size,) * codebooks, inner or dim)
        if self.inner % codebooks:
            raise QuantizerError(
                f"{self.inner} numbers do not divide into {codebooks} equal parts; set inner= to a multiple"
            )
        self.commitment = commitment
        self.parts = Codebooks(
            codebooks, size, self.inner // codebooks, seed, decay=decay, cosine=cosine, dead_below=dead_below
        )

    def reset_parameters(self) -> None:
        """As for every quantizer."""
        super().reset_parameters()
        self.parts.reset_parameters()

    def _quantize(self, values: Tensor) -> Parts:
        found, codes, shapes = [], [], []
        for part, piece in zip(self.parts, values.chunk(self.codebooks, 1), strict=True):
            shaped = part.shaped(piece)
            part.start(shaped)
            index = part.nearest(shaped)
            shapes.append(shaped)
            codes.append(part.lookup(index))
            found.append(index)
            part.learn(shaped, index)
        shaped, code = torch.cat(shapes, 1), torch.cat(codes, 1)
        losses = {"commitment": self.commitment * mean_square(shaped, code.detach())}
        if self.parts.first.decay is None:
            losses["codebook"] = mean_square(code, shaped.detach())
        return through(shaped, code), torch.stack(found, 1), losses

    def _codes(self, values: Tensor) -> Tensor:
        pieces = values.chunk(self.codebooks, 1)
        return torch.stack([part.nearest(part.shaped(each)) for part, each in zip(self.parts, pieces, strict=True)], 1)

    def _vectors(self, codes: Tensor) -> Tensor:
        return torch.cat([part.lookup(index) for part, index in zip(self.parts, codes.unbind(1), strict=True)], 1)
