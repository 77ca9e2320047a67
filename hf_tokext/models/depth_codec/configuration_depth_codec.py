"""Configuration of the depth codec."""

from typing import Any

from huggingface_hub.dataclasses import strict

from hf_tokext.models.blocks.codec_config import CodecConfig


@strict
class DepthCodecConfig(CodecConfig):
    """A convolutional codec of depth maps; the defaults are those of AURORA: 100 tokens of 128 codes for 320 x 320 pixels.

    It also takes what any config of transformers takes.

    Attributes:
        image_size: height and width of a depth map in pixels, or one number for both: what `decode` gives unless it is
            told a size. The codec takes every size that its steps divide.
        hidden_sizes: channels after each step; a step halves height and width.
        num_residual_blocks: on each side, at the lowest resolution.
        latent_dim: d, numbers of a vector that is quantized.
        quantizer: its name, see `make_quantizer`.
        quantizer_options: further arguments of it; for "vq" 128 codes unless they say otherwise.

    Raises:
        ValueError: the sizes do not fit each other, or such a quantizer cannot be made.

    Source: Bigverdi et al., Perception Tokens Enhance Visual Reasoning in Multimodal Language Models (arXiv 2412.03548),
        and its code.
    """

    model_type = "tokext_depth_codec"

    image_size: int | list[int] | tuple[int, int] = 320
    hidden_sizes: list[int] | tuple[int, ...] = (16, 32, 64, 128, 256)
    num_residual_blocks: int = 2
    latent_dim: int = 512

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in what the quantizer is made of."""
        if self.quantizer == "vq":
            self.quantizer_options = {"size": 128, **(self.quantizer_options or {})}
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit each other."""
        sizes = [*self.hidden_sizes, self.latent_dim]
        if not self.hidden_sizes or min(sizes) < 1 or self.num_residual_blocks < 0:
            raise ValueError(
                "hidden_sizes and latent_dim must be positive and num_residual_blocks not negative: "
                f"{list(self.hidden_sizes)}, {self.latent_dim}, {self.num_residual_blocks}"
            )
        given = self.image_size
        if (not isinstance(given, int) and len(given) != 2) or any(
            side < 1 or side % self.stride for side in self.height_width
        ):
            raise ValueError(
                f"image_size={given} must be one number or two, multiples of {self.stride}: the codec halves both "
                f"{len(self.hidden_sizes)} times"
            )
        super().validate_architecture()

    @property
    def stride(self) -> int:
        """Pixels in a row that share one code."""
        return 2 ** len(self.hidden_sizes)

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of a depth map in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    def auto_classes(self) -> dict[str, str]:
        """Say which model belongs to the config.

        Returns:
            Name of the model class by the name of its Auto class.
        """
        return {"AutoModel": "DepthCodecModel"}
