import json

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel

from hf_tokext import CheckpointError, CodecError, OutputExistsError, decode_files, encode_files, train_codec
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


def test_an_unreadable_file_ends_it_and_leaves_nothing(tmp_path):
    data = folder_of("image", tmp_path / "data")
    (data / "a" / "01.png").write_bytes(b"no picture")
    with pytest.raises(CodecError, match=r"01\.png cannot be read"):
        train("image", data, tmp_path / "codec")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "positive"),
        ({"learning_rate": 0.0}, "positive"),
        ({"modality": "smell"}, "image, audio, depth"),
        ({"modality": "audio"}, r"no file of a kind.*\.wav"),
        ({"options": {"image_sise": 16}}, "image_sise"),
        ({"options": {"image_size": 17}}, "image_size=17"),
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
