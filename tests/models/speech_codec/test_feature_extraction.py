"""Recordings of every make become what the codec takes, or are refused with what to do."""

import numpy as np
import pytest
import soundfile
import torch

from hf_tokext import CodecError, SpeechCodecFeatureExtractor, SpeechCodecModel
from tests.models.speech_codec.small import small

TONE = (0.5 * np.sin(np.arange(100) / 5)).astype(np.float32)


@pytest.fixture
def extractor():
    return SpeechCodecFeatureExtractor(sampling_rate=8000, hop_length=8)


def test_a_batch(extractor):
    found = extractor([TONE, TONE[:50]], sampling_rate=8000)
    assert found["input_values"].shape == (2, 1, 104) and found["padding_mask"].sum(1).tolist() == [100, 50]
    assert torch.equal(found["input_values"][1, 0, :50], torch.from_numpy(TONE[:50]))
    assert not found["input_values"][1, 0, 50:].any() and found["input_values"].dtype == torch.float32
    codec: SpeechCodecModel = small()
    assert codec(**found).reconstruction.shape == (2, 1, 104)
    assert isinstance(extractor(TONE, return_tensors="np")["input_values"], np.ndarray)


@pytest.mark.parametrize(
    "given",
    [
        TONE, torch.from_numpy(TONE), TONE.tolist(), [TONE], TONE[None], TONE.astype(np.float64), (TONE * 2**15).astype(np.int16),
        (TONE.astype(np.float64) * 2**31).astype(np.int32), np.rint(TONE * 128 + 128).astype(np.uint8), np.stack([TONE, TONE]),
    ],
)  # fmt: skip
def test_makes_of_arrays(extractor, given):
    found = extractor(given, sampling_rate=8000, downmix=True)["input_values"]
    torch.testing.assert_close(found[0, 0, :100], torch.from_numpy(TONE), atol=0.005, rtol=0)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_files(extractor, tmp_path, suffix):
    time = np.arange(8000) / 8000
    wave = 0.3 * np.sin(2 * np.pi * 300 * time)
    soundfile.write(tmp_path / f"a.{suffix}", wave, 8000)
    found = extractor([tmp_path / f"a.{suffix}", str(tmp_path / f"a.{suffix}")])
    assert found["padding_mask"].sum(1).tolist() == [8000, 8000]
    np.testing.assert_allclose(found["input_values"][0, 0, 1000:7000], wave[1000:7000], atol=0.02)


def test_another_rate(extractor):
    time = np.arange(16000) / 16000
    with pytest.raises(CodecError, match="resample=True"):
        extractor(np.sin(300 * time), sampling_rate=16000)
    found = extractor(np.sin(300 * time), sampling_rate=16000, resample=True)["input_values"][0, 0]
    assert found.shape == (8000,)
    np.testing.assert_allclose(found[100:-100], np.sin(300 * np.arange(8000) / 8000)[100:-100], atol=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no recordings"),
        (np.zeros(0), "empty"),
        ([TONE, np.zeros(0)], "recording 1 is empty"),
        (np.array([0.0, np.nan]), "NaN or infinity at sample 1"),
        (np.stack([TONE, TONE]), "downmix=True"),
        (np.stack([TONE, TONE], 1), "transpose"),
        (np.zeros((1, 2, 3)), "samples"),
        (np.array(["a"]), "samples"),
        (np.zeros(9, dtype=np.int64), "64-bit"),
        ("nowhere.wav", "cannot be read"),
    ],
)
def test_refusals(extractor, given, message):
    with pytest.raises(CodecError, match=message):
        extractor(given, sampling_rate=8000)


def test_lengths_and_options(extractor):
    with pytest.raises(CodecError, match="truncation=True"):
        extractor(TONE, max_length=10)
    assert extractor(TONE, max_length=10, truncation=True)["padding_mask"].shape == (1, 16)
    with pytest.raises(CodecError, match="padded to its longest"):
        extractor(TONE, padding="max_length")
    with pytest.raises(CodecError, match="no option louder"):
        extractor(TONE, louder=True)
    for wrong in ({"feature_size": 2}, {"padding_value": 1.0}, {"hop_length": 0}):
        with pytest.raises(CodecError):
            SpeechCodecFeatureExtractor(**wrong)
