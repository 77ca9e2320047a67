"""How far sounds are from each other: as waves, and as spectra at several scales."""

from collections.abc import Sequence
from functools import lru_cache
from math import log10

import torch
from torch import Tensor
from torch.nn.functional import pad

FLOOR = 1e-5  # below which a spectrum counts as silence
WINDOWS = (64, 128, 256, 512, 1024)  # samples


def wave_loss(found: Tensor, wanted: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of samples.

    Args:
        found: [B, S].
        wanted: [B, S].
        mask: [B, S] bool, what counts; None for all.

    Returns:
        A scalar.
    """
    return _mean((found - wanted).abs(), mask)


def noise_loss(found: Tensor, wanted: Tensor, mask: Tensor | None = None) -> Tensor:
    """Energy of the difference in parts of the energy of the sound, which says as much of quiet sounds as of loud ones.

    Args:
        found: [B, S].
        wanted: [B, S].
        mask: [B, S] bool, what counts; None for all.

    Returns:
        A scalar, a mean over sounds; 1 for silence, 0.1 for a signal to noise ratio of 10 dB.
    """
    one, other = _silenced(found, mask), _silenced(wanted, mask)
    least = FLOOR * (torch.full_like(other[:, 0], other.shape[1]) if mask is None else mask.sum(1).clamp(min=1))
    return ((one - other).square().sum(1) / other.square().sum(1).maximum(least)).mean()


def mel_loss(
    found: Tensor,
    wanted: Tensor,
    sampling_rate: int,
    mask: Tensor | None = None,
    windows: Sequence[int] = WINDOWS,
) -> Tensor:
    """Mean absolute difference of log mel spectra, averaged over windows of several lengths.

    A window of w samples moves by w / 4 and gives w * 5 / 32 bands (at least 5); a spectrum is the natural logarithm of
    magnitudes, those below 1e-5 counting as 1e-5.

    Args:
        found: [B, S].
        wanted: [B, S].
        sampling_rate: samples a second.
        mask: [B, S] bool, what counts; None for all.
        windows: samples of each window.

    Returns:
        A scalar; 0.1 is 0.87 dB.

    Source: the windows and bands of Kumar et al., High-Fidelity Audio Compression with Improved RVQGAN (arXiv 2306.06546),
        section 3.5.
    """
    parts = []
    for window in windows:
        one, other = (log_mel(wave, sampling_rate, window, mask=mask) for wave in (found, wanted))
        parts.append(_mean((one - other).abs().mean(1), _frames(mask, window // 4, one.shape[-1])))
    return torch.stack(parts).mean()


def stft_loss(found: Tensor, wanted: Tensor, mask: Tensor | None = None, windows: Sequence[int] = WINDOWS) -> Tensor:
    """Spectral convergence and the mean absolute difference of log magnitudes, summed, averaged over windows.

    Args:
        found: [B, S].
        wanted: [B, S].
        mask: [B, S] bool, what counts; None for all.
        windows: samples of each window, which moves by a quarter of it.

    Returns:
        A scalar.

    Source: Yamamoto et al., Parallel WaveGAN (arXiv 1910.11480), equations 4 to 6.
    """
    parts = []
    for window in windows:
        one, other = (magnitudes(_silenced(wave, mask), window) for wave in (found, wanted))
        far = (one - other).square().sum((1, 2)).clamp(min=FLOOR**2).sqrt()
        convergence = far / other.square().sum((1, 2)).clamp(min=FLOOR**2).sqrt()
        logs = (one.clamp(min=FLOOR).log() - other.clamp(min=FLOOR).log()).abs().mean(1)
        parts.append(convergence.mean() + _mean(logs, _frames(mask, window // 4, one.shape[-1])))
    return torch.stack(parts).mean()


def log_mel(
    wave: Tensor, sampling_rate: int, window: int = 512, bands: int | None = None, mask: Tensor | None = None
) -> Tensor:
    """Give the log mel spectrum of sounds.

    Args:
        wave: [B, S].
        sampling_rate: samples a second.
        window: samples of a window; it moves by a quarter of it.
        bands: how many; None for 5 in 32 samples of the window, at least 5.
        mask: [B, S] bool; the rest counts as silence.

    Returns:
        [B, bands, frames], natural logarithms of magnitudes.
    """
    bands = bands or max(window * 5 // 32, 5)
    filters = mel_filters(sampling_rate, window, bands).to(wave.device)
    with torch.autocast(wave.device.type, enabled=False):  # the product would have three digits
        return (filters @ magnitudes(_silenced(wave, mask), window)).clamp(min=FLOOR).log()


def magnitudes(wave: Tensor, window: int) -> Tensor:
    """Give the magnitudes of a short-time Fourier transform, so scaled that a full sine wave has about 1/4 in any window.

    Args:
        wave: [B, S].
        window: samples of a Hann window, around every quarter of it; beyond the ends there is silence.

    Returns:
        [B, window / 2 + 1, frames] float32.
    """
    shape = torch.hann_window(window, device=wave.device)
    with torch.autocast(wave.device.type, enabled=False):
        spectrum = torch.stft(
            wave.float(), window, window // 4, window=shape, center=True, pad_mode="constant", return_complex=True
        )
    parts = torch.view_as_real(spectrum)
    return (parts.square().sum(-1) + 1e-14).sqrt() / window  # the root of 0 has no gradient


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve training too, whoever asked first
def mel_filters(sampling_rate: int, window: int, bands: int) -> Tensor:
    """Give the weights of triangular bands, evenly spaced in mels from 0 to half the sampling rate.

    Args:
        sampling_rate: samples a second.
        window: samples of the Fourier transform.
        bands: how many.

    Returns:
        [bands, window / 2 + 1] float32; each triangle is 1 at its tip. One too narrow to meet a frequency is 0.

    Source: 2595 log10(1 + f / 700), O'Shaughnessy, Speech Communication (1987), page 150.
    """
    top = 2595 * log10(1 + sampling_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64, device="cpu") / 2595) - 1)
    places = torch.linspace(0, sampling_rate / 2, window // 2 + 1, dtype=torch.float64, device="cpu")
    low, tip, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return torch.minimum((places - low) / (tip - low), (high - places) / (high - tip)).clamp(min=0).float()


def _silenced(wave: Tensor, mask: Tensor | None) -> Tensor:
    return wave if mask is None else wave * mask


def _frames(mask: Tensor | None, hop: int, count: int) -> Tensor | None:
    """Which frames have their middle in what counts, [B, count]."""
    return None if mask is None else pad(mask, (0, hop))[:, ::hop][:, :count]


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    return values.mean() if mask is None else (values * mask).sum() / mask.sum().clamp(min=1)
