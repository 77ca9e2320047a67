"""A codec of images without a grid: a short row of latents stands for all of an image."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization

from hf_tokext.errors import CodecError
from hf_tokext.models.blocks.transformer import Transformer, TransformerLayer, plane_positions
from hf_tokext.models.codec import CodecOutput, ModalityCodec
from hf_tokext.models.image_codec.configuration_image_codec import ImageCodecConfig

NEARNESS = 2.0  # length of a place's numbers: with 1, a latent begins with a blur of the patches around it


class ImageCodecModel(ModalityCodec):
    """Patches and learned latents go through a transformer; the latents are quantized; a second one gives the patches back.

    It trains from scratch, in one stage, by the error of pixels and the loss of the quantizer.

    Args:
        config: its sizes and quantizer.

    Source: Yu et al., An Image is Worth 32 Tokens for Reconstruction and Generation (arXiv 2406.07550), section 3.2; its
        first stage on the codes of a pretrained codec is left out.
    """

    config_class = ImageCodecConfig
    main_input_name = "pixel_values"
    modality = "image"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = [TransformerLayer.__name__]  # noqa: RUF012 (transformers reads it)
    config: ImageCodecConfig

    def __init__(self, config: ImageCodecConfig) -> None:
        super().__init__(config)
        numbers = config.num_channels * config.patch_size**2
        self.from_pixels = nn.Linear(numbers, config.hidden_size)
        self.asked = nn.Parameter(torch.empty(config.num_latents, config.hidden_size))  # latents before they see
        self.places = nn.Parameter(torch.empty(config.num_latents, config.hidden_size))  # where they stand
        self.encoder = Transformer(config, config.num_encoder_layers)
        self.to_latents = nn.Linear(config.hidden_size, config.latent_dim)
        self.quantizer = config.make_quantizer()
        self.from_latents = nn.Linear(config.latent_dim, config.hidden_size)
        self.told = nn.Parameter(torch.empty(config.num_latents, config.hidden_size))  # which latent it is
        self.blank = nn.Parameter(torch.empty(config.hidden_size))  # a patch before it is known
        self.decoder = Transformer(config, config.num_decoder_layers)
        self.to_pixels = nn.Linear(config.hidden_size, numbers)
        self.post_init()

    @property
    def steps(self) -> int:
        """Latents of an image."""
        return self.config.num_latents

    @property
    def bits_per_image(self) -> float:
        """Bits of the codes of one image, if all were equally likely; 0 for a continuous codec."""
        return self.config.num_latents * self.bits_per_step

    def forward(self, pixel_values: Tensor, return_loss: bool = True, **kwargs: Any) -> CodecOutput:
        """Send images through the codec; in training mode the quantizer learns from them.

        Args:
            pixel_values: [B, channels, height, width] of one size, around -1 to 1, as the image processor gives them.
            return_loss: taken for `Trainer`, which looks for it; there always is a loss.
            **kwargs: not used; `Trainer` passes some.

        Returns:
            The loss, the images as they come back, codes, and the parts of the loss.

        Raises:
            CodecError: the shape does not fit.
            QuantizerError: a value is no finite number.
        """
        latents, mask = self._encode(pixel_values, None)
        found = self.quantizer(latents)
        height, width = pixel_values.shape[2:]
        reconstruction = self.decode_latents(found.quantized, size=(height, width))
        apart = reconstruction.float() - pixel_values.to(reconstruction.device).float()
        losses = {"squared": apart.square().mean()}
        if self.config.absolute_weight:
            losses["absolute"] = self.config.absolute_weight * apart.abs().mean()
        losses |= found.losses
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
        """Turn vectors into images.

        Args:
            latents: [B, T, d], T as the config has it.
            mask: not used; every latent stands for something.
            size: height and width in pixels; None for the config's.

        Returns:
            [B, channels, height, width].

        Raises:
            CodecError: the shape does not fit, or patches do not divide the size.
        """
        expected = [self.config.num_latents, self.config.latent_dim]
        if latents.dim() != 3 or list(latents.shape[1:]) != expected:
            raise CodecError(f"an image has latents [batch, {expected[0]}, {expected[1]}], not {list(latents.shape)}")
        height, width = size or self.config.height_width
        rows, columns = self._grid(height, width)
        latents = self.from_latents(latents.to(self.dtype)) + self.told
        hidden = torch.cat([latents, self.blank.expand(len(latents), rows * columns, -1)], 1)
        places = torch.cat([self.places, self._positions(rows, columns, latents.device)])
        pixels = self.to_pixels(self.decoder(hidden, places)[:, self.config.num_latents :])
        side = self.config.patch_size
        blocks = pixels.reshape(len(latents), rows, columns, self.config.num_channels, side, side)
        return blocks.permute(0, 3, 1, 4, 2, 5).reshape(len(latents), self.config.num_channels, height, width)

    def _encode(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        channels, side = self.config.num_channels, self.config.patch_size
        if values.dim() != 4 or values.shape[1] != channels or not len(values):
            raise CodecError(
                f"images must have the shape [batch, {channels}, height, width] with at least one image, not "
                f"{list(values.shape)}; ImageCodecImageProcessor makes such a batch"
            )
        if mask is not None:
            raise CodecError("an image has no padding; leave the mask out, and bring images to one size")
        rows, columns = self._grid(*values.shape[2:])
        blocks = values.to(self.dtype).reshape(len(values), channels, rows, side, columns, side)
        patches = self.from_pixels(blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
        places = torch.cat([self.places, self._positions(rows, columns, patches.device)])
        hidden = torch.cat([self.asked.expand(len(values), -1, -1), patches], 1)
        latents = self.to_latents(self.encoder(hidden, places)[:, : self.config.num_latents])
        return latents, torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        side = self.config.patch_size
        if height < side or width < side or height % side or width % side:
            raise CodecError(
                f"patches of {side} pixels do not divide an image of height {height} and width {width}; resize or crop it to "
                f"multiples of {side}, as ImageCodecImageProcessor does"
            )
        return height // side, width // side

    def _positions(self, rows: int, columns: int, device: torch.device) -> Tensor:
        finest = max(self.config.height_width) // self.config.patch_size
        return NEARNESS * plane_positions(rows, columns, self.config.hidden_size, finest, device).to(self.dtype)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:  # the layers too: transformers passes over modules without parameters of their own
            self._begin()
            for layer in self.modules():
                if isinstance(layer, TransformerLayer):
                    layer.reset_parameters()

    def _begin(self) -> None:
        """Begin so that images are told apart from the first step on, and latents are spread over the image.

        Latents and masked patches begin as nothing: whatever they were would be normed to the size of what is seen, and
        drown it.
        """
        for layer, gain in (
            (self.from_pixels, 1.0),
            (self.to_latents, 1.0),
            (self.from_latents, 1.0),
            (self.to_pixels, 0.3),
        ):
            initialization.normal_(layer.weight, std=gain * layer.in_features**-0.5)
            initialization.zeros_(layer.bias)
        count = self.config.num_latents
        rows = next(rows for rows in range(int(count**0.5), 0, -1) if count % rows == 0)
        initialization.copy_(self.places, self._positions(rows, count // rows, self.places.device))
        initialization.zeros_(self.asked)
        initialization.zeros_(self.told)
        initialization.zeros_(self.blank)
