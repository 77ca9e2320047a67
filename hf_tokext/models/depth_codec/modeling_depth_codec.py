"""A convolutional codec of depth maps."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization
from transformers.modeling_layers import GradientCheckpointingLayer

from hf_tokext.errors import CodecError
from hf_tokext.models.codec import CodecOutput, ModalityCodec
from hf_tokext.models.depth_codec.configuration_depth_codec import DepthCodecConfig


class ResidualBlock(GradientCheckpointingLayer):
    """Three convolutions beside a shortcut.

    Args:
        size: channels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(size, size, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(size, size, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(size, size, 1),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Add what the convolutions find.

        Args:
            hidden: [B, size, h, w].

        Returns:
            The same shape.
        """
        return hidden + self.layers(hidden)


class DepthCodecModel(ModalityCodec):
    """Steps of strided convolutions and residual blocks, one code a place, and the same backwards.

    Args:
        config: its sizes and quantizer.

    Source: Bigverdi et al., Perception Tokens Enhance Visual Reasoning in Multimodal Language Models (arXiv 2412.03548),
        section 3.1; the layers are those of its code.
    """

    config_class = DepthCodecConfig
    main_input_name = "pixel_values"
    modality = "depth"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ResidualBlock"]  # noqa: RUF012 (transformers reads it)
    config: DepthCodecConfig

    def __init__(self, config: DepthCodecConfig) -> None:
        super().__init__(config)
        sizes, lowest = list(config.hidden_sizes), config.hidden_sizes[-1]
        down = [layer for pair in pairwise([1, *sizes]) for layer in (nn.Conv2d(*pair, 4, 2, 1), nn.ReLU())]
        blocks = [[ResidualBlock(lowest) for _ in range(config.num_residual_blocks)] for _ in range(2)]
        self.encoder = nn.Sequential(*down, *blocks[0], nn.Conv2d(lowest, config.latent_dim, 1))
        self.quantizer = config.make_quantizer()
        up = [
            layer
            for pair in pairwise([*sizes[::-1], sizes[0]])
            for layer in (nn.ConvTranspose2d(*pair, 4, 2, 1), nn.ReLU())
        ]
        self.decoder = nn.Sequential(
            nn.Conv2d(config.latent_dim, lowest, 1), *blocks[1], *up, nn.Conv2d(sizes[0], 1, 1)
        )
        self.post_init()

    @property
    def steps(self) -> int:
        """Places of a depth map of the config's size."""
        rows, columns = self._grid(*self.config.height_width)
        return rows * columns

    def forward(
        self, pixel_values: Tensor, pixel_mask: Tensor | None = None, return_loss: bool = True, **kwargs: Any
    ) -> CodecOutput:
        """Send depth maps through the codec; in training mode the quantizer learns from them.

        Args:
            pixel_values: [B, 1, height, width] of one size, in 0 to 1, as the image processor gives them.
            pixel_mask: [B, height, width] bool, where depth is known; None for everywhere. What is not known counts as 0
                on the way in, and has no share in the loss.
            return_loss: taken for `Trainer`, which looks for it; there always is a loss.
            **kwargs: not used; `Trainer` passes some.

        Returns:
            The loss (mean squared error and the quantizer's), the maps as they come back, codes, and the losses.

        Raises:
            CodecError: the shape does not fit.
            QuantizerError: a value is no finite number.
        """
        latents, mask = self._encode(pixel_values, pixel_mask)
        found = self.quantizer(latents)
        height, width = pixel_values.shape[2:]
        reconstruction = self.decode_latents(found.quantized, size=(height, width))
        apart = (reconstruction.float() - self._known(pixel_values, pixel_mask).float().to(reconstruction.device))[:, 0]
        known = torch.ones_like(apart) if pixel_mask is None else pixel_mask.to(apart)
        losses = {"squared": (apart.square() * known).sum() / known.sum().clamp(min=1), **found.losses}
        return CodecOutput(
            loss=torch.stack([part.to(apart.device) for part in losses.values()]).sum(),
            reconstruction=reconstruction,
            codes=found.codes,
            mask=mask,
            latents=found.quantized,
            losses={name: part.detach() for name, part in losses.items()},
        )

    def decode_latents(
        self, latents: Tensor, mask: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Turn vectors into depth maps.

        Args:
            latents: [B, T, d], row by row.
            mask: not used; there is depth everywhere.
            size: height and width in pixels; None for the config's.

        Returns:
            [B, 1, height, width], around 0 to 1.

        Raises:
            CodecError: the shape does not fit, or the steps do not divide the size.
        """
        rows, columns = self._grid(*(size or self.config.height_width))
        dim = self.config.latent_dim
        if latents.dim() != 3 or list(latents.shape[1:]) != [rows * columns, dim]:
            raise CodecError(
                f"depth of {rows * self.config.stride} x {columns * self.config.stride} pixels has latents [batch, "
                f"{rows * columns}, {dim}], not {list(latents.shape)}; say the size that was encoded"
            )
        return self.decoder(latents.to(self.dtype).transpose(1, 2).reshape(len(latents), dim, rows, columns))

    def _encode(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if values.dim() != 4 or values.shape[1] != 1 or not len(values):
            raise CodecError(
                f"depth must have the shape [batch, 1, height, width] with at least one map, not {list(values.shape)}; "
                "DepthCodecImageProcessor makes such a batch"
            )
        self._grid(*values.shape[2:])
        latents = self.encoder(self._known(values, mask).to(self.dtype)).flatten(2).transpose(1, 2)
        return latents, torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)

    def _known(self, values: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return values
        if mask.shape != (len(values), *values.shape[2:]):
            raise CodecError(
                f"the mask must have the shape {[len(values), *values.shape[2:]]}, as the maps have without their "
                f"channel, not {list(mask.shape)}"
            )
        return values.masked_fill(~mask[:, None].bool(), 0)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        stride = self.config.stride
        if height < stride or width < stride or height % stride or width % stride:
            raise CodecError(
                f"height {height} and width {width} must be multiples of {stride}; resize the map, as "
                "DepthCodecImageProcessor does"
            )
        return height // stride, width // stride

    def _init_weights(self, module: nn.Module) -> None:
        """Draw convolutions as torch does: a normal distribution of 0.02 would shrink what passes many of them."""
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            initialization.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                initialization.zeros_(module.bias)
        else:
            super()._init_weights(module)
