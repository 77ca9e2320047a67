"""A tiny image codec."""

import pytest
import torch

from hf_tokext import ImageCodecConfig, ImageCodecModel

SIZES = {
    "image_size": 16, "patch_size": 4, "num_latents": 6, "latent_dim": 8, "hidden_size": 16, "intermediate_size": 32,
    "num_encoder_layers": 2, "num_decoder_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
OPTIONS = {
    "vq": {"size": 16}, "rvq": {"size": 8, "codebooks": 3}, "pq": {"size": 8, "codebooks": 2},
    "additive": {"size": 8, "codebooks": 2}, "fsq": {"levels": (4, 4)}, "lfq": {"bits": 5}, "bsq": {"bits": 5},
    "simvq": {"size": 16}, "ibq": {"size": 16}, "gaussian": {}, "none": {},
}  # fmt: skip


@pytest.fixture
def fresh():
    """Makes a codec by the name of its quantizer, always the same."""

    def make(quantizer="vq", seed=0, **options):
        torch.manual_seed(seed)
        given = {**SIZES, "quantizer": quantizer, "quantizer_options": OPTIONS.get(quantizer), **options}
        return ImageCodecModel(ImageCodecConfig(**given))

    return make


@pytest.fixture
def images():
    """Smooth coloured images, [12, 3, 16, 16] in -1 to 1."""
    small = torch.rand(12, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(small, size=16, mode="bilinear", align_corners=True)
