"""What every quantizer is: vectors in, codes and vectors out."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from transformers import initialization
from transformers.utils import ModelOutput

from hf_tokext.errors import QuantizerError
from hf_tokext.quantizers.usage import Usage, usage

Parts = tuple[Tensor, Tensor | None, dict[str, Tensor]]  # quantized, codes, losses


@dataclass
class QuantizerOutput(ModelOutput):
    """What a quantizer gives.

    Attributes:
        quantized: [B, T, d], of the input's dtype; gradients pass straight through. 0 where masked.
        codes: [B, codebooks, T] int64; None for a continuous quantizer. 0 where masked.
        loss: scalar, the weighted sum of `losses`.
        losses: the parts of it by name.
    """

    quantized: Tensor | None = None
    codes: Tensor | None = None
    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None


class Quantizer(nn.Module, ABC):
    """Turns vectors into codes and back.

    It computes in float32 whatever autocast says, and stays in float32 when its model is cast: a codebook in bfloat16
    gives other codes. A `PreTrainedModel` that holds one calls `reset_parameters` in `_init_weights`, and lists it in
    `_keep_in_fp32_modules_strict`.

    Args:
        dim: d, numbers of a vector outside.
        sizes: number of codes of each codebook; none for a continuous quantizer.
        inner: numbers of a vector inside; linear layers lead there and back where it is not d.

    Raises:
        QuantizerError: a size is not positive.
    """

    def __init__(self, dim: int, sizes: tuple[int, ...], inner: int) -> None:
        super().__init__()
        if min((dim, inner, *sizes)) < 1:
            raise QuantizerError(f"sizes must be positive, not dim={dim}, inside {inner}, codes {sizes}")
        self.dim, self.sizes, self.inner = dim, sizes, inner
        self.project_in = nn.Linear(dim, inner) if inner != dim else nn.Identity()
        self.project_out = nn.Linear(inner, dim) if inner != dim else nn.Identity()
        self._counts: list[Tensor] = []  # no buffers: they are of an epoch, not of a checkpoint

    @property
    def codebooks(self) -> int:
        """Number of codes a vector."""
        return len(self.sizes)

    def forward(self, values: Tensor, mask: Tensor | None = None) -> QuantizerOutput:
        """Quantize, and learn from what was seen in training mode.

        Args:
            values: [B, T, d].
            mask: [B, T] bool, what is to be quantized; None for all.

        Returns:
            The quantized vectors, codes and losses.

        Raises:
            QuantizerError: shapes do not fit, or a value is no finite number.
        """
        flat, place = self._flat(values, mask)
        with torch.autocast(values.device.type, enabled=False):
            inner = self.project_in(flat)
            quantized, codes, losses = self._quantize(inner)
            outer = self.project_out(quantized)
        loss = sum(losses.values(), start=values.new_zeros((), dtype=torch.float32))
        if codes is not None:
            self._count(codes)
        return QuantizerOutput(
            quantized=place(outer).to(values.dtype),
            codes=place(codes).transpose(1, 2) if codes is not None else None,
            loss=loss,
            losses=losses,
        )

    @torch.no_grad()
    def encode(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Give the codes of vectors; nothing is learned or counted.

        Args:
            values: [B, T, d].
            mask: [B, T] bool, what is to be quantized; None for all.

        Returns:
            [B, codebooks, T] int64, 0 where masked.

        Raises:
            QuantizerError: shapes do not fit, a value is no finite number, or there are no codes.
        """
        if not self.sizes:
            raise self._continuous()
        flat, place = self._flat(values, mask)
        with torch.autocast(values.device.type, enabled=False):
            return place(self._codes(self.project_in(flat))).transpose(1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        """Give the vectors of codes.

        Args:
            codes: [B, codebooks, T] integers; fewer codebooks than there are where the first ones alone mean something.

        Returns:
            [B, T, d] float32.

        Raises:
            QuantizerError: the shape does not fit, or a code is past its codebook.
        """
        given = codes.shape[1] if codes.dim() == 3 else 0
        if not self.sizes:
            raise self._continuous()
        if not 0 < given <= self.codebooks or (given < self.codebooks and not self.nested):
            raise QuantizerError(f"codes must have the shape [batch, {self.codebooks}, time], not {list(codes.shape)}")
        for number, size in enumerate(self.sizes[:given]):
            part = codes[:, number]
            if part.numel() and (int(part.min()) < 0 or int(part.max()) >= size):
                raise QuantizerError(
                    f"codebook {number} has the codes 0 to {size - 1}, and {int(part.min())} to {int(part.max())} were given"
                )
        flat = codes.long().transpose(1, 2).reshape(-1, given)
        with torch.autocast(codes.device.type, enabled=False):
            outer = self.project_out(self._vectors(flat))
        return outer.reshape(codes.shape[0], codes.shape[2], self.dim)

    def usage(self) -> list[Usage]:
        """Say how evenly codes were used since the last `reset_usage`, by what went through `forward`.

        Returns:
            One a codebook; none before anything did.
        """
        return [usage(counts.cpu()) for counts in self._counts]

    def reset_usage(self) -> None:
        """Begin to count anew."""
        self._counts = []

    def reset_parameters(self) -> None:
        """Draw parameters and fill buffers as a new quantizer has them; what transformers has loaded is left alone."""
        for layer in (self.project_in, self.project_out):
            if isinstance(layer, nn.Linear):
                initialization.xavier_uniform_(layer.weight)
                initialization.zeros_(layer.bias)

    nested = False  # whether the first codebooks alone mean something

    @abstractmethod
    def _quantize(self, values: Tensor) -> Parts:
        """Of [N, inner]: the quantized ones with gradient, codes [N, codebooks], losses. Learns in training mode."""

    def _codes(self, values: Tensor) -> Tensor:
        """Codes of [N, inner], [N, codebooks]."""
        raise self._continuous()

    def _vectors(self, codes: Tensor) -> Tensor:
        """Vectors of codes [N, codebooks], [N, inner]."""
        raise self._continuous()

    def _continuous(self) -> QuantizerError:
        return QuantizerError(f"{type(self).__name__} is continuous: it has no codes")

    def _flat(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The vectors to be quantized, [N, d] float32, and a function that puts what belongs to them into [B, T, ...]."""
        if values.dim() != 3 or values.shape[2] != self.dim:
            raise QuantizerError(f"vectors must have the shape [batch, time, {self.dim}], not {list(values.shape)}")
        if mask is not None and (mask.shape != values.shape[:2] or mask.dtype != torch.bool):
            raise QuantizerError(
                f"the mask must be bool with the shape {list(values.shape[:2])}, not {mask.dtype} {list(mask.shape)}"
            )
        batch, time = values.shape[:2]
        flat = values.float().reshape(-1, self.dim) if mask is None else values[mask].float()
        if not bool(torch.isfinite(flat).all()):
            raise QuantizerError(
                "a vector holds NaN or infinity; look at the input, or at a learning rate that is too large"
            )

        def place(found: Tensor) -> Tensor:
            if mask is None:
                return found.reshape(batch, time, -1)
            whole = found.new_zeros(batch, time, found.shape[-1])
            return whole.masked_scatter(mask[..., None].expand_as(whole), found)

        return flat, place

    @torch.no_grad()
    def _count(self, codes: Tensor) -> None:
        new = [torch.bincount(codes[:, number], minlength=size) for number, size in enumerate(self.sizes)]
        self._counts = [old + more for old, more in zip(self._counts, new, strict=True)] if self._counts else new

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move with the model, but stay in float32."""

        def moved(tensor: Tensor) -> Tensor:
            found = fn(tensor)
            same = found.dtype == tensor.dtype or found.device.type == "meta" or tensor.device.type == "meta"
            return found if same else tensor.to(found.device)

        return super()._apply(moved, recurse)


def through(values: Tensor, quantized: Tensor) -> Tensor:
    """Pass gradients straight through a quantizer.

    Args:
        values: what was quantized.
        quantized: what it became.

    Returns:
        `quantized`, with the gradient going to `values`.

    Source: Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons (arXiv 1308.3432).
    """
    return values + (quantized - values).detach()


def mean_square(one: Tensor, other: Tensor) -> Tensor:
    """Mean of the squared differences.

    Args:
        one: [N, d].
        other: [N, d].

    Returns:
        A scalar, 0 where N is.
    """
    return mse_loss(one, other) if len(one) else one.sum() * 0
