import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from pyarrow import parquet
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel, TrainingArguments

from hf_tokext import (
    CheckpointError,
    CodecError,
    DepthCodecModel,
    OutputExistsError,
    VerificationError,
    decode_files,
    encode_files,
    train_codec,
)
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.training import codec as room
from hf_tokext.training.codec_files import find_files
from hf_tokext.training.modalities import MODALITIES

SMALL = {
    "image": {
        "image_size": 16, "patch_size": 8, "num_latents": 4, "hidden_size": 16, "intermediate_size": 16, "latent_dim": 8,
        "num_encoder_layers": 1, "num_decoder_layers": 1, "num_attention_heads": 2, "quantizer_options": {"size": 8},
    },
    "audio": {"filters": 2, "lstm_layers": 0, "latent_dim": 8, "quantizer_options": {"size": 8, "codebooks": 2}},
    "depth": {"image_size": 16, "hidden_sizes": [4, 4], "latent_dim": 4, "quantizer_options": {"size": 8}},
}  # fmt: skip


def folder_of(kind, root, count=12):
    chance = np.random.default_rng(0)
    for number in range(count):
        path = root / ("a" if number % 2 else "b") / f"{number:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "image":
            Image.fromarray(chance.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(f"{path}.png")
        elif kind == "audio":
            wave = np.sin(np.arange(9000 + 100 * number) * (0.02 + 0.01 * number)) / 2
            soundfile.write(f"{path}.wav", wave, 8000)
        else:
            np.save(f"{path}.npy", 1 + chance.random((20, 30)))
    return root


def train(kind, data, output, **options):
    return train_codec(
        data, output, options=SMALL[kind], **{"steps": 4, "batch": 4, "eval_every": 2, "progress": False, **options}
    )


@pytest.mark.parametrize("kind", MODALITIES)
def test_a_folder_becomes_a_codec_codes_and_files_again(kind, tmp_path):
    data = folder_of(kind, tmp_path / "data")
    target, report = train(kind, data, tmp_path / "codec")
    assert (report.modality, report.files, report.held_out, report.steps) == (kind, 10, 2, 4)
    assert [step for step, _ in report.held_out_losses] == [2, 4] and len(report.losses) == 4
    codec = AutoModel.from_pretrained(target)
    assert isinstance(codec, ModalityCodec) and report.codebook_sizes == list(codec.codebook_sizes)
    (AutoFeatureExtractor if kind == "audio" else AutoImageProcessor).from_pretrained(target)
    noted = json.loads((target / room.REPORT).read_text(encoding="utf-8"))
    assert noted["quality"] == report.quality and np.isfinite(list(report.quality.values())).all()
    for name in (room.CURVES, room.SAMPLES):
        with Image.open(target / name) as picture:
            assert picture.width > 200 and len(np.unique(np.asarray(picture.convert("L")))) > 3
    assert not list(tmp_path.glob(".*"))  # nothing is left beside it

    table = tmp_path / "codes.parquet"
    count, bad = encode_files(target, data, table, batch=5)
    assert (count, bad) == (12, {})
    assert decode_files(target, table, tmp_path / "back") == 12
    _, files = find_files(tmp_path / "back", kind)
    assert [path.with_suffix("").relative_to(tmp_path / "back") for path in files] == [
        path.with_suffix("").relative_to(data) for path in find_files(data)[1]
    ]
    if kind == "audio":
        lengths = [soundfile.info(path).frames for path in files]
        assert lengths == [soundfile.info(path).frames for path in find_files(data)[1]]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    data = folder_of("image", tmp_path / "data")
    whole, _ = train("image", data, tmp_path / "whole", steps=6)
    images, pieces = MODALITIES["image"], []
    cut = type(images).piece

    def stopping(self, *given):
        pieces.append(given)
        if (
            len(pieces) > 18
        ):  # in the sixth step (three of an epoch have 4, 4 and 2); the last checkpoint is of the fourth
            raise KeyboardInterrupt
        return cut(self, *given)

    monkeypatch.setattr(type(images), "piece", stopping)
    with pytest.raises(KeyboardInterrupt):
        train("image", data, tmp_path / "stopped", steps=6)
    assert not (tmp_path / "stopped").exists()
    monkeypatch.setattr(type(images), "piece", cut)
    with pytest.raises(OutputExistsError, match="resume"):
        train("image", data, tmp_path / "stopped", steps=6)
    with pytest.raises(CheckpointError, match="differs in steps"):
        train("image", data, tmp_path / "stopped", steps=7, resume=True)
    alone = room.processes()
    two = SimpleNamespace(num_processes=2, is_main_process=True, wait_for_everyone=lambda: None, device=alone.device)
    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="differs in processes"):
        patch.setattr(room, "processes", lambda: two)  # batches would be others
        train("image", data, tmp_path / "stopped", steps=6, resume=True)
    half = tmp_path / ".stopped.tokext-training" / "checkpoint-5"  # as of a run that was killed while it wrote
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"")
    resumed, report = train("image", data, tmp_path / "stopped", steps=6, resume=True)
    assert report.steps == 6
    weights = [AutoModel.from_pretrained(folder).state_dict() for folder in (whole, resumed)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, msg=name)


def test_what_is_there_is_not_overwritten_unasked(tmp_path):
    data = folder_of("depth", tmp_path / "data")
    target, _ = train("depth", data, tmp_path / "codec", steps=1)
    before = (target / "model.safetensors").read_bytes()
    with pytest.raises(OutputExistsError):
        train("depth", data, target)
    assert (target / "model.safetensors").read_bytes() == before
    train("depth", data, target, overwrite=True, seed=1)
    assert (target / "model.safetensors").read_bytes() != before


def test_unreadable_files_are_left_out_and_named(tmp_path):
    data = folder_of("image", tmp_path / "data", 22)
    for name in ("a/01.png", "b/18.png", "a/05.png"):  # the first and the second are held out
        (data / name).write_bytes(b"no picture")
    (data / "a" / "._01.png").write_bytes(b"what another system keeps beside a file")
    assert [path.name for path in find_files(data)[1][:2]] == ["01.png", "03.png"]
    (data / "a" / "03.png").write_bytes(b"no picture")
    target, report = train("image", data, tmp_path / "codec", steps=6)
    assert list(report.left_out) == ["a/01.png", "a/03.png", "a/05.png", "b/18.png"]
    assert (report.files, report.held_out) == (17, 1) and "01.png cannot be read" in report.left_out["a/01.png"]
    assert json.loads((target / room.REPORT).read_text(encoding="utf-8"))["left_out"] == 4
    for path in data.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(CodecError, match=r"none of 19 files can be read; .*\.png cannot be read"):
        train("image", data, tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codec", "data"]


def test_silence_and_clicks_among_what_is_held_out(tmp_path):
    """Of silence no ratio can be told, and a click is shorter than the window of its picture; neither ends a training."""
    data = folder_of("audio", tmp_path / "data", 12)
    first, second = [path for number, path in enumerate(find_files(data)[1]) if number % 10 == 0]
    soundfile.write(first, np.zeros(3000), 8000)
    soundfile.write(second, np.full((5, 2), 0.1) * [[1, 0]] * np.arange(5)[:, None], 8000, "PCM_24")
    _, report = train("audio", data, tmp_path / "codec", steps=1)
    assert report.held_out == 2 and -100 <= report.quality["si_snr"] <= 100 and report.left_out == {}


def test_a_loss_that_is_not_finite_is_no_codec(tmp_path, monkeypatch):
    data = folder_of("depth", tmp_path / "data", 12)
    forward = DepthCodecModel.forward

    def lost(self, *given, **named):
        output = forward(self, *given, **named)
        output.loss = output.loss + (torch.nan if self.training else 0) * output.loss.detach()
        return output

    monkeypatch.setattr(DepthCodecModel, "forward", lost)
    with pytest.raises(VerificationError, match="not finite"):
        train("depth", data, tmp_path / "codec", steps=1)
    assert not (tmp_path / "codec").exists()


def test_learned_codes_do_not_decay(tmp_path):
    for options in (
        {"quantizer_options": {"size": 8, "decay": None}},
        {"quantizer": "ibq", "quantizer_options": {"size": 8}},
    ):
        codec, _ = MODALITIES["depth"].make(tmp_path, {**SMALL["depth"], **options})
        arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
        decayed = room._Trainer(codec, arguments).get_decay_parameter_names(codec)
        assert "encoder.0.weight" in decayed and not [name for name in decayed if name.startswith("quantizer")]


def test_depth_out_of_pictures(tmp_path):
    """Grey pictures of 16 bits are depth where depth is asked for; their numbers are those of arrays."""
    arrays, pictures = tmp_path / "arrays", tmp_path / "pictures"
    for folder in (arrays, pictures):
        folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(4):
        deep = chance.integers(0, 65536, (20, 30), dtype=np.uint16)
        np.save(arrays / f"{number}.npy", deep)
        Image.fromarray(deep).save(pictures / f"{number}.{('png', 'tif')[number % 2]}")
    Image.fromarray(deep[..., None].repeat(3, 2).astype(np.uint8)).save(pictures / "colour.png")
    assert find_files(pictures)[0].name == "image" and len(find_files(pictures, "depth")[1]) == 5
    target, report = train("depth", pictures, tmp_path / "codec", steps=1, modality="depth")
    assert "mode RGB" in report.left_out["colour.png"]
    tables = []
    for folder in (arrays, pictures):
        count, bad = encode_files(target, folder, tmp_path / f"{folder.name}.parquet")
        assert (count, list(bad)) == (4, [] if folder is arrays else ["colour.png"])
        tables.append(parquet.read_table(tmp_path / f"{folder.name}.parquet")["codes"].to_pylist())
    assert tables[0] == tables[1]
    (pictures / "more").mkdir()
    (pictures / "more" / "0.npy").write_bytes((arrays / "0.npy").read_bytes())
    assert [path.name for path in find_files(pictures, "depth")[1]] == ["0.npy"]  # beside arrays pictures are pictures


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((4, 4)), "no depth above zero"),
        (np.full((4, 4), np.nan), "no depth above zero"),
        (np.ones((4, 4), bool), "real numbers"),
        (np.ones((4, 4, 3)), r"shape \[4, 4, 3\]"),
        (np.array([None]), "cannot be read"),
        ({"a": np.ones(3)}, "real numbers"),
    ],
)
def test_what_is_no_depth_is_said_when_it_is_read(given, said, tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, **given) if isinstance(given, dict) else np.save(file, given)
    with pytest.raises(CodecError, match=said):
        MODALITIES["depth"].read(tmp_path / "a.npy")


def test_pictures_of_numbers_out_of_range_are_refused_when_they_are_read(tmp_path):
    Image.fromarray(np.full((4, 4), 200, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(CodecError, match=r"a\.tif: floats of an image must lie in 0 to 1"):
        MODALITIES["image"].read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "positive"),
        ({"learning_rate": 0.0}, "positive"),
        ({"modality": "smell"}, "image, audio, depth"),
        ({"modality": "audio"}, r"no file of a kind.*\.wav"),
        ({"options": {"image_sise": 16}}, "image_sise"),
        ({"options": {"image_size": 17}}, "image_size=17"),
        ({"options": {"num_channels": 1}}, "num_channels is 3, not 1"),
        ({"options": {"quantizer": "magic"}}, "magic"),
    ],
)
def test_what_cannot_be_trained(options, message, tmp_path):
    data = folder_of("image", tmp_path / "data", 3)
    with pytest.raises(CodecError, match=message):
        train_codec(data, tmp_path / "codec", **{"progress": False, "options": SMALL["image"], **options})
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(CodecError, match="there is no folder"):
        train_codec(tmp_path / "nowhere", tmp_path / "codec")
    folder_of("image", tmp_path / "one", 1)
    with pytest.raises(CodecError, match="at least two"):
        train_codec(tmp_path / "one", tmp_path / "codec")
    mixed = folder_of("image", folder_of("audio", tmp_path / "mixed", 2), 3)
    with pytest.raises(CodecError, match="3 of image, 2 of audio"):
        find_files(mixed)
    assert len(find_files(mixed, "audio")[1]) == 2
    with pytest.raises(OutputExistsError, match="lies inside"):
        train_codec(mixed, mixed / "codec", modality="image")
