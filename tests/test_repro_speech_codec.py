"""The trivial codecs that the speech codec is held against: they use their bits, and know nothing of what they are judged on."""

import importlib
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def baselines(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("speech_baselines").BASELINES


@pytest.fixture
def frames():
    """Smooth frames, to fit to and to be judged on."""
    torch.manual_seed(0)
    drawn = torch.randn(4000, 12) @ torch.randn(12, 32) * torch.linspace(1, 0.1, 12).sum() / 12
    return drawn[:3000], drawn[3000:]


@pytest.mark.parametrize("name", ["DCT", "PCA", "k-means of frames"])
def test_more_bits_are_better(baselines, frames, name):
    learnt, held = frames
    errors = [float((baselines[name](learnt, bits)(held) - held).square().mean()) for bits in (4, 8, 16)]
    assert errors[0] > errors[1] > errors[2] and errors[0] < held.square().mean()


def test_the_mean_knows_nothing_else(baselines, frames):
    learnt, held = frames
    assert torch.equal(baselines["mean frame"](learnt, 0)(held)[5], learnt.mean(0))


def test_bits_are_counted(baselines, frames):
    """As many different frames come out as the bits allow."""
    learnt, held = frames
    for name in ("DCT", "PCA", "k-means of frames"):
        places = (baselines[name](learnt, 6)(torch.cat([learnt, held])) @ torch.randn(32)).sort().values
        assert 2**4 < 1 + int((places.diff() > 1e-3).sum()) <= 2**6
