"""PSNR and SSIM: by hand, and by a second way that shares no code."""

import math

import numpy as np
import pytest
import torch

from hf_tokext import CodecError
from hf_tokext.measure.images import psnr, ssim


@pytest.fixture
def pair():
    drawn = torch.Generator().manual_seed(0)
    one = torch.rand(3, 3, 17, 23, generator=drawn)
    return one, (one + 0.2 * torch.randn(one.shape, generator=drawn)).clamp(0, 1)


def test_psnr_by_hand():
    black, grey = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.1)
    grey[1] = 0.5
    assert psnr(grey, black).tolist() == pytest.approx([20.0, 20 * math.log10(2)])
    assert psnr(grey * 255, black, peak=255).tolist() == pytest.approx([20.0, 20 * math.log10(2)])
    assert psnr(grey, grey).tolist() == [math.inf, math.inf]


def by_windows(image, other, peak):
    """The paper's formula, window by window, for one channel in numpy."""
    place = np.arange(11) - 5
    weights = np.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for top in range(image.shape[0] - 10):
        for left in range(image.shape[1] - 10):
            x, y = (each[top : top + 11, left : left + 11] for each in (image, other))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            both = (weights * (x - mx) * (y - my)).sum()
            c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
            found.append((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(found)


@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_ssim_is_the_papers(pair, peak):
    one, other = (each * peak for each in pair)
    expected = [
        np.mean([by_windows(a.double().numpy(), b.double().numpy(), peak) for a, b in zip(x, y, strict=True)])
        for x, y in zip(one, other, strict=True)
    ]
    assert ssim(one, other, peak).tolist() == pytest.approx(expected, abs=1e-9)
    assert ssim(one, one, peak).tolist() == pytest.approx([1.0] * 3)
    assert ssim(1 - one, one).max() < 0 if peak == 1 else True  # the negative is unlike it


def test_what_is_no_pair_of_images_is_refused(pair):
    one, other = pair
    for measure in (psnr, ssim):
        with pytest.raises(CodecError, match="one shape"):
            measure(one, other[:, :1])
        with pytest.raises(CodecError, match="one shape"):
            measure(one[0], other[0])
        with pytest.raises(CodecError, match="at least one image"):
            measure(one[:0], other[:0])
        with pytest.raises(CodecError, match="NaN or infinity"):
            measure(one, other.where(other < 1, math.nan) * math.nan)
        with pytest.raises(CodecError, match="the peak is the range"):
            measure(one, other, peak=0)
    with pytest.raises(CodecError, match="11 x 11 pixels"):
        ssim(one[..., :10], other[..., :10])
    assert psnr(one[..., :10], other[..., :10]).shape == (3,)
