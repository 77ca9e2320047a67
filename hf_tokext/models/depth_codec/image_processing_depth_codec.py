"""Depth maps of all kinds become what the depth codec takes, and what it gives becomes depth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.image_processing_base import BatchFeature, ImageProcessingMixin
from transformers.image_processing_utils import BaseImageProcessor

from hf_tokext.errors import CodecError
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.registry import name_classes

DEEP = ("L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # pictures of which the numbers are depth


class DepthCodecImageProcessor(InstalledCode, BaseImageProcessor):
    """Brings depth maps to one size and to 0 to 1; `post_process` brings them back.

    A map is an array, a tensor or a one-channel PIL image, [height, width] or [1, height, width], of any unit: metres, or
    the disparity of a stereo pair. What is infinite, NaN or not above zero is not known, and says so in the mask.

    Args:
        size: height and width as {"height": h, "width": w}, or one number for both; 320.
        depth_range: nearest and farthest depth, which become 0 and 1; what lies outside becomes the nearer of them. None
            takes them from every map by itself: relative depth, as the estimators of depth give it.
        **kwargs: what image processors of transformers take further.

    Raises:
        CodecError: something is no depth map, or has no depth that is known; or the arguments are impossible.
    """

    model_input_names = ["pixel_values", "pixel_mask"]  # noqa: RUF012 (transformers' own form)

    def __init__(
        self,
        size: int | dict[str, int] = 320,
        depth_range: tuple[float, float] | list[float] | None = None,
        **kwargs: Any,
    ) -> None:
        ImageProcessingMixin.__init__(self, **kwargs)  # the base class would prepare pictures in colour
        self.size = {"height": size, "width": size} if isinstance(size, int) else dict(size)
        if set(self.size) != {"height", "width"} or min(self.size.values()) < 1:
            raise CodecError(f"size is one number, or height and width in pixels, not {size}")
        self.depth_range = None if depth_range is None else [float(each) for each in depth_range]
        if self.depth_range is not None and not (
            len(self.depth_range) == 2 and self.depth_range[0] < self.depth_range[1]
        ):
            raise CodecError(f"depth_range is the nearest and the farthest depth, not {depth_range}")

    def preprocess(self, images: Any, return_tensors: str | None = "pt", **kwargs: Any) -> BatchFeature:  # type: ignore[override]
        """Prepare depth maps.

        Args:
            images: one map, or a list or batch of them.
            return_tensors: "pt", or "np" for arrays.
            **kwargs: not used; upstream's processors have more to say.

        Returns:
            `pixel_values` [B, 1, height, width] float32 in 0 to 1, 0 where depth is not known; `pixel_mask` [B, height,
            width] bool, where it is; `depth_range` [B, 2] float32, what 0 and 1 stand for.

        Raises:
            CodecError: see the class.
        """
        found = [self._prepared(each) for each in _each(images)]
        if not found:
            raise CodecError("there is no depth map; give at least one")
        values, masks, ranges = (torch.stack(parts) for parts in zip(*found, strict=True))
        data = {"pixel_values": values[:, None], "pixel_mask": masks, "depth_range": ranges}
        return BatchFeature(data, tensor_type=return_tensors)

    def post_process(self, pixel_values: Tensor, depth_range: Tensor | None = None) -> list[np.ndarray]:
        """Turn what the codec gives into depth.

        Args:
            pixel_values: [B, 1, height, width].
            depth_range: [B, 2], what 0 and 1 stand for; None takes that of the processor, or else leaves 0 to 1.

        Returns:
            [height, width] float32 of each map, in the unit of the range.
        """
        values = torch.as_tensor(pixel_values).detach().float().cpu().clamp(0, 1)[:, 0]
        if depth_range is None:
            depth_range = torch.tensor([self.depth_range or [0.0, 1.0]]).expand(len(values), 2)
        low, high = torch.as_tensor(depth_range).float().cpu()[:, :, None, None].unbind(1)
        return list((low + values * (high - low)).numpy())

    def to_json_file(self, json_file_path: Any) -> None:
        """Write preprocessor_config.json, and name the installed class in it.

        Args:
            json_file_path: the file.
        """
        super().to_json_file(json_file_path)
        if type(self) is DepthCodecImageProcessor:
            name_classes(Path(json_file_path), "hf_tokext", {"AutoImageProcessor": type(self).__name__})

    def _prepared(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of [h, w]: values and mask of the size wanted, and the range."""
        known = torch.isfinite(depth) & (depth > 0)
        if not bool(known.any()):
            raise CodecError(
                f"a depth map of {list(depth.shape)} pixels has no depth above zero; depth is in a unit of length, or "
                "disparity, and zero, NaN and infinity mean that it is not known"
            )
        low, high = self.depth_range or (float(depth[known].min()), float(depth[known].max()))
        scaled = ((depth - low) / max(high - low, 1e-12)).clamp(0, 1).masked_fill(~known, 0)
        size = (self.size["height"], self.size["width"])
        if tuple(depth.shape) == size:
            share = known.float()
        else:  # a mean over what is known: what is not must not become an edge
            both = torch.stack([scaled, known.float()])[None]
            total, share = interpolate(both, size, mode="bilinear", antialias=True)[0]
            scaled = torch.where(share > 0, total / share.clamp(min=1e-6), 0).clamp(0, 1)
        mask = share >= 0.5
        return scaled.masked_fill(~mask, 0), mask, torch.tensor([low, high])


def _each(images: Any) -> Iterator[Tensor]:
    if isinstance(images, (list, tuple)):
        for image in images:
            yield from _each(image)
        return
    if isinstance(images, Tensor):
        values = images.detach().cpu()
    else:
        if getattr(images, "mode", "L") not in DEEP:
            raise CodecError(f"a picture of mode {images.mode} is no depth map: its numbers are colours")
        try:
            given = np.asarray(images)
        except (OSError, SyntaxError) as error:  # Pillow reads a file when it is asked for pixels
            raise CodecError(f"a picture cannot be read: {error}") from error
        if given.dtype.kind not in "fiu":
            raise CodecError(f"{type(images).__name__} of {given.dtype} is no depth map; give arrays of real numbers")
        values = torch.from_numpy(given.astype(np.float32))  # whatever its order of bytes is
    if values.is_complex() or values.dtype == torch.bool:
        raise CodecError(f"depth is made of real numbers, not {values.dtype}")
    values = values.float()
    if values.dim() == 4 and values.shape[1] == 1:
        yield from values[:, 0]
    elif values.dim() == 3 and values.shape[0] == 1:
        yield values[0]
    elif values.dim() == 2 and values.numel():
        yield values
    else:
        raise CodecError(
            f"a depth map has the shape [height, width] or [1, height, width], and a batch [batch, 1, height, width]; this "
            f"has {list(values.shape)}, as pictures in colour have"
        )
