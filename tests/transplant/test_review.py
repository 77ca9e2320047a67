"""What a fresh reader found: cases in which rows, ids or files went silently wrong."""

import json

import pytest
import torch
import transformers
from tokenizers import AddedToken
from transformers import AutoTokenizer

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.transplant import transplant_checkpoint, transplant_tokenizer
from tests.tiny_models import tiny, tiny_folder
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

OTHER = "a wholly different text about rivers, boats and bridges; rivers and boats again " * 4


def saved(tokenizer, folder, **config):
    tokenizer.save_pretrained(folder)
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def base_folder(folder, name="llama", **options):
    tokenizer = byte_level(300)
    tiny_folder(name, folder, vocab_size=len(tokenizer), **options)
    return saved(tokenizer, folder)


def gpt2_like(folder):
    """As the Hub's gpt2: the special tokens are the class's own and no file states them."""
    tokenizer = byte_level(310, text=OTHER, eos_token="</s>")
    tokenizer.add_special_tokens({"eos_token": AddedToken("<|endoftext|>", special=True, normalized=False)})
    saved(tokenizer, folder, model_max_length=1024)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    return folder


def test_special_tokens_that_only_the_class_knows_come_along(tmp_path):
    donor = gpt2_like(tmp_path / "donor")
    expected = AutoTokenizer.from_pretrained(donor).special_tokens_map
    assert expected["eos_token"] == "<|endoftext|>"
    base = base_folder(tmp_path / "base")
    report = transplant_checkpoint(base, donor, tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert loaded.eos_token == "<|endoftext|>" and loaded.bos_token == expected["bos_token"]
    assert loaded.model_max_length != 1024  # how long a text may be is the base's to say
    assert report.sources[loaded.eos_token_id] == "role"
    model, tokenizer, of_objects = transplant_tokenizer(
        transformers.AutoModelForCausalLM.from_pretrained(base),
        AutoTokenizer.from_pretrained(base),
        AutoTokenizer.from_pretrained(donor),
    )
    assert of_objects.sources == report.sources
    generation = transformers.GenerationConfig.from_pretrained(tmp_path / "out")
    ends = [loaded.eos_token_id, loaded.convert_tokens_to_ids("</s>")]
    assert model.generation_config.eos_token_id == generation.eos_token_id == ends
    assert tokenizer.eos_token_id == loaded.eos_token_id


def test_a_token_that_only_the_config_names_gets_a_row(tmp_path):
    donor = saved(
        byte_level(310, text=OTHER, eos_token="</s>"), tmp_path / "donor", eos_token="</s>", pad_token="[PAD]"
    )
    report = transplant_checkpoint(base_folder(tmp_path / "base"), donor, tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert loaded.pad_token == "[PAD]" and len(loaded) == report.rows
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model(**loaded(["a boat", "a"], padding=True, return_tensors="pt")).logits.isfinite().all()


@pytest.mark.parametrize("objects", [False, True])
def test_roberta_counts_positions_from_its_pad(objects, tmp_path):
    base = base_folder(tmp_path / "base", "roberta")
    donor = byte_level(300)  # the same pieces, the pad elsewhere
    spec = json.loads(donor.backend_tokenizer.to_str())
    swap = {0: 2, 2: 0}
    spec["model"]["vocab"] = {token: swap.get(index, index) for token, index in spec["model"]["vocab"].items()}
    for token in spec["added_tokens"]:
        token["id"] = swap.get(token["id"], token["id"])
    moved = transformers.PreTrainedTokenizerFast(
        tokenizer_object=transformers.tokenization_utils_tokenizers.TokenizerFast.from_str(json.dumps(spec)),
        pad_token="<pad>", bos_token="<s>", eos_token="</s>",
    )  # fmt: skip
    assert moved.pad_token_id == 2
    old = transformers.AutoModelForMaskedLM.from_pretrained(base)
    if objects:
        new, _, _ = transplant_tokenizer(
            transformers.AutoModelForMaskedLM.from_pretrained(base), AutoTokenizer.from_pretrained(base), moved
        )
    else:
        transplant_checkpoint(base, moved, tmp_path / "out")
        new = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        assert torch.allclose(new.eval()(ids).logits[..., 3:], old.eval()(ids).logits[..., 3:], atol=1e-5)


def test_roberta_without_room_for_a_pad_is_refused(tmp_path):
    base = base_folder(tmp_path / "base", "roberta")
    with pytest.raises(UnsupportedModelError, match="numbers positions from its pad id"):
        transplant_checkpoint(base, sentencepiece_like(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_untied_head_stays_although_the_config_asks_for_a_tie(tmp_path):
    model = tiny("llama", tied=False, vocab_size=300)
    model.config.tie_word_embeddings = True
    head = model.lm_head.weight.detach().clone()
    assert not torch.equal(head, model.get_input_embeddings().weight)
    tokenizer = byte_level(300)
    new, _, report = transplant_tokenizer(model, tokenizer, byte_level(300))
    assert not report.tied and torch.equal(new.lm_head.weight[: len(tokenizer)], head[: len(tokenizer)])


def test_an_encoder_decoder_is_not_left_without_a_start(tmp_path):
    base = base_folder(tmp_path / "base", "t5")
    donor = byte_level(310, text=OTHER, eos_token="</s>")
    with pytest.raises(UnsupportedModelError, match="starts decoding with '<pad>'"):
        spec = json.loads(donor.backend_tokenizer.to_str().replace("<pad>", "<odd>"))
        odd = transformers.PreTrainedTokenizerFast(
            tokenizer_object=transformers.tokenization_utils_tokenizers.TokenizerFast.from_str(json.dumps(spec)),
        )
        transplant_checkpoint(base, odd, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_objects_keep_template_side_and_counts(tmp_path):
    base = byte_level(300)
    base.chat_template = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}"
    donor = sentencepiece_like()
    donor.padding_side = "left"
    for name in ("llama", "qwen2"):
        _, tokenizer, report = transplant_tokenizer(tiny(name, vocab_size=300), base, donor, texts=["a river"])
        assert tokenizer.chat_template == base.chat_template and tokenizer.padding_side == "left"
        assert report.text["bytes"] == 7 and report.text["tokens_after"] > 0


def test_what_is_lost_is_said(tmp_path):
    base = byte_level(300)
    base.add_special_tokens({"extra_special_tokens": ["<end_of_turn>"]})
    opened = transformers.PreTrainedTokenizerFast(
        tokenizer_object=base.backend_tokenizer, bos_token="<s>", eos_token="</s>", add_bos_token=True
    )
    assert opened("a").input_ids[0] == 1
    model = tiny("llama", vocab_size=301)
    model.generation_config.eos_token_id = [2, base.convert_tokens_to_ids("<end_of_turn>")]
    donor = byte_level(310, text=OTHER, bos_token="<s>", eos_token="</s>")
    model, _, report = transplant_tokenizer(model, opened, donor)
    assert [w for w in report.warnings if "opened every text with '<s>'" in w], report.warnings
    assert [w for w in report.warnings if "stop at '<end_of_turn>'" in w], report.warnings
    assert model.generation_config.eos_token_id == 2


def test_a_masked_model_gets_no_generation_config(tmp_path):
    transplant_checkpoint(base_folder(tmp_path / "base", "bert"), byte_level(310, text=OTHER), tmp_path / "out")
    assert not (tmp_path / "out" / "generation_config.json").exists()
