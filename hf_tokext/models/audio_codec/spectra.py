"""The spectrum that XCodec2 hears beside the sound; transformers' own extractor of it needs torchaudio, this one does not."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

RATE, HOP, NUMBERS = 16000, 320, 160  # samples a second, samples a place, numbers a place: of the published XCodec2


def spectra(waves: Tensor, places: Tensor) -> Tensor:
    """Give the log mel spectrum of sounds, two frames a place, each band scaled over its sound to mean 0 and variance 1.

    Args:
        waves: [B, 1, T * 320], 16,000 samples a second.
        places: [B, T] bool, where there is sound; silence stands behind it.

    Returns:
        [B, T, 160] float32, 1 where there is no sound, on the device of the sounds.

    Source: `Xcodec2FeatureExtractor` of transformers, without the place that it adds to sounds that fill their places.
    """
    found = torch.ones(*places.shape, NUMBERS)
    for row, wave, count in zip(found, waves.float().cpu().numpy(), places.sum(1).tolist(), strict=True):
        if count:
            sound = np.pad(wave[0, : count * HOP], HOP // 2)
            heard = _extractor()(sound, sampling_rate=RATE, padding=False, pad_to_multiple_of=None, return_tensors="np")
            row[:count] = torch.from_numpy(heard["input_features"][0])
    return found.to(waves.device)


@lru_cache(maxsize=1)
def _extractor() -> Any:
    from transformers import SeamlessM4TFeatureExtractor  # not above: configs are imported before it can be

    return SeamlessM4TFeatureExtractor(sampling_rate=RATE)
