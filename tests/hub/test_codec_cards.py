"""Cards of codecs say what goes in and comes out, at which rate, what they were trained on, and how they are used."""

import json

import numpy as np
import pytest
import soundfile
from huggingface_hub import ModelCard
from PIL import Image

from hf_tokext import (
    CheckpointError,
    DepthCodecConfig,
    DepthCodecImageProcessor,
    DepthCodecModel,
    ImageCodecConfig,
    ImageCodecImageProcessor,
    ImageCodecModel,
    SpeechCodecFeatureExtractor,
)
from hf_tokext.hub import codecs
from hf_tokext.hub.cards import card_for_push, render_card, write_card
from tests.models.audio_codec.test_audio_codec import made as upstream_codec
from tests.models.image_codec.conftest import SIZES
from tests.models.speech_codec.small import HOP
from tests.models.speech_codec.small import small as speech_codec


def image():
    config = ImageCodecConfig(**SIZES, quantizer="rvq", quantizer_options={"size": 8, "codebooks": 3})
    return ImageCodecModel(config), ImageCodecImageProcessor(size=16)


def depth():
    config = DepthCodecConfig(image_size=16, hidden_sizes=[4, 8], latent_dim=8, quantizer_options={"size": 16})
    return DepthCodecModel(config), DepthCodecImageProcessor(size=16)


def speech():
    return speech_codec(), SpeechCodecFeatureExtractor(sampling_rate=8000, hop_length=HOP)


def wrapped():
    return (upstream_codec("mimi", codebooks=2),)


SAID = {
    image: [
        "images of 16 x 16 pixels",
        "6 places an image, a code of each",
        "| 3 of 8 |",
        "54 bits an image",
        "[vision]",
    ],
    depth: ["depth maps of 16 x 16 pixels", "16 places a map", "| 1 of 16 |", "| 64 bits a map |", "| `vq` |"],
    speech: [
        "8,000 samples a second",
        "1,000 places a second",
        "| 3 of 16 |",
        "12,000 bits a second",
        "model.stream()",
    ],
    wrapped: ["16,000 samples a second", "| 2 of 16 |", "8,000 bits a second"],
}


@pytest.mark.parametrize("make", SAID, ids=lambda make: make.__name__)
def test_what_it_says_and_that_its_code_runs(make, tmp_path, monkeypatch):
    made = make()
    for each in made:
        each.save_pretrained(tmp_path / "codec")
    card = ModelCard(render_card(tmp_path / "codec", repo_id="me/mine"))
    assert card.data.tags == ["hf_tokext", "codec", made[0].modality] and card.data.license is None
    for said in (*SAID[make], "`pip install hf-tokext`", "not recorded here", "claims none"):
        assert said in card.text
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save("picture.png")
    np.save("depth.npy", np.ones((20, 30)) + np.eye(20, 30))
    soundfile.write("sound.wav", np.full((900, 2), 0.1), 8000)
    code, given = card.text.split("```python\n")[1].split("```")[0].replace('"me/mine"', '"codec"'), {}
    exec(code, given)  # the card's own words
    assert type(given["model"]) is type(made[0]) and not given["model"].training
    codes = given["codes"] if "codes" in given else given["found"].codes
    assert codes.shape[:2] == (1, len(made[0].codebook_sizes))
    shapes = {image: (16, 16), depth: (1, 1, 16, 16), speech: (1, 1, 904), wrapped: (1, 1, 16000)}
    back = given["back"]
    assert (tuple(back.shape) if hasattr(back, "shape") else back.size) == shapes[make]
    if make is depth:
        assert 1 <= given["depth"].min() <= given["depth"].max() <= 2  # in the unit of what was given


def test_continuous_codecs_and_those_that_see_what_comes_later(tmp_path):
    speech_codec("none", causal=False).save_pretrained(tmp_path / "codec")
    text = render_card(tmp_path / "codec")
    assert "vectors of 8 numbers a second, no codes" in text and "no: it sees" in text and "bits" not in text
    assert ".codes" not in text and "model.encode(waves).latents" in text


def test_what_a_training_noted(tmp_path):
    names = ("hf_tokext_codec.json", "hf_tokext_samples.png", "hf_tokext_curves.png")  # in folders that exist already
    assert names == (codecs.REPORT, codecs.SAMPLES, codecs.CURVES)
    folder = tmp_path / "codec"
    for each in image():
        each.save_pretrained(folder)
    before = write_card(folder).read_text()
    usage = [{"used": 0.5, "perplexity": 3.0}, {"used": 1.0, "perplexity": 8.0}]
    noted = {"files": 1234, "held_out": 137, "steps": 2000, "quality": {"psnr": 21.126}, "usage": usage}
    (folder / codecs.REPORT).write_text(json.dumps(noted))
    (folder / codecs.SAMPLES).write_bytes(b"")
    text = card_for_push(folder, "me/mine")  # the old one knew nothing of it
    assert text != before and "on 1,234 images of the author's own, 2,000 steps;\n137 others" in text
    assert "On those: PSNR 21.13 dB, 75.0% of the codes used." in text
    assert f"![{codecs.SAMPLES}]({codecs.SAMPLES})" in text and codecs.CURVES not in text
    (folder / codecs.REPORT).write_text(json.dumps({"quality": [], "usage": [3, {"used": "x"}], "files": "`|"}))
    assert "on ? images of the author's own, ? steps" in render_card(folder)


def test_damaged_ones_are_refused(tmp_path):
    image()[0].save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"image_size": 15}))
    with pytest.raises(CheckpointError, match="damaged"):
        render_card(tmp_path)
