"""What the configs of all codecs share; apart from the models, because configs are imported before models can be."""

from typing import Any, ClassVar

import torch
from huggingface_hub.dataclasses import strict

from hf_tokext.models.blocks.installed import InstalledConfig
from hf_tokext.quantizers import Quantizer, make_quantizer


@strict
class CodecConfig(InstalledConfig):
    """What the configs of all codecs share.

    Attributes:
        latent_dim: d, numbers of a vector that is quantized.
        quantizer: its name, see `make_quantizer`.
        quantizer_options: further arguments of it, such as {"size": 512}.

    Raises:
        ValueError: such a quantizer cannot be made.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = ["codes", "mask", "latents", "losses"]

    latent_dim: int = 64
    quantizer: str = "vq"
    quantizer_options: dict[str, Any] | None = None

    def validate_architecture(self) -> None:
        """Refuse a quantizer that cannot be made."""
        with torch.device("meta"):  # without memory
            self.make_quantizer()

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook; empty for a continuous codec."""
        with torch.device("meta"):
            return self.make_quantizer().sizes

    def make_quantizer(self) -> Quantizer:
        """Make the quantizer that the config describes.

        Returns:
            A new one.
        """
        return make_quantizer(self.quantizer, self.latent_dim, self.quantizer_options)
