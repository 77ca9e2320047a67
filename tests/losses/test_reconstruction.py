"""Losses of sounds: zero for equals, by hand where that is easy, and blind to padding."""

import math

import pytest
import torch

from hf_tokext.losses.reconstruction import (
    log_mel,
    magnitudes,
    mel_filters,
    mel_loss,
    noise_loss,
    stft_loss,
    wave_loss,
)

LOSSES = {
    "wave": wave_loss,
    "noise": noise_loss,
    "stft": stft_loss,
    "mel": lambda found, wanted, mask=None: mel_loss(found, wanted, 8000, mask),
}


def tone(hertz, samples=4000, rate=8000):
    return torch.sin(2 * math.pi * hertz * torch.arange(samples) / rate)[None]


@pytest.mark.parametrize("name", LOSSES)
def test_equals_and_gradients(name):
    torch.manual_seed(0)
    sound = torch.randn(2, 3000) * 0.1
    other = (sound + 0.01 * torch.randn(2, 3000)).requires_grad_()
    assert LOSSES[name](sound, sound) < 1e-4 < LOSSES[name](other, sound)
    LOSSES[name](other, sound).backward()
    assert torch.isfinite(other.grad).all() and other.grad.abs().sum() > 0
    silent = torch.zeros(2, 3000, requires_grad=True)
    LOSSES[name](silent, silent.detach()).backward()  # silence against silence
    assert torch.isfinite(silent.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_padding_does_not_count(name):
    """A sound alone gives what it gives in a batch, whatever stands behind it."""
    torch.manual_seed(0)
    found, wanted = torch.randn(2, 1, 3000).unbind(0)
    mask = torch.arange(5000)[None] < 3000
    longer = [torch.cat([part, torch.full((1, 2000), value)], 1) for part, value in ((found, 3.0), (wanted, -1.0))]
    torch.testing.assert_close(LOSSES[name](*longer, mask), LOSSES[name](found, wanted), rtol=0.02, atol=0)
    louder = [longer[0] + 50 * ~mask, longer[1]]
    assert torch.equal(LOSSES[name](*louder, mask), LOSSES[name](*longer, mask))


def test_noise_is_the_signal_to_noise_ratio():
    sound = tone(440)
    assert noise_loss(torch.zeros_like(sound), sound) == 1
    assert noise_loss(sound * 1.1, sound).item() == pytest.approx(0.01, rel=1e-4)
    assert noise_loss(sound * 0.011, sound * 0.01).item() == pytest.approx(0.01, rel=1e-4)  # as much of a quiet one


@pytest.mark.parametrize("window", [128, 512, 1024])
def test_a_tone_lies_in_its_band(window):
    filters, spectrum = mel_filters(8000, window, 20), log_mel(tone(1000), 8000, window, 20)[0]
    middle = spectrum[:, spectrum.shape[1] // 2]
    assert middle.argmax() == filters[:, round(1000 * window / 8000)].argmax()
    assert magnitudes(tone(1000), window).max().item() == pytest.approx(0.25, rel=0.02)  # in any window


def test_filters():
    filters = mel_filters(16000, 1024, 40)
    assert filters.shape == (40, 513) and filters.min() == 0 and filters.max() <= 1
    sums = filters.sum(0)
    inside = slice(filters[0].argmax(), filters[-1].argmax())
    torch.testing.assert_close(sums[inside], torch.ones_like(sums[inside]))  # neighbours share what lies between them
    edges = filters.argmax(1)
    assert (edges[1:] >= edges[:-1]).all() and edges[-1] > 450


def test_mel_is_in_natural_logarithms():
    torch.manual_seed(0)
    sound = torch.randn(1, 4000)
    met = (mel_filters(8000, 256, 40).sum(1) > 0).float().mean()  # bands that meet a frequency
    assert met > 0.9
    assert mel_loss(sound * 2, sound, 8000, windows=[256]).item() == pytest.approx(math.log(2) * met.item(), rel=1e-3)


def test_a_quiet_sound_counts_in_a_batch_as_it_does_alone():
    """The least energy that a sound is taken to have is of its own samples, not of the padding behind it."""
    torch.manual_seed(0)
    quiet = 1e-3 * torch.randn(1, 1000)
    mask = torch.arange(9000)[None] < 1000
    padded = torch.nn.functional.pad(quiet, (0, 8000))
    alone = noise_loss(0.5 * quiet, quiet)
    torch.testing.assert_close(noise_loss(0.5 * padded, padded, mask), alone)
    nothing = noise_loss(padded, padded, torch.zeros_like(mask))
    assert torch.isfinite(nothing) and nothing == 0


def test_what_evaluation_asked_for_first_serves_training():
    mel_filters.cache_clear()
    sound = torch.randn(1, 600)
    with torch.inference_mode():
        log_mel(sound, 8000, 128)
    learnt = sound.clone().requires_grad_()
    log_mel(learnt, 8000, 128).sum().backward()
    assert learnt.grad.abs().sum() > 0
    mel_filters.cache_clear()
    with torch.device("meta"):
        log_mel(sound, 8000, 128)  # a default device is no device of the filters
    assert torch.isfinite(log_mel(sound, 8000, 128)).all()


def test_spectra_keep_their_digits_under_autocast():
    sound = torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    expected = log_mel(sound, 8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(log_mel(sound, 8000), expected)
