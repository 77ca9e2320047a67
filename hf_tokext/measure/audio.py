"""What is left of a sound: by its samples, its spectrum, its words, and what codes say of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_tokext.errors import CodecError, MissingExtraError
from hf_tokext.losses.reconstruction import log_mel

_RATE, _FRAME, _FOURIER, _BANDS, _SEGMENT, _CLIP, _QUIET = 10000, 256, 512, 15, 30, 10 ** (15 / 20), 40
_LEAST = float(np.finfo(np.float64).eps)


def si_snr(found: Any, wanted: Any) -> float:
    """Signal to noise whatever the loudness.

    Args:
        found: [S] samples.
        wanted: [S] samples.

    Returns:
        dB; means are taken off first. Minus infinity where nothing of the signal is there.

    Raises:
        CodecError: the sounds have different lengths, or the wanted one is silent.

    Source: Le Roux et al., SDR - half-baked or well done? (arXiv 1811.02508), equation 3.
    """
    one, other = _pair(found, wanted)
    one, other = one - one.mean(), other - other.mean()
    if not (other**2).sum():
        raise CodecError("the wanted sound is silent: there is no signal to measure")
    part = (one @ other) / (other @ other) * other
    return _decibels(part @ part, ((one - part) ** 2).sum())


def sdr(found: Any, wanted: Any) -> float:
    """Signal to distortion: loudness counts.

    Args:
        found: [S] samples.
        wanted: [S] samples.

    Returns:
        dB.

    Raises:
        CodecError: the sounds have different lengths, or the wanted one is silent.
    """
    one, other = _pair(found, wanted)
    if not other @ other:
        raise CodecError("the wanted sound is silent: there is no signal to measure")
    return _decibels(other @ other, ((one - other) ** 2).sum())


def mel_distance(found: Any, wanted: Any, sampling_rate: int, window: float = 0.064) -> float:
    """Mean absolute difference of log mel spectra of 80 bands.

    Args:
        found: [S] samples.
        wanted: [S] samples.
        sampling_rate: samples a second.
        window: seconds, rounded to a power of two of samples.

    Returns:
        In natural logarithms of magnitudes; 0.1 is 0.87 dB.

    Raises:
        CodecError: the sounds have different lengths.
    """
    size = 2 ** max(round(np.log2(window * sampling_rate)), 6)
    pair = torch.tensor(np.stack(_pair(found, wanted)), dtype=torch.float32)
    one, other = log_mel(pair, sampling_rate, size, bands=min(80, size // 4))
    return float((one - other).abs().mean())


def stoi(found: Any, wanted: Any, sampling_rate: int) -> float:
    """Short-time objective intelligibility.

    Args:
        found: [S] samples.
        wanted: [S] samples.
        sampling_rate: samples a second; another one than 10,000 needs scipy.

    Returns:
        At most 1; NaN where fewer than 30 frames (0.4 seconds) are not silent.

    Raises:
        CodecError: the sounds have different lengths.
        MissingExtraError: scipy is not installed.

    Source: Taal et al., An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech, IEEE
        Transactions on Audio, Speech, and Language Processing 19 (2011), section II.
    """
    noisy, clean = (resampled(wave, sampling_rate, _RATE) for wave in _pair(found, wanted))
    window = np.hanning(_FRAME + 2)[1:-1]
    clean_frames, noisy_frames = _framed(clean) * window, _framed(noisy) * window
    if not len(clean_frames):
        return float("nan")
    loud = 20 * np.log10(np.linalg.norm(clean_frames, axis=1) + _LEAST)
    kept = loud > loud.max() - _QUIET
    clean, noisy = (_overlapped(frames[kept]) for frames in (clean_frames, noisy_frames))
    edges = 150 * 2 ** ((np.arange(_BANDS)[:, None] + [-0.5, 0.5]) / 3)
    places = np.linspace(0, _RATE / 2, _FOURIER // 2 + 1)
    low, high = (np.abs(places[:, None] - edges[:, side]).argmin(0) for side in (0, 1))
    numbers = np.arange(len(places))
    bands = ((numbers >= low[:, None]) & (numbers < high[:, None])).astype(float)
    one, other = (_bands(wave, window, bands) for wave in (noisy, clean))
    if other.shape[1] < _SEGMENT:
        return float("nan")
    one, other = (np.lib.stride_tricks.sliding_window_view(part, _SEGMENT, axis=1) for part in (one, other))
    one = one * np.linalg.norm(other, axis=2, keepdims=True) / (np.linalg.norm(one, axis=2, keepdims=True) + _LEAST)
    one = np.minimum(one, other * (1 + _CLIP))
    one, other = one - one.mean(2, keepdims=True), other - other.mean(2, keepdims=True)
    lengths = (np.linalg.norm(one, axis=2) + _LEAST) * (np.linalg.norm(other, axis=2) + _LEAST)
    return float(((one * other).sum(2) / lengths).mean())


def resampled(wave: Any, rate: int, wanted: int) -> np.ndarray:
    """Give a sound another sampling rate, by a polyphase filter.

    Args:
        wave: [S] samples.
        rate: samples a second that it has.
        wanted: samples a second that it gets.

    Returns:
        [S * wanted / rate, rounded up] samples.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    if rate == wanted:
        return np.asarray(wave)
    try:
        from scipy.signal import resample_poly
    except ImportError as error:
        raise MissingExtraError("scipy", "audio", "resampling") from error
    common = int(np.gcd(rate, wanted))
    return resample_poly(np.asarray(wave), wanted // common, rate // common)


def probe_accuracy(
    features: Tensor, labels: Sequence[Any], held_out: Tensor, held_out_labels: Sequence[Any], decay: float = 1e-3
) -> float:
    """How well a linear classifier tells classes by features.

    Args:
        features: [N, F] to learn from; each is scaled to variance 1 there.
        labels: [N], whatever can be told apart.
        held_out: [M, F] to be judged by.
        held_out_labels: [M].
        decay: weight of the squared weights.

    Returns:
        Share of the held-out ones that are named rightly.

    Raises:
        CodecError: there is nothing to learn from, or to be judged by.
    """
    if not len(labels) or not len(held_out_labels):
        raise CodecError("a probe needs sounds with labels to learn from, and others to be judged by")
    names = sorted(set(labels), key=str)
    wanted = torch.tensor([names.index(label) for label in labels])
    mean, scale = features.double().mean(0), features.double().std(0, unbiased=False)
    given, asked = ((part.double() - mean) / (scale + 1e-6 + scale.max() * 1e-3) for part in (features, held_out))
    weight = torch.zeros(given.shape[1], len(names), dtype=torch.double, requires_grad=True)
    bias = torch.zeros(len(names), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = torch.nn.functional.cross_entropy(given @ weight + bias, wanted) + decay * weight.square().sum()
        found.backward()
        return found

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[arg-type]
    said = (asked @ weight.detach() + bias.detach()).argmax(1).tolist()
    return sum(names[each] == label for each, label in zip(said, held_out_labels, strict=True)) / len(said)


def code_features(codes: Tensor, sizes: Sequence[int], segments: int = 4) -> Tensor:
    """Count codes in a few parts of a sound, for a linear probe.

    Args:
        codes: [codebooks, T] int64, of one sound.
        sizes: number of codes of each codebook.
        segments: parts of equal length.

    Returns:
        [codebooks * segments * size], shares of the places of each part.
    """
    parts = []
    for book, size in zip(codes, sizes, strict=True):
        for part in torch.tensor_split(book, segments):
            parts.append(torch.bincount(part, minlength=size).float() / max(len(part), 1))
    return torch.cat(parts)


def _pair(found: Any, wanted: Any) -> tuple[np.ndarray, np.ndarray]:
    one, other = (
        np.asarray(each.detach().float().cpu() if isinstance(each, Tensor) else each, dtype=np.float64)
        for each in (found, wanted)
    )
    if one.shape != other.shape or one.ndim != 1 or not one.size:
        raise CodecError(f"two sounds of one length are compared, not {list(one.shape)} with {list(other.shape)}")
    return one, other


def _decibels(signal: float, noise: float) -> float:
    if not signal:
        return float("-inf")
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(signal) - np.log10(noise)))


def _framed(wave: np.ndarray) -> np.ndarray:
    if len(wave) <= _FRAME:
        return np.zeros((0, _FRAME))
    return np.lib.stride_tricks.sliding_window_view(wave, _FRAME)[
        : -1 : _FRAME // 2
    ]  # as the authors' code: none at the end


def _overlapped(frames: np.ndarray) -> np.ndarray:
    half = _FRAME // 2
    found = np.zeros((len(frames) + 1) * half)
    for number, frame in enumerate(frames):
        found[number * half : number * half + _FRAME] += frame
    return found


def _bands(wave: np.ndarray, window: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Magnitudes in third octaves, [bands, frames]."""
    spectrum = np.fft.rfft(_framed(wave) * window, _FOURIER).T
    return np.sqrt(bands @ np.abs(spectrum) ** 2)
