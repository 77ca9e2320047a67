"""Every family goes to the Hub and comes back: with the package imported, the classes are its own and no code is run."""

import pytest
import soundfile
import torch
from huggingface_hub import hf_hub_download
from PIL import Image
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForAudioTokenization,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
)

from hf_tokext import (
    ByteEnsembleForCausalLM,
    ByteTokenizer,
    DepthCodecConfig,
    DepthCodecImageProcessor,
    DepthCodecModel,
    GlyphConfig,
    GlyphForCausalLM,
    GlyphTokenizer,
    ImageCodecConfig,
    ImageCodecImageProcessor,
    ImageCodecModel,
    SpeechCodecFeatureExtractor,
    byteify,
    push_checkpoint,
)
from tests.models.audio_codec.test_audio_codec import made as upstream_codec
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import tiny_llama
from tests.models.image_codec.conftest import SIZES
from tests.models.multimodal.conftest import make as with_codecs
from tests.models.multimodal.conftest import picture, sound
from tests.models.speech_codec.small import HOP
from tests.models.speech_codec.small import small as speech_codec
from tests.tiny_models import tiny, tiny_config

TEXT = "déjà 🙂"


def bytes_(folder):
    tokenizer = ByteTokenizer()
    model = tiny("llama", tied=True, vocab_size=len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def glyphs(folder):
    tokenizer = GlyphTokenizer()
    backbone = tiny_config("llama", tied=False, vocab_size=50)
    model = GlyphForCausalLM(GlyphConfig(backbone_config=backbone, embedding="random")).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.mark.parametrize("make", [bytes_, glyphs])
def test_push_and_pull(hub, tmp_path, make):
    model, tokenizer = make(tmp_path / "model")
    name = "me/model"
    pushed = push_checkpoint(tmp_path / "model", name)
    assert pushed.left_out == [] and not push_checkpoint(tmp_path / "model", name).changed

    there = AutoTokenizer.from_pretrained(name, cache_dir=tmp_path / "cache")
    pulled = AutoModelForCausalLM.from_pretrained(name, cache_dir=tmp_path / "cache")
    assert type(there) is type(tokenizer) and type(pulled) is type(model)
    ids = there(TEXT, return_tensors="pt").input_ids
    assert ids.tolist() == tokenizer(TEXT, return_tensors="pt").input_ids.tolist()
    with torch.no_grad():
        assert torch.equal(pulled(ids).logits, model(ids).logits)

    with open(hf_hub_download(name, "README.md", cache_dir=tmp_path / "cache"), encoding="utf-8") as card:
        code = card.read().split("```python\n")[1].split("```")[0]
    assert ("import hf_tokext" in code) == (make is glyphs)
    code = code.replace("from_pretrained(name)", f"from_pretrained(name, cache_dir={str(tmp_path / 'cache')!r})")
    made = {}
    exec(code, made)  # the card's own words
    assert type(made["model"]) is type(model) and made["output"].shape[1] > made["inputs"].input_ids.shape[1]


def byteified(folder):
    tokenizer = small.plain()
    model, byte_tokenizer = byteify(tiny_llama(len(tokenizer)).float(), tokenizer)
    model.save_pretrained(folder)
    byte_tokenizer.save_pretrained(folder)
    return model, byte_tokenizer


def ensemble(folder):
    members = []
    for seed, make in enumerate([small.plain, small.characters]):
        tokenizer = make()
        members.append(byteify(tiny_llama(len(tokenizer), seed).float(), tokenizer)[0])
    model, tokenizer = ByteEnsembleForCausalLM.from_members(members)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.mark.parametrize("make", [byteified, ensemble])
def test_the_tokenizers_of_the_bases_go_along_in_every_revision(hub, tmp_path, make):
    model, tokenizer = make(tmp_path / "model")
    pushed = push_checkpoint(tmp_path / "model", "me/bytes", revision="old")
    folders = set(model.base_tokenizers())
    assert {name.partition("/")[0] for name in pushed.files if "/" in name} == folders
    assert pushed.left_out == [] and not push_checkpoint(tmp_path / "model", "me/bytes", revision="old").changed

    options = {"revision": "old", "cache_dir": tmp_path / "cache"}
    pulled = AutoModelForCausalLM.from_pretrained("me/bytes", **options)
    there = AutoTokenizer.from_pretrained("me/bytes", **options)
    assert type(pulled) is type(model) and type(there) is ByteTokenizer
    ids = there("abca", return_tensors="pt").input_ids
    assert ids.tolist() == tokenizer("abca", return_tensors="pt").input_ids.tolist()
    torch.testing.assert_close(pulled(ids).logits.exp(), model(ids).logits.exp(), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="Unrecognized model"):  # nothing is in the main revision
        AutoModelForCausalLM.from_pretrained("me/bytes", cache_dir=tmp_path / "cache")


def test_tokenizers_of_an_earlier_ensemble_do_not_stay(hub, tmp_path):
    ensemble(tmp_path / "both")
    push_checkpoint(tmp_path / "both", "me/bytes")
    byteified(tmp_path / "one")
    deleted = push_checkpoint(tmp_path / "one", "me/bytes", overwrite=True).deleted
    assert deleted and all(name.startswith(("base_tokenizer_0/", "base_tokenizer_1/")) for name in deleted)
    assert "base_tokenizer_1/tokenizer.json" in deleted


def speech(folder):
    model = speech_codec()
    model.save_pretrained(folder)
    SpeechCodecFeatureExtractor(sampling_rate=8000, hop_length=HOP).save_pretrained(folder)
    return model


def wrapped(folder):
    model = upstream_codec("mimi")
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("make", [speech, wrapped])
def test_codecs_of_sounds(hub, tmp_path, make):
    model = make(tmp_path / "model").eval()
    pushed = push_checkpoint(tmp_path / "model", "me/codec")
    assert pushed.left_out == [] and not push_checkpoint(tmp_path / "model", "me/codec").changed
    sound = torch.randn(1, 1, 40 * HOP, generator=torch.Generator().manual_seed(0)) * 0.1
    for auto in (AutoModel, AutoModelForAudioTokenization):
        pulled = auto.from_pretrained("me/codec", cache_dir=tmp_path / "cache")
        assert type(pulled) is type(model) and torch.equal(pulled.encode(sound).codes, model.encode(sound).codes)
    if make is speech:
        extractor = AutoFeatureExtractor.from_pretrained("me/codec", cache_dir=tmp_path / "cache")
        assert type(extractor) is SpeechCodecFeatureExtractor


def pictures():
    return ImageCodecModel(ImageCodecConfig(**SIZES)), ImageCodecImageProcessor(size=16)


def depths():
    config = DepthCodecConfig(image_size=16, hidden_sizes=[4, 8], latent_dim=8, quantizer_options={"size": 16})
    return DepthCodecModel(config), DepthCodecImageProcessor(size=16)


@pytest.mark.parametrize(("make", "shape"), [(pictures, (3, 20, 30)), (depths, (1, 20, 30))])
def test_codecs_of_images(hub, tmp_path, make, shape):
    model, processor = made = make()
    for each in made:
        each.save_pretrained(tmp_path / "model")
    pushed = push_checkpoint(tmp_path / "model", "me/codec")
    assert pushed.left_out == [] and not push_checkpoint(tmp_path / "model", "me/codec").changed
    pulled = AutoModel.from_pretrained("me/codec", cache_dir=tmp_path / "cache")
    there = AutoImageProcessor.from_pretrained("me/codec", cache_dir=tmp_path / "cache")
    assert type(pulled) is type(model) and type(there) is type(processor)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    values, others = (each(image, return_tensors="pt")["pixel_values"] for each in (processor, there))
    assert torch.equal(values, others) and torch.equal(pulled.encode(others).codes, model.eval().encode(values).codes)


def test_a_model_with_codecs_comes_back_and_its_card_says_what_they_are(hub, tmp_path, monkeypatch):
    model, processor = with_codecs("image", "speech", image={"input": "codebook"}, speech={"layout": "delay"})
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    pushed = push_checkpoint(tmp_path / "model", "me/sensed")
    assert pushed.left_out == [] and not push_checkpoint(tmp_path / "model", "me/sensed").changed

    options = {"cache_dir": tmp_path / "cache"}
    there = AutoProcessor.from_pretrained("me/sensed", **options)
    for auto in (AutoModelForCausalLM, AutoModelForMultimodalLM):
        pulled = auto.from_pretrained("me/sensed", **options)
        given = there("see <|image|> and <|speech|>", images=picture(), audio=[sound()])
        with torch.no_grad():
            assert torch.equal(pulled(**given).logits, model(**given).logits)

    with open(hf_hub_download("me/sensed", "README.md", **options), encoding="utf-8") as card:
        text = card.read()
    assert "reads and writes images and recordings as ids" in text
    assert (
        r"| image | `<\|image\|>` | 8 + 8 + 8 codes from id 296 | 6 | interleave | vectors of the codes, projected |"
        in text
    )
    assert "| 8 + 8 codes from id 320 | one every 8 samples | delay | rows of the embedding matrix |" in text
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture()).save("picture.png")
    soundfile.write("sound.wav", sound(), 8000)
    code = text.split("```python\n")[1].split("```")[0]
    code = code.replace("from_pretrained(name)", f"from_pretrained(name, cache_dir={str(tmp_path / 'cache')!r})")
    made = {}
    exec(code.replace("2000", "200"), made)  # the card's own words; the tiny model has a short context
    assert made["codes"].shape == (3, 6) and made["made"].size == (16, 16)
