import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer

from hf_tokext import MultimodalForCausalLM
from hf_tokext.cli import main
from hf_tokext.extend import domains as registry
from hf_tokext.extend import domains_of
from tests.models.multimodal.conftest import codecs as small_codecs
from tests.models.multimodal.conftest import picture, sound
from tests.tiny_models import tiny_folder
from tests.tokenizers import byte_level
from tests.vocabulary.brackets import Brackets


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_DOMAINS", registry._DOMAINS | {"brackets": Brackets})
    tokenizer = byte_level(300)
    tiny_folder("llama", tmp_path / "base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    return done.value.code or 0


def test_a_domain_is_put_on_a_checkpoint(here, capsys):
    assert run("extend", "base", "out", "--domain", "brackets:letters=xyz", "--no-calibrate") == 0
    said = capsys.readouterr().out
    assert "brackets: 9 tokens from <|brackets:open|> to <|brackets:z|>" in said and "written to out" in said
    tokenizer = AutoTokenizer.from_pretrained("out")
    domain = domains_of(tokenizer)["brackets"]
    assert domain.settings == {"letters": "xyz"}
    assert len(tokenizer(domain.spell("(x)[y]")).input_ids) == 8
    assert AutoModelForCausalLM.from_pretrained("out").get_input_embeddings().weight.shape[0] == len(tokenizer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extend", "base", "out", "--domain", "tables"], "no domain 'tables'; the domains are box, brackets, "),
        (["extend", "base", "out", "--domain", "brackets:xyz"], "not of the form"),
        (["extend", "base", "out", "--domain", "brackets:size=3"], "cannot be made with"),
        (["extend", "base", "out", "--domain", "brackets", "--method", "best"], "unknown row method 'best'"),
        (["extend", "nowhere", "out", "--domain", "brackets"], "nowhere"),
        (["extend", "base", "base", "--domain", "brackets"], "base"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(here, capsys, arguments, message):
    before = sorted(here.rglob("*"))
    assert run(*arguments) != 0
    assert message in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before


@pytest.fixture
def codecs(here):
    for name, (codec, extractor) in small_codecs("image", "speech").items():
        codec.save_pretrained(here / name)
        extractor.save_pretrained(here / name)
    shutil.copytree(here / "image", here / "cut")
    weights = here / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return here


def test_modalities_are_put_on_a_checkpoint(codecs, capsys):
    assert run(
        "extend", "base", "out", "--domain", "brackets", "--modality", "image=image,input=codebook,projector_size=24",
        "--modality", "speech=speech,layout=delay", "--no-calibrate", "--pad-to-multiple-of", "64",
    ) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "brackets: 8 tokens from" in said and "written to out" in said
    assert "image: 24 codes from id " in said and "6 places; write <|image|> where one stands" in said
    assert "speech: 16 codes from id " in said and "as many places as it is long" in said
    processor = AutoProcessor.from_pretrained("out")
    model = AutoModelForCausalLM.from_pretrained("out")
    assert type(model) is MultimodalForCausalLM and model.config.vocab_size % 64 == 0
    assert processor.spaces["speech"].layout == "delay"
    assert model.senses["image"].projector.first.weight.shape[0] == 24
    assert list(domains_of(processor.tokenizer)) == ["brackets"]
    given = processor("see <|image|> and <|speech|>", images=picture(), audio=[sound()])
    row = model.generate(**given, max_new_tokens=40)[0]
    assert processor.parts(row).text.startswith("see <|image|> and <|speech|>")
    base = AutoModelForCausalLM.from_pretrained("base")
    ids, size = torch.tensor([[5, 6, 7]]), base.config.vocab_size
    torch.testing.assert_close(model(ids).logits[..., :size], base(ids).logits, atol=1e-6, rtol=1e-6)
    assert torch.equal(model.get_input_embeddings().weight[:size], base.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modality", "image"], "not of the form NAME=FOLDER"),
        (["--modality", "image=nowhere"], "nowhere holds no codec"),
        (["--modality", "image=base"], "base"),
        (["--modality", "image=image", "--modality", "image=speech"], "names one modality twice"),
        (["--modality", "image=image,colour=1"], "'colour' is neither a modality"),
        (["--modality", "image=image,layout=sideways"], "one of flat, interleave, delay"),
        (["--modality", "image=image,input=latent"], "has codes, not latents"),
        (["--modality", "my image=image"], "cannot be called"),
        (["--modality", "speech=image"], "the codec given for 'speech' is one of image"),
        (["--modality", "image=cut"], "the weights in cut are damaged or cut off"),
        ([], "name what BASE is to learn"),
    ],
)
def test_bad_modalities_are_one_line_and_nothing_is_written(codecs, capsys, arguments, message):
    before = sorted(codecs.rglob("*"))
    assert run("extend", "base", "out", "--no-calibrate", *arguments) != 0
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert sorted(codecs.rglob("*")) == before
