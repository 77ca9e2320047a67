"""A small codec of sounds, and sounds."""

import torch

from hf_tokext import SpeechCodecConfig, SpeechCodecModel

HOP = 8
OPTIONS = {
    "rvq": {"size": 16, "codebooks": 3},
    "vq": {"size": 16},
    "simvq": {"size": 16},
    "pq": {"size": 16, "codebooks": 2},
    "fsq": {"levels": [4, 4]},
}


def small(quantizer="rvq", quantizer_options=None, seed=0, **options):
    """A new codec of 8 samples a place; the same each time."""
    torch.manual_seed(seed)
    given = {"filters": 4, "lstm_layers": 0, "latent_dim": 8, "mel_windows": [32, 64], **options}
    return SpeechCodecModel(
        SpeechCodecConfig(
            sampling_rate=8000,
            strides=[2, 4],
            quantizer=quantizer,
            quantizer_options=quantizer_options or OPTIONS.get(quantizer),
            **given,
        )
    )


def sounds(count, samples, seed=0):
    """Noise, [count, samples]."""
    return 0.1 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))
