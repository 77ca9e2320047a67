"""What the codecs of sounds share: the shapes that they take, and the names by which upstream's codecs call things."""

from typing import Any

import torch
from torch import Tensor

from hf_tokext.errors import CodecError


class UpstreamNames:
    """The names that transformers' own audio codecs have for codes; goes before an output class."""

    codes: Tensor | None
    mask: Tensor | None

    @property
    def audio_codes(self) -> Tensor | None:
        """`codes`, [B, codebooks, T]."""
        return self.codes

    @property
    def audio_codes_mask(self) -> Tensor | None:
        """`mask`, [B, T]."""
        return self.mask


def as_waves(values: Any, mask: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Give sounds one shape.

    Args:
        values: [B, S] or [B, 1, S] real numbers.
        mask: [B, S] or [B, 1, S], 1 or True where there is sound, padding behind it; None for no padding.
        dtype: of the model.

    Returns:
        [B, 1, S] of that type, 0 where masked, and the mask as [B, S] bool, None where nothing is masked.

    Raises:
        CodecError: a shape does not fit, there is no sample, the values are integers, or padding stands before sound.
    """
    if not isinstance(values, Tensor) or values.dim() not in (2, 3):
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise CodecError(f"sounds must be a tensor [batch, samples] or [batch, 1, samples], not {shape}")
    if values.dim() == 3 and values.shape[1] != 1:
        raise CodecError(f"the codec is mono and got {values.shape[1]} channels; mix them, or encode each by itself")
    if not values.numel():
        raise CodecError(f"there is no sound in a tensor of the shape {list(values.shape)}; leave empty recordings out")
    if not values.is_floating_point():
        raise CodecError(
            f"samples must be real numbers in -1..1, not {values.dtype}; the feature extractor converts them"
        )
    waves = values.reshape(values.shape[0], 1, -1).to(dtype)
    if mask is None:
        return waves, None
    if not isinstance(mask, Tensor) or mask.shape not in (values.shape, (waves.shape[0], waves.shape[2])):
        shape = list(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise CodecError(f"padding_mask must be [{waves.shape[0]}, {waves.shape[2]}], not {shape}")
    mask = mask.reshape(waves.shape[0], -1).bool()
    if bool(mask.all()):
        return waves, None
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise CodecError("padding must stand behind the sound: padding_mask may not go from 0 back to 1")
    return waves.masked_fill(~mask[:, None], 0), mask


def places_of(waves: Tensor, mask: Tensor | None, hop: int) -> tuple[Tensor, Tensor]:
    """Pad sounds to whole places, and say which places hold sound.

    Args:
        waves: [B, 1, S].
        mask: [B, S] bool, or None.
        hop: samples a place.

    Returns:
        [B, 1, T * hop] and [B, T] bool.
    """
    missing = -waves.shape[-1] % hop
    waves = torch.nn.functional.pad(waves, (0, missing))
    if mask is None:
        return waves, torch.ones(waves.shape[0], waves.shape[-1] // hop, dtype=torch.bool, device=waves.device)
    return waves, torch.nn.functional.pad(mask, (0, missing)).unflatten(1, (-1, hop)).any(-1)
