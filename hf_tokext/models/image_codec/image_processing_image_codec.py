"""Images of all kinds become what the image codec takes, and what it gives becomes images; without torchvision."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_base import BatchFeature
from transformers.image_utils import ChannelDimension

from hf_tokext.errors import CodecError
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.models.image_codec.reading import Floats, bytes_of, each, pillow
from hf_tokext.registry import name_classes


class ImageCodecImageProcessor(InstalledCode, PilBackend):
    """Brings images to one size and to red, green and blue in -1 to 1; `post_process` brings them back.

    It takes PIL images of any mode, paths of files, arrays and tensors (bool, uint8, uint16, or floats in 0 to 1; channels
    first or last; with 1, 3 or 4 channels), lists and batches of them. What is transparent lies on white.

    Args:
        **kwargs: `size`, {"height": h, "width": w} or one number for both (64); `do_resize` to that size, which with
            `do_center_crop` is to the smallest that covers it, without distortion; `do_center_crop`, which cuts it out of
            the middle; `do_rescale`, by 255; `do_normalize` by `image_mean` and `image_std`, both 0.5; `resample`,
            PIL's number of the filter (3, bicubic). All are on by default, and may be given in a call too. Further
            ones are as for other image processors.

    Raises:
        CodecError: something is no image, has no pixels, holds NaN or numbers out of range, has other channels, is
            smaller than what is to be cut out of it, or images of several sizes are to be one tensor.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012 (transformers' own form)
    size = {"height": 64, "width": 64}  # noqa: RUF012
    image_mean = [0.5, 0.5, 0.5]  # noqa: RUF012
    image_std = [0.5, 0.5, 0.5]  # noqa: RUF012
    resample = 3
    do_resize = True
    do_center_crop = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("auto_map", None)  # of the folder it came from; `to_json_file` writes it anew
        super().__init__(**{**kwargs, "crop_size": kwargs.get("size", self.size)})

    def post_process(self, pixel_values: Any) -> list[Any]:
        """Make images of what the codec gives.

        Args:
            pixel_values: [B, 3, height, width], or one image [3, height, width].

        Returns:
            PIL images in RGB.

        Raises:
            CodecError: the shape does not fit, or a value is not finite.
        """
        values = torch.as_tensor(pixel_values).detach().float().cpu()
        values = values[None] if values.dim() == 3 else values
        if values.dim() != 4 or values.shape[1] != 3:
            raise CodecError(f"images to show have the shape [batch, 3, height, width], not {list(values.shape)}")
        if not bool(torch.isfinite(values).all()):
            raise CodecError("an image holds NaN or infinity; look at the model that made it")
        if self.do_normalize:
            mean, spread = (torch.tensor(each).view(3, 1, 1) for each in (self.image_mean, self.image_std))
            values = values * spread + mean
        values = values / self.rescale_factor if self.do_rescale else values
        whole = values.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        return [pillow().fromarray(image) for image in whole]

    def process_image(self, image: Any, input_data_format: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Bring one image to three channels in 0 to 255.

        Args:
            image: what the class takes.
            input_data_format: "channels_first" or "channels_last", for arrays of which the shape does not tell.
            **kwargs: not used.

        Returns:
            [3, height, width] float32.
        """
        last = None if input_data_format is None else ChannelDimension(input_data_format) == ChannelDimension.LAST
        return bytes_of(image, last)

    def resize(self, image: Any, size: Any, resample: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Resize without rounding.

        Args:
            image: [3, height, width] float32.
            size: with `height` and `width`.
            resample: PIL's number of the filter.
            **kwargs: not used.

        Returns:
            [3, height, width] float32; no number is outside of what the image had.
        """
        target, kind = (size.width, size.height), int(self.resample if resample is None else resample)
        found = np.stack([np.asarray(pillow().fromarray(channel).resize(target, kind)) for channel in image])
        return found.clip(image.min(), image.max())

    def to_json_file(self, json_file_path: Any) -> None:
        """Write preprocessor_config.json, and name the installed class in it.

        Args:
            json_file_path: the file.
        """
        super().to_json_file(json_file_path)
        if type(self) is ImageCodecImageProcessor:
            name_classes(Path(json_file_path), "hf_tokext", {"AutoImageProcessor": type(self).__name__})

    def _prepare_images_structure(self, images: Any, expected_ndims: int = 3) -> list[Any]:
        found = list(each(images))
        if not found:
            raise CodecError("there is no image; give at least one")
        return found

    def _preprocess(  # type: ignore[override]
        self, images: list[Any], size: Any, do_resize: bool, do_center_crop: bool, **kwargs: Any
    ) -> BatchFeature:
        found = [self._sized(image, size, do_resize, do_center_crop, kwargs.get("resample")) for image in images]
        shapes = {image.shape[1:] for image in found}
        if kwargs.get("return_tensors") is not None and len(shapes) > 1:
            several = ", ".join(f"{height} x {width}" for height, width in sorted(shapes)[:3])
            raise CodecError(f"images of several sizes ({several}) are no batch; leave do_resize and do_center_crop on")
        above: Any = super()
        return above._preprocess(found, do_resize=False, size=size, do_center_crop=False, **kwargs)

    def _sized(self, image: Floats, size: Any, do_resize: bool, do_center_crop: bool, resample: Any) -> Floats:
        height, width = image.shape[1:]
        if do_resize:
            share = max(size.height / height, size.width / width)
            cover = (max(round(height * share), size.height), max(round(width * share), size.width))
            target = cover if do_center_crop else (size.height, size.width)
            if target != (height, width):
                image = self.resize(image, type(size)(height=target[0], width=target[1]), resample)
        if do_center_crop:
            height, width = image.shape[1:]
            if height < size.height or width < size.width:
                raise CodecError(
                    f"{size.height} x {size.width} pixels cannot be cut out of {height} x {width}; leave do_resize on"
                )
            top, left = (height - size.height) // 2, (width - size.width) // 2
            image = image[:, top : top + size.height, left : left + size.width]
        return image
