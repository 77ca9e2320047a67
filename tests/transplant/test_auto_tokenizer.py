"""AutoTokenizer gives the donor's ids beside every config, also where it rebuilds tokenizers by model type."""

import json

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from hf_tokext.registry import CODE_FILE
from hf_tokext.transplant import transplant_checkpoint, transplant_tokenizer
from hf_tokext.transplant.auto_tokenizer import first_difference, keep_ids_in_folder
from tests.model_types import DISTURBED, PARTS, each_default_config
from tests.tiny_models import tiny, tiny_folder
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

TEXT = "the rivers  and 1234 bees\n don't"


def ids(tokenizer, text=TEXT):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture
def qwen2(tmp_path):
    tokenizer = byte_level(300)
    tiny_folder("qwen2", tmp_path / "base", vocab_size=len(tokenizer) + 8)  # its class adds tokens of its own
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize("trust", [None, True])
def test_a_tokenizer_of_another_family_on_qwen2(trust, qwen2, tmp_path):
    donor = sentencepiece_like()
    transplant_checkpoint(qwen2, donor, tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=trust)
    assert ids(loaded) == ids(donor)
    assert loaded.decode(ids(loaded)) == TEXT and loaded.eos_token_id == donor.eos_token_id
    loaded.save_pretrained(tmp_path / "again")
    (tmp_path / "again" / "config.json").write_bytes((tmp_path / "out" / "config.json").read_bytes())
    assert ids(AutoTokenizer.from_pretrained(tmp_path / "again")) == ids(donor)


@pytest.mark.parametrize("trust", [None, True])
def test_objects_on_qwen2(trust, tmp_path):
    base, donor = byte_level(300), sentencepiece_like()
    model, tokenizer, _ = transplant_tokenizer(tiny("qwen2", vocab_size=300), base, donor)
    assert ids(tokenizer) == ids(donor) and tokenizer.eos_token == "</s>"
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=trust)
    assert ids(loaded) == ids(donor) and loaded.special_tokens_map == donor.special_tokens_map


def test_saved_alone_it_asks_for_no_trust(tmp_path):
    """As beside an adapter; and a model that is saved later finds the ids kept."""
    model, tokenizer, _ = transplant_tokenizer(tiny("qwen2", vocab_size=300), byte_level(300), sentencepiece_like())
    tokenizer.save_pretrained(tmp_path)
    alone = AutoTokenizer.from_pretrained(tmp_path)  # a question would fail here
    model.save_pretrained(tmp_path)
    assert ids(alone) == ids(AutoTokenizer.from_pretrained(tmp_path)) == ids(sentencepiece_like())


def test_no_code_where_a_stock_load_is_right(tmp_path):
    donor = sentencepiece_like()
    tiny_folder("llama", tmp_path / "base", vocab_size=300)
    byte_level(300).save_pretrained(tmp_path / "base")
    transplant_checkpoint(tmp_path / "base", donor, tmp_path / "out")
    assert not (tmp_path / "out" / CODE_FILE).exists()
    assert "auto_map" not in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    _, tokenizer, _ = transplant_tokenizer(tiny("llama", vocab_size=300), byte_level(300), donor)
    assert type(tokenizer) is type(donor) and tokenizer is not donor


@pytest.mark.parametrize("part", PARTS)
def test_every_model_type_keeps_the_ids(tmp_path, part):
    """Over all types of the installed transformers; each one's config is its default."""
    donor = sentencepiece_like()
    donor.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    declared = json.loads(path.read_text()) | {"tokenizer_class": "TokenizersBackend"}
    needed = []
    for model_type in each_default_config(tmp_path, part):
        (tmp_path / CODE_FILE).unlink(missing_ok=True)
        path.write_text(json.dumps(declared))
        keep_ids_in_folder(tmp_path)
        assert ids(AutoTokenizer.from_pretrained(tmp_path)) == ids(donor), model_type
        needed += [model_type] * (tmp_path / CODE_FILE).exists()
    assert set(DISTURBED[part : part + 1]) <= set(needed)


def test_the_first_difference_is_found():
    one, other = byte_level(290), sentencepiece_like()
    own = Tokenizer.from_str(one.backend_tokenizer.to_str())
    own.enable_truncation(2)
    assert first_difference(one, own) is None
    text = "the cat sat on the log"
    at, found = first_difference(other, own, [text])
    assert found == text
    assert ids(other, text)[:at] == ids(one, text)[:at] and ids(other, text)[at:] != ids(one, text)[at:]
