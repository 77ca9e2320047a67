"""Configuration of the image codec."""

from typing import Any

from huggingface_hub.dataclasses import strict

from hf_tokext.models.blocks.codec_config import CodecConfig

AVERAGED = ("vq", "rvq", "pq", "additive")  # quantizers whose codes are moving averages


@strict
class ImageCodecConfig(CodecConfig):
    """A codec of images: patches and learned latents in, codes of the latents, patches out.

    It also takes what any config of transformers takes. The defaults suit small images and training without a GPU.

    Attributes:
        image_size: height and width of an image in pixels, or one number for both; other sizes that patches divide work
            too, and are learned if they are trained on.
        patch_size: side of a patch in pixels.
        num_channels: numbers of a pixel.
        num_latents: T, codes of each codebook that an image gets, whatever its size.
        latent_dim: numbers of a latent when it is quantized.
        quantizer_options: further arguments of the quantizer. Codes that are moving averages get {"decay": 0.9} if nothing
            else is said: an encoder that is trained from scratch runs away from slower ones, and codes fall idle.
        hidden_size: numbers of a patch or latent in the layers.
        intermediate_size: numbers inside a layer's perceptron.
        num_encoder_layers: layers from patches to latents.
        num_decoder_layers: layers from latents to patches.
        num_attention_heads: of every layer.
        absolute_weight: weight of the mean absolute error beside the mean squared error, which has weight 1.

    Raises:
        ValueError: sizes do not fit each other, or such a quantizer cannot be made.
    """

    model_type = "tokext_image_codec"

    image_size: int | list[int] | tuple[int, int] = 64
    patch_size: int = 8
    num_channels: int = 3
    num_latents: int = 32
    latent_dim: int = 8
    hidden_size: int = 128
    intermediate_size: int = 512
    num_encoder_layers: int = 3
    num_decoder_layers: int = 5
    num_attention_heads: int = 4
    absolute_weight: float = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        """Say how fast codes follow."""
        if self.quantizer in AVERAGED:
            self.quantizer_options = {"decay": 0.9, **(self.quantizer_options or {})}
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit each other."""
        size = self.image_size
        if not isinstance(size, int) and len(size) != 2:
            raise ValueError(f"image_size is one number, or height and width; not {size}")
        counts = ("patch_size", "num_channels", "num_latents", "latent_dim", "hidden_size", "intermediate_size")
        depths = ("num_encoder_layers", "num_decoder_layers", "num_attention_heads")
        for name in (*counts, *depths):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if any(side < 1 or side % self.patch_size for side in self.height_width):
            raise ValueError(f"patches of {self.patch_size} pixels do not divide image_size={size}")
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 4:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of 4 and of num_attention_heads={self.num_attention_heads}"
            )
        if self.absolute_weight < 0:
            raise ValueError(f"absolute_weight must not be negative, not {self.absolute_weight}")
        super().validate_architecture()

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    def auto_classes(self) -> dict[str, str]:
        """Say which model belongs to the config.

        Returns:
            Name of the model class by the name of its Auto class.
        """
        return {"AutoModel": "ImageCodecModel"}
