"""The interface of every modality codec: values become codes, and codes become values again.

Whoever uses codecs, such as a language model that is taught their codes, knows them only through this file.
"""

from abc import abstractmethod
from dataclasses import dataclass
from math import log2
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hf_tokext.errors import CodecError, QuantizerError
from hf_tokext.evaluating import evaluating
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.quantizers import Quantizer


@dataclass
class CodecEncoding(ModelOutput):
    """What a codec makes of values.

    Attributes:
        codes: [B, codebooks, T] int64, 0 where masked; None for a continuous codec.
        mask: [B, T] bool, where something stands.
        latents: [B, T, d], the vectors that the codes stand for, which `decode_latents` takes.
    """

    codes: Tensor | None = None
    mask: Tensor | None = None
    latents: Tensor | None = None


@dataclass
class CodecOutput(ModelOutput):
    """What a codec gives in training.

    Attributes:
        loss: scalar, the weighted sum of `losses`.
        reconstruction: the input as it comes back, of its shape.
        codes: [B, codebooks, T] int64; None for a continuous codec.
        mask: [B, T] bool.
        latents: [B, T, d], the quantized vectors; where a codec learns, gradients pass through them to its encoder.
        losses: the weighted parts of the loss by name, detached.
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    codes: Tensor | None = None
    mask: Tensor | None = None
    latents: Tensor | None = None
    losses: dict[str, Tensor] | None = None


class ModalityCodec(InstalledCode, PreTrainedModel):
    """Base of the codecs. A family writes `_encode`, `decode_latents`, and a `forward` that says what loss is.

    Its constructor makes the layers, `self.quantizer` by `config.make_quantizer()`, and ends with `post_init()`. Its
    `forward` takes what the feature extractor or image processor gives, by those names, and `return_loss=True`: without
    that word `Trainer` finds no loss in evaluation.
    """

    modality: ClassVar[str]  # "image", "audio", "depth": what a space in a language model's vocabulary is called
    blind_to_padding: ClassVar[bool] = True  # whether values have the codes in a padded batch that they have alone
    _keep_in_fp32_modules_strict = {"quantizer"}  # noqa: RUF012 (transformers reads and replaces it)
    quantizer: Quantizer

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook; empty for a continuous codec."""
        return self.quantizer.sizes

    @property
    def is_continuous(self) -> bool:
        """Whether there are latents only, no codes."""
        return not self.quantizer.sizes

    @property
    def steps(self) -> int | None:
        """T, places that every value has; None where longer values have more."""
        return None

    @property
    def hop(self) -> int:
        """Samples a place, where longer values have more of them; 1 elsewhere."""
        return 1

    @property
    def bits_per_step(self) -> float:
        """Bits of the codes of one place in time, if all were equally likely; 0 for a continuous codec."""
        return sum(log2(size) for size in self.codebook_sizes)

    def encode(self, values: Tensor, mask: Tensor | None = None) -> CodecEncoding:
        """Turn values into codes; nothing is learned.

        Args:
            values: what `main_input_name` takes, in its shape.
            mask: which of the values are no padding, where a family knows padding.

        Returns:
            Codes, the mask of their places, and the vectors that they stand for.

        Raises:
            CodecError: the values have a shape that the codec cannot take.
            QuantizerError: a value is no finite number.
        """
        latents, places = self._encode(values, mask)
        if self.is_continuous:
            with evaluating(self.quantizer):  # the mean of what it draws in training
                return CodecEncoding(mask=places, latents=self.quantizer(latents, places).quantized)
        codes = self.quantizer.encode(latents, places)
        return CodecEncoding(codes=codes, mask=places, latents=self._vectors(codes))

    def decode(self, codes: Tensor, mask: Tensor | None = None, **how: Any) -> Tensor:
        """Turn codes into values.

        Args:
            codes: [B, codebooks, T] integers; only the first codebooks, where those alone mean something.
            mask: [B, T] bool, where something stands; None for everywhere.
            **how: what a family's `decode_latents` takes further, such as the size of an image.

        Returns:
            The values, in the shape that `encode` takes.

        Raises:
            CodecError: the codec is continuous, or the codes do not fit it.
        """
        if (
            not isinstance(codes, Tensor)
            or codes.is_floating_point()
            or codes.is_complex()
            or codes.dtype == torch.bool
        ):
            kind = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
            raise CodecError(f"codes are a tensor of integers [batch, codebooks, time], not {kind}")
        try:
            latents = self._vectors(codes)
        except QuantizerError as error:
            raise CodecError(f"{type(self).__name__} cannot decode: {error}") from error
        return self.decode_latents(latents, None if mask is None else mask.to(latents.device), **how)

    def shares(self, books: Tensor, codes: Tensor) -> Tensor:
        """Give the share that single codes have in the vectors they are part of: those of a place add up to its vector.

        Args:
            books: [N], which codebook each code is of.
            codes: [N] codes.

        Returns:
            [N, d] float32; where codes are learned by gradient, it reaches them.

        Raises:
            CodecError: the codec is continuous.
            QuantizerError: a code is past its codebook.
        """
        if self.is_continuous:
            raise CodecError(f"{type(self).__name__} is continuous: it has no codes")
        count = len(self.codebook_sizes)
        alone = codes.new_zeros(len(codes), count, 1)
        alone[torch.arange(len(codes)), books, 0] = codes
        origin = self._vectors(codes.new_zeros(1, count, 1))[0]
        return (self._vectors(alone)[:, 0] - origin * (1 - 1 / count)).float()

    @abstractmethod
    def decode_latents(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Turn vectors into values.

        Args:
            latents: [B, T, d].
            mask: [B, T] bool; None for all.

        Returns:
            The values, in the shape that `encode` takes.

        Raises:
            CodecError: the shape does not fit.
        """

    @abstractmethod
    def _encode(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vectors before quantization, [B, T, d], and the mask of their places, [B, T]."""

    def _vectors(self, codes: Tensor) -> Tensor:
        return self.quantizer.decode(codes.to(self.device)).to(self.dtype)

    def _init_weights(self, module: nn.Module) -> None:
        """Draw what a new module has; what was loaded is left alone."""
        if isinstance(module, Quantizer):
            module.reset_parameters()
        elif not any(module is part for part in self.quantizer.modules()):  # those belong to the quantizer
            super()._init_weights(module)
