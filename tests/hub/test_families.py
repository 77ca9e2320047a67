"""Every family goes to the Hub and comes back: with the package imported, the classes are its own and no code is run."""

import pytest
import torch
from huggingface_hub import hf_hub_download
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import ByteTokenizer, GlyphConfig, GlyphForCausalLM, GlyphTokenizer, push_checkpoint
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
