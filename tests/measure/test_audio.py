"""Measures of sounds: pystoi is the oracle of STOI, the rest is known by hand."""

import json
import math

import numpy as np
import pystoi
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from hf_tokext import CodecError, SpeechCodecConfig, SpeechCodecModel
from hf_tokext.cli import app
from hf_tokext.measure.audio import code_features, mel_distance, probe_accuracy, resampled, sdr, si_snr, stoi
from hf_tokext.measure.audio_codecs import BASELINES, ModelCoder, PulseCoder, Recording, measure_audio
from tests.models.audio_codec.test_audio_codec import made, published


def voice(seconds=2.0, rate=10000, seed=0):
    """Noise in the bands of speech that comes and goes like syllables, with a silent stretch."""
    chance = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    sound = np.convolve(chance.normal(size=len(time)), np.hanning(9), "same") * np.sin(2 * np.pi * 2 * time) ** 2
    sound[len(sound) // 3 : len(sound) // 2] = 0
    return 0.1 * sound


@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(("rate", "apart"), [(10000, 1e-9), (8000, 4e-3), (16000, 4e-3), (44100, 4e-3)])
def test_stoi_is_pystois(rate, apart, noise):
    clean = voice(rate=rate)
    noisy = clean + noise * np.random.default_rng(1).normal(size=len(clean))
    assert stoi(noisy, clean, rate) == pytest.approx(pystoi.stoi(clean, noisy, rate), abs=apart)


def test_stoi_at_its_ends():
    clean = voice()
    assert stoi(clean, clean, 10000) == pytest.approx(1) and stoi(0.1 * clean, clean, 10000) == pytest.approx(1)
    assert math.isnan(stoi(clean[:3000], clean[:3000], 10000)) and math.isnan(stoi(clean[:99], clean[:99], 10000))


def test_ratios():
    clean = voice()
    noise = np.random.default_rng(1).normal(size=len(clean))
    noise -= noise.mean()
    noise -= noise @ clean / (clean @ clean) * clean
    noise *= np.linalg.norm(clean) / np.linalg.norm(noise) / 10  # 20 dB below
    assert sdr(clean + noise, clean) == pytest.approx(20, abs=1e-6)
    assert si_snr(3 * (clean + noise), clean) == pytest.approx(20, abs=0.02)  # the mean is taken off
    assert si_snr(3 * (clean + noise) + 5, clean) == pytest.approx(20, abs=0.02)
    assert sdr(2 * clean, clean) == pytest.approx(0, abs=1e-6) and sdr(clean, clean) == np.inf
    assert si_snr(np.zeros_like(clean), clean) == -np.inf
    assert si_snr(torch.tensor(clean + noise), torch.tensor(clean)) == pytest.approx(20, abs=0.02)
    for measure in (si_snr, sdr):
        with pytest.raises(CodecError, match="silent"):
            measure(clean, np.zeros_like(clean))
        with pytest.raises(CodecError, match="one length"):
            measure(clean, clean[:-1])


def test_mel_distance():
    clean = voice(rate=8000)
    assert mel_distance(clean, clean, 8000) == 0
    assert mel_distance(clean * 1.1, clean, 8000) < mel_distance(clean * 2, clean, 8000) <= math.log(2) + 1e-3


def test_resampling():
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    again = resampled(resampled(tone, 8000, 24000), 24000, 8000)
    assert len(again) == 8000 and sdr(again[100:-100], tone[100:-100]) > 40
    assert resampled(tone, 8000, 8000) is tone


def test_probe():
    torch.manual_seed(0)
    centres = torch.randn(3, 5)
    labels = [("a", "b", "c")[each] for each in torch.randint(3, (120,)).tolist()]
    rows = torch.stack([centres["abc".index(label)] for label in labels]) + 0.1 * torch.randn(120, 5)
    assert probe_accuracy(rows[:60], labels[:60], rows[60:], labels[60:]) == 1
    noise = torch.randn(120, 5)
    assert probe_accuracy(noise[:60], labels[:60], noise[60:], labels[60:]) < 0.6
    with pytest.raises(CodecError, match="probe"):
        probe_accuracy(rows[:0], [], rows, labels)


def test_code_features():
    found = code_features(torch.tensor([[0, 0, 1, 2, 2, 2]]), (3,), segments=2)
    torch.testing.assert_close(found, torch.tensor([2 / 3, 1 / 3, 0, 0, 0, 1]))
    assert code_features(torch.zeros(2, 1, dtype=torch.long), (4, 3), segments=3).shape == (
        21,
    )  # shorter than its parts


def recordings(count=6, rate=8000):
    return [
        Recording(f"{n}", voice(0.8, rate, n).astype(np.float32), rate, "ab"[n % 2], str(n // 2)) for n in range(count)
    ]


def test_pulse_coders():
    """Six decibels a bit, and rates by arithmetic."""
    found = {row.codec: row for row in measure_audio({**BASELINES, "fine": PulseCoder(12)}, recordings())}
    assert found["mu-law, 8 bits"].bits_per_second == pytest.approx(64000)
    assert found["linear, 2 bits"].tokens_per_second == pytest.approx(8000)
    assert found["mean"].bits_per_second == 0 and found["mean"].si_snr == -99 and found["mean"].probe is None
    assert found["mu-law, 8 bits"].sdr > found["mu-law, 4 bits"].sdr + 15 > found["mu-law, 2 bits"].sdr
    sound = np.random.default_rng(0).uniform(-1, 1, 9999).astype(np.float32)
    for bits in (4, 8, 12):
        assert sdr(PulseCoder(bits)(sound).wave, sound) == pytest.approx(6.02 * bits, abs=0.3)
    assert found["fine"].stoi > 0.99 and found["fine"].probe is not None and 0 < found["fine"].used < 1


def small():
    torch.manual_seed(0)
    config = SpeechCodecConfig(
        sampling_rate=16000, strides=[4, 8], filters=2, lstm_layers=0, latent_dim=4,
        quantizer_options={"size": 16, "codebooks": 2},
    )  # fmt: skip
    return SpeechCodecModel(config)


def test_a_codec_of_another_rate():
    model = small()
    found = measure_audio({"small": ModelCoder(model)}, recordings())[0]
    assert found.codebooks == 2 and found.tokens_per_second == pytest.approx(1000)
    assert found.bits_per_second == pytest.approx(4000) and 1 <= found.perplexity <= 16 and not model.training
    assert all(np.isfinite(value) for value in (found.si_snr, found.sdr, found.stoi, found.mel))
    with pytest.raises(CodecError, match="no recordings"):
        measure_audio({"small": ModelCoder(model)}, [])
    with pytest.raises(CodecError, match="silent"):
        measure_audio(BASELINES, [Recording("x.wav", np.zeros(9, dtype=np.float32), 8000)])
    with pytest.raises(CodecError, match="no codec of sounds"):
        ModelCoder(torch.nn.Linear(1, 1))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "sounds"
    made.mkdir()
    for each in recordings():
        soundfile.write(made / f"{each.label}_{each.group}_{each.name}.wav", each.wave, each.sampling_rate)
    (made / "bad.wav").write_bytes(b"no sound")
    soundfile.write(made / "silent.wav", np.zeros(100), 8000)
    return made


def run(*arguments):
    return CliRunner().invoke(app, ["measure", "audio", *map(str, arguments)])


def test_the_command(folder, tmp_path):
    small().save_pretrained(tmp_path / "codec")
    names = ("--label", "^(.)_", "--group", "^._(.)_")
    said = run(folder, "--codec", f"ours={tmp_path / 'codec'}", *names)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:8]] == ["codec", "ours", *BASELINES]
    assert "1,000.0" in lines[1] and "%" in lines[1].split()[-1]
    assert sum(line.startswith("left out: ") for line in lines) == 2 and "it is silent" in said.stdout

    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(f"{path.name},{path.name[0]}\n" for path in folder.glob("?_*.wav")))
    said = run(folder, "--labels", table, "--limit", 4, "--json")
    found = json.loads(said.stdout[said.stdout.index("{") :])
    assert {row["codec"] for row in found["codecs"]} == set(BASELINES) and 0 < found["recordings"] <= 4


def test_codecs_side_by_side(folder, tmp_path):
    """transformers' own, as upstream saves them and wrapped, beside ours: rates are known by arithmetic."""
    small().save_pretrained(tmp_path / "ours")
    made("dac", codebooks=2).save_pretrained(tmp_path / "wrapped")
    for kind in ("encodec", "dac", "mimi"):
        made(kind).codec.save_pretrained(tmp_path / kind)
    published().codec.save_pretrained(tmp_path / "xcodec2")
    names = ["ours", "encodec", "dac", "mimi", "xcodec2", "wrapped"]
    options = [part for name in names for part in ("--codec", f"{name}={tmp_path / name}")]
    said = run(folder, *options, "--limit", 2, "--json", "--no-baselines")
    assert said.exit_code == 0, said.output
    rows = {row["codec"]: row for row in json.loads(said.stdout[said.stdout.index("{") :])["codecs"]}
    assert list(rows) == names
    rates = {
        name: (row["codebooks"], round(row["tokens_per_second"]), round(row["bits_per_second"]))
        for name, row in rows.items()
    }
    assert rates == {
        "ours": (2, 1000, 4000), "encodec": (3, 6000, 24000), "dac": (3, 6000, 24000), "mimi": (4, 4000, 16000),
        "xcodec2": (1, 50, 200), "wrapped": (2, 4000, 16000),
    }  # fmt: skip
    for name, row in rows.items():
        assert 0 < row["used"] <= 1 and 1 <= row["perplexity"] <= 16, name
        assert all(math.isfinite(row[each]) for each in ("si_snr", "sdr", "stoi", "mel")), name
    assert rows["dac"]["mel"] != rows["wrapped"]["mel"] and rows["dac"]["used"] != rows["mimi"]["used"]


def test_a_codec_that_cannot_be_measured_costs_no_reading(folder, tmp_path, monkeypatch):
    upstream = made("xcodec2")
    upstream.codec.save_pretrained(tmp_path / "strange")
    (tmp_path / "strange" / "model.safetensors").unlink()  # not even its weights are read
    monkeypatch.setattr(soundfile, "read", None)
    for wrong, message in ((tmp_path / "strange", "another spectrum"), (folder, "no config.json")):
        said = run(folder, "--codec", f"a={wrong}")
        assert isinstance(said.exception, CodecError) and message in str(said.exception)
    with pytest.raises(CodecError, match="another spectrum"):
        ModelCoder(upstream)


def test_labels_by_folders_and_as_many_recordings_as_asked_for(folder, tmp_path):
    for path in list(folder.glob("?_*.wav")):  # a/0_0.wav, as many sets of recordings are laid out
        (folder / path.name[0]).mkdir(exist_ok=True)
        path.rename(folder / path.name[0] / f"{path.name[2]}.wav")
    (folder / ".hidden.wav").write_bytes(b"no sound")

    def found(*options):
        said = run(folder, *options, "--json")
        return said.exception if said.exit_code else json.loads(said.stdout[said.stdout.index("{") :])

    rows = found("--label", "^(.)/", "--group", "(.).wav")
    assert rows["recordings"] == 6 and rows["codecs"][-1]["probe"] is not None and len(rows["bad"]) == 2
    assert found("--limit", 5)["recordings"] + len(found("--limit", 5)["bad"]) == 5
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n0.wav,a\n")
    assert "names 0.wav for several recordings" in str(found("--labels", table))
    table.write_text(
        "file,label,group\n" + "".join(f"{each}/{n}.wav,{each},{n}\n" for each in "ab" for n in range(3)), "utf-8-sig"
    )
    assert found("--labels", table)["codecs"][-1]["probe"] is not None
    table.write_text("file,label\na/0.wav,a\na/0.wav,b\n")
    assert "names a file for several" in str(found("--labels", table))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--codec", "nothing"), "NAME=FOLDER"),
        (("--codec", "mean=folder"), "each name once"),
        (("--label", "("), "regular expression"),
        (("--label", "a"), "one group"),
        (("--no-baselines",), "nothing to measure"),
        (("--labels", "{folder}/bad.wav"), "names the columns"),
    ],
)
def test_bad_arguments(folder, arguments, message):
    said = run(folder, *(part.format(folder=folder) for part in arguments))
    assert said.exit_code != 0 and isinstance(said.exception, CodecError) and message in str(said.exception)


def test_no_recordings(tmp_path):
    said = run(tmp_path)
    assert isinstance(said.exception, CodecError) and "no file of a kind that is read here (.aif" in str(said.exception)
    said = run(tmp_path / "nowhere.wav")
    assert isinstance(said.exception, CodecError) and "no recordings" in str(said.exception)
