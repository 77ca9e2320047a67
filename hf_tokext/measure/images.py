"""How near images are to what they should be."""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from hf_tokext.errors import CodecError

WINDOW, SPREAD = 11, 1.5  # pixels of the window in which images are compared, and deviation of its weights
STEADY = (0.01, 0.03)  # K1 and K2


def psnr(images: Tensor, references: Tensor, peak: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of each image: 10 log10(peak^2 / mean squared error), over all its numbers.

    Args:
        images: [B, channels, height, width].
        references: the same shape.
        peak: the largest value less the smallest that a number can have: 1 for 0 to 1, 2 for -1 to 1, 255 for bytes.

    Returns:
        [B] float64, in decibels; infinite where an image is its reference.

    Raises:
        CodecError: shapes differ or are none of images, there is no image, a number is not finite, or the peak is not
            positive.
    """
    images, references = _checked(images, references, peak, 1)
    return 10 * torch.log10(peak**2 / (images - references).square().flatten(1).mean(1))


def ssim(images: Tensor, references: Tensor, peak: float = 1.0) -> Tensor:
    """Structural similarity of each image: means, variances and covariance in windows, a mean over places and channels.

    Windows are Gaussian, 11 pixels wide, and lie wholly inside the image.

    Args:
        images: [B, channels, height, width], at least 11 x 11 pixels.
        references: the same shape.
        peak: as for `psnr`.

    Returns:
        [B] float64, 1 where an image is its reference, less elsewhere.

    Raises:
        CodecError: as for `psnr`, or images are smaller than the window.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004), equation 13 and
        section III.C.
    """
    images, references = _checked(images, references, peak, WINDOW)
    place = torch.arange(WINDOW, dtype=torch.float64, device=images.device) - WINDOW // 2
    weights = torch.exp(-place.square() / (2 * SPREAD**2))
    weights = weights / weights.sum()

    def local(values: Tensor) -> Tensor:
        flat = values.flatten(0, 1)[:, None]
        return conv2d(conv2d(flat, weights[None, None, :, None]), weights[None, None, None, :])

    one, other = local(images), local(references)
    variance, other_variance = (
        local(values.square()) - mean.square() for values, mean in ((images, one), (references, other))
    )
    both = local(images * references) - one * other
    first, second = ((factor * peak) ** 2 for factor in STEADY)
    found = (2 * one * other + first) * (2 * both + second)
    found = found / ((one.square() + other.square() + first) * (variance + other_variance + second))
    return found.reshape(len(images), -1).mean(1)


def _checked(images: Tensor, references: Tensor, peak: float, smallest: int) -> tuple[Tensor, Tensor]:
    shape = list(images.shape)
    if len(shape) != 4 or shape != list(references.shape):
        raise CodecError(
            f"images and references must have one shape [batch, channels, height, width], not {shape} and "
            f"{list(references.shape)}"
        )
    if not images.numel() or min(shape[2:]) < smallest:
        raise CodecError(
            f"at least one image of {smallest} x {smallest} pixels is needed; the shape is {list(images.shape)}"
        )
    if not (math.isfinite(peak) and peak > 0):
        raise CodecError(f"the peak is the range of the values, such as 1 or 255, not {peak}")
    if not bool(torch.isfinite(images).all() & torch.isfinite(references).all()):
        raise CodecError("an image holds NaN or infinity; look at what made it")
    return images.detach().double(), references.detach().to(images.device).double()
