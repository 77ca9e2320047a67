"""Whatever holds an image, as red, green and blue."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_tokext.errors import CodecError, MissingExtraError

TOLERANCE = 1e-3  # by which a float may pass 0 or 1, as resizing makes it do
CHANNELS = (1, 3, 4)
Floats = np.ndarray[Any, Any]


def pillow() -> Any:
    """Import PIL's module of images.

    Returns:
        The module.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", "vision", "reading and resizing images") from error
    return Image


def each(images: Any) -> Iterator[Any]:
    """Take lists and batches apart.

    Args:
        images: an image, or a list, tuple or batch [B, ., ., .] of such.

    Yields:
        PIL images, and arrays with two or three axes.

    Raises:
        CodecError: there is something else.
    """
    if isinstance(images, (list, tuple)):
        for image in images:
            yield from each(image)
    elif isinstance(images, (str, Path)):
        yield read_image(images)
    elif isinstance(images, (np.ndarray, torch.Tensor)):
        if images.ndim == 4:
            yield from images
        elif images.ndim in (2, 3):
            yield images
        else:
            raise CodecError(
                f"an image has the shape [height, width], [height, width, channels] or [channels, height, width], and a "
                f"batch one axis more; this one has {list(images.shape)}"
            )
    elif isinstance(images, pillow().Image):
        yield images
    else:
        raise CodecError(
            f"{type(images).__name__} is no image; give PIL images, arrays, tensors, paths of files, or lists of them"
        )


def read_image(path: str | Path) -> Any:
    """Read an image from a file, and turn it upright.

    Args:
        path: the file; of several images in it the first counts.

    Returns:
        A PIL image.

    Raises:
        CodecError: it cannot be read.
        MissingExtraError: Pillow is not installed.
    """
    image = pillow()
    try:
        with image.open(path) as found:
            return _upright(found)
    except Exception as error:  # Pillow raises more than OSError, such as ValueError of a PNG with much text
        raise CodecError(f"{path} cannot be read as an image: {str(error) or type(error).__name__}") from error


def bytes_of(image: Any, channels_last: bool | None = None) -> Floats:
    """Bring an image to red, green and blue in 0 to 255, not rounded. What is transparent lies on white.

    Args:
        image: a PIL image of any mode, or an array as `each` gives it: bool, uint8, uint16, whole numbers in 0 to 255, or
            floats in 0 to 1, with 1, 3 or 4 channels.
        channels_last: of an array with three axes; None to tell by their lengths.

    Returns:
        [3, height, width].

    Raises:
        CodecError: there are no pixels, a number is not finite or out of its range, or there are other channels.
    """
    if isinstance(image, (np.ndarray, torch.Tensor)):
        return _opaque(_first(_levels(_array(image)), channels_last))
    try:
        image = _upright(image)
    except Exception as error:  # Pillow reads a file when it is asked for pixels; see `read_image`
        raise CodecError(f"an image cannot be read: {str(error) or type(error).__name__}") from error
    if not image.width or not image.height:
        raise CodecError("the image has no pixels; look at what made it")
    if image.mode == "F":
        return _opaque(_levels(np.asarray(image))[None])
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if int(values.min()) < 0 or int(values.max()) > 65535:
            raise CodecError(
                f"an image of 32-bit whole numbers must lie in 0 to 65535, not {values.min()} to {values.max()}; scale it"
            )
        return _opaque(_levels(values.astype(np.uint16))[None])
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return _opaque(np.asarray(image.convert(mode), np.float32).transpose(2, 0, 1))


def _upright(image: Any) -> Any:
    """A copy; a camera that was held upright says so beside the image."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _array(image: Any) -> Any:
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    if not image.size:
        raise CodecError(f"an image of the shape {list(image.shape)} has no pixels; look at what made it")
    return image


def _levels(values: Any) -> Floats:
    """Numbers of an array in 0 to 255."""
    kind = values.dtype.kind
    if kind == "b":
        return values.astype(np.float32) * 255
    if kind == "f":
        if not np.isfinite(values).all():
            raise CodecError("an image holds NaN or infinity; look at what made it")
        low, high = float(values.min()), float(values.max())
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise CodecError(
                f"floats of an image must lie in 0 to 1, not {low:.4g} to {high:.4g}; divide values in 0 to 255 by 255, "
                "and leave values in -1 to 1 as they are: the model takes them without a processor"
            )
        return values.astype(np.float32).clip(0, 1) * 255
    if kind == "u" and values.dtype.itemsize == 2:
        return values.astype(np.float32) / 257
    if kind in "iu":
        if values.dtype != np.uint8 and (int(values.min()) < 0 or int(values.max()) > 255):
            raise CodecError(
                f"whole numbers of an image must lie in 0 to 255, not {values.min()} to {values.max()}; make 16-bit images "
                "uint16"
            )
        return values.astype(np.float32)
    raise CodecError(f"an image cannot be made of {values.dtype}; give uint8, uint16 or floats in 0 to 1")


def _first(values: Floats, channels_last: bool | None) -> Floats:
    """The channels first."""
    if values.ndim == 2:
        return values[None]
    counts = (values.shape[0], values.shape[2])
    last = channels_last if channels_last is not None else counts[0] not in CHANNELS
    if counts[int(last)] not in CHANNELS:
        raise CodecError(
            f"an image of the shape {list(values.shape)} has no axis of 1, 3 or 4 channels where it should be; give "
            "[height, width, channels] or [channels, height, width]"
        )
    return np.moveaxis(values, 2, 0) if last else values


def _opaque(values: Floats) -> Floats:
    """Three channels, over white where there is a fourth that says how much is seen."""
    if len(values) == 4:
        seen = values[3:] / 255
        values = values[:3] * seen + 255 * (1 - seen)
    return np.ascontiguousarray(np.broadcast_to(values, (3, *values.shape[1:])), np.float32)
