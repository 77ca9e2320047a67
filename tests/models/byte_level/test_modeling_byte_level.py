import copy
import pickle

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertLMHeadModel, DynamicCache, StoppingCriteria

from hf_tokext import ByteEnsembleForCausalLM, ByteLevelForCausalLM, ByteTokenizer, byteify, score_bytes
from hf_tokext.errors import CheckpointError, TextError, UnsupportedModelError, VocabularyError
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import Enumeration, tiny_llama
from tests.tiny_models import tiny


def made(make=small.plain, **options):
    tokenizer = make()
    return byteify(tiny_llama(len(tokenizer)), tokenizer, **{"tolerance": 0, **options})


def batch(tokenizer, texts):
    return tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")


def test_logits_are_the_log_probabilities_of_enumeration():
    tokenizer = small.plain()
    base = tiny_llama(len(tokenizer))
    model, byte_tokenizer = byteify(base, tokenizer, tolerance=0)
    found = model(**byte_tokenizer("abca", return_tensors="pt")).logits[0]
    exact = Enumeration(base, tokenizer, (tokenizer.bos_token_id,), False)
    special = {text: 256 + at for at, text in enumerate(model.config.markers)}
    for at, row in enumerate(found.exp().numpy(), 1):
        events = exact.events(b"abca"[:at])
        np.testing.assert_allclose(row[:256], events[:256], atol=1e-12)
        for index, chance in zip(exact.special, events[256:], strict=True):
            assert row[special[tokenizer.convert_ids_to_tokens(index)]] == pytest.approx(chance, abs=1e-12)
        assert row[model.config.pad_token_id] == 0


def test_a_batch_of_different_lengths_equals_single_texts():
    model, tokenizer = made()
    given = batch(tokenizer, ["abc", "a", "bcabc"])
    together = model(**given).logits
    for row, text in zip(together, ["abc", "a", "bcabc"], strict=True):
        alone = model(**tokenizer(text, return_tensors="pt")).logits[0]
        torch.testing.assert_close(row[-len(text) :].exp(), alone.exp(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "options", [{"do_sample": False}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}]
)
def test_generating_with_a_cache_equals_without(options):
    model, tokenizer = made()
    given = batch(tokenizer, ["abc", "a"])
    cached = model.generate(**given, max_new_tokens=7, **options)
    assert torch.equal(cached, model.generate(**given, max_new_tokens=7, use_cache=False, **options))


def test_greedy_is_the_most_likely_byte_each_time():
    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    found = model.generate(**given, max_new_tokens=6, do_sample=False)[0].tolist()
    ids = given.input_ids[0].tolist()
    while len(ids) < 8 and ids[-1] not in model.config.eos_token_id:
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert found == ids


def test_beams_find_the_best_text_of_a_length():
    model, tokenizer = made()
    given = tokenizer("a", return_tensors="pt")
    options = {"num_beams": 60, "max_new_tokens": 2, "min_new_tokens": 2, "length_penalty": 0.0, "early_stopping": True}
    found = model.generate(**given, **options)[0].tolist()
    scores = {}
    first = model(**given).logits[0, -1]
    ends = model.config.eos_token_id
    for one in range(256):
        if first[one] > -np.inf:
            second = model(torch.tensor([[97, one]])).logits[0, -1]
            second[ends] = -np.inf
            other = int(second.argmax())
            scores[one, other] = float(first[one] + second[other])
    assert tuple(found[1:]) == max(scores, key=scores.get)


def test_temperature_is_of_bytes():
    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    torch.manual_seed(0)
    out = model.generate(
        **given, max_new_tokens=1, do_sample=True, temperature=0.5, top_k=0, num_return_sequences=3,
        output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    expected = (model(**given).logits[0, -1] / 0.5).softmax(-1)
    torch.testing.assert_close(out.scores[0][0].softmax(-1), expected, atol=1e-6, rtol=0, check_dtype=False)


def test_stopping_criteria_and_an_end_of_sequence_end_it():
    class Two(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.full((len(input_ids),), input_ids.shape[1] >= 4)

    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    assert model.generate(**given, max_new_tokens=9, do_sample=False, stopping_criteria=[Two()]).shape[1] == 4
    torch.manual_seed(1)
    found = model.generate(**given, max_new_tokens=10, do_sample=True, num_return_sequences=40)
    ended = [row.tolist() for row in found if model.config.eos_token_id[0] in row]
    assert ended
    for row in ended:
        after = row[row.index(model.config.eos_token_id[0]) + 1 :]
        assert set(after) <= {model.config.pad_token_id}


def test_it_goes_on_from_a_cache():
    model, tokenizer = made()
    given = tokenizer("abca", return_tensors="pt")
    begun = model(given.input_ids[:, :2], use_cache=True)
    rest = model(given.input_ids[:, 2:], past_key_values=begun.past_key_values).logits
    torch.testing.assert_close(rest.exp(), model(**given).logits[:, 2:].exp(), atol=1e-12, rtol=0)


def test_another_kind_of_cache_is_refused():
    """It would be taken for an empty one, and what stands before be forgotten."""
    model, _ = made()
    ensemble, _ = ByteEnsembleForCausalLM.from_members([made()[0]])
    of_ensemble = ensemble(torch.tensor([[97, 98]]), use_cache=True).past_key_values
    for cache in (of_ensemble, DynamicCache()):
        with pytest.raises(UnsupportedModelError, match=f"is a {type(cache).__name__}.*the ByteCache"):
            model(torch.tensor([[99]]), past_key_values=cache)


def test_a_changed_config_holds():
    model, tokenizer = made()
    given = tokenizer("abcabcab", return_tensors="pt")
    begun = model(**given, use_cache=True)
    model.config.measure = "canonical"
    expected = made(measure="canonical")[0](**given).logits
    torch.testing.assert_close(model(**given).logits.exp(), expected.exp(), atol=1e-12, rtol=0)
    assert not torch.allclose(begun.logits.exp(), expected.exp())
    with pytest.raises(UnsupportedModelError, match="its measure changed"):
        model(torch.tensor([[97]]), past_key_values=begun.past_key_values)


@pytest.mark.parametrize("make", [small.plain, small.fallback])
def test_saved_and_loaded_it_is_the_same(make, tmp_path):
    model, tokenizer = made(make)
    given = batch(tokenizer, ["aba", "a"])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, device_map="auto", dtype="auto")
    assert isinstance(again, ByteLevelForCausalLM)
    assert not again.training
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path), ByteTokenizer)
    assert torch.equal(again(**given).logits, model(**given).logits)
    for name in ("markers", "measure", "tolerance", "eos_token_id", "pad_token_id", "bos_token_id"):
        assert getattr(again.config, name) == getattr(model.config, name)


def test_tied_weights_stay_tied(tmp_path):
    tokenizer = small.plain()
    model, _ = byteify(tiny("gpt2", tied=True, vocab_size=len(tokenizer)), tokenizer)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.base.get_output_embeddings().weight is again.base.get_input_embeddings().weight
    ids = torch.tensor([[97, 98]])
    assert torch.equal(again(ids).logits, model(ids).logits)


def test_a_checkpoint_without_the_bases_tokenizer_is_refused(tmp_path):
    model, _ = made()
    model.save_pretrained(tmp_path)
    for path in (tmp_path / "base_tokenizer").iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match="no tokenizer of its base in base_tokenizer/"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_what_it_is_not_for_is_refused():
    model, tokenizer = made()
    ids = tokenizer("ab", return_tensors="pt").input_ids
    with pytest.raises(UnsupportedModelError, match="train the base"):
        model(ids, labels=ids)
    model.train()
    with pytest.raises(UnsupportedModelError, match="model.eval"):
        model(ids)
    model.eval()
    with pytest.raises(UnsupportedModelError, match="256 bytes"):
        model.resize_token_embeddings(300)
    assert model.resize_token_embeddings(model.config.vocab_size) is model.base.get_input_embeddings()
    with pytest.raises(UnsupportedModelError, match="input_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 16))
    with pytest.raises(UnsupportedModelError, match="cache_implementation"):
        model.generate(ids, max_new_tokens=1, cache_implementation="static")


def test_bad_texts_are_refused():
    model, _ = made()
    with pytest.raises(TextError, match="id 300 is neither"):
        model(torch.tensor([[97, 300]]))
    with pytest.raises(TextError, match="the prompt is empty"):
        model(torch.zeros((1, 0), dtype=torch.long))
    with pytest.raises(TextError, match="no probability"):
        model(torch.tensor([[120]]))  # "x" is in no token
    with pytest.raises(TextError, match="longer than the model's context"):
        model(torch.tensor([[97] * 200]))


def test_what_cannot_be_byteified_is_refused():
    tokenizer = small.plain()
    with pytest.raises(UnsupportedModelError, match="no causal LM"):
        byteify(tiny("t5", tied=True, vocab_size=len(tokenizer)), tokenizer)
    looks_ahead = BertLMHeadModel(tiny("bert", vocab_size=len(tokenizer)).config)
    with pytest.raises(UnsupportedModelError, match="looks ahead"):
        byteify(looks_ahead, tokenizer)
    with pytest.raises(UnsupportedModelError, match="looks ahead"):
        score_bytes(looks_ahead, "a", tokenizer)
    with pytest.raises(VocabularyError, match="do not belong together"):
        byteify(tiny_llama(5), tokenizer)
    with pytest.raises(UnsupportedModelError, match="measure must be one of"):
        byteify(tiny_llama(len(tokenizer)), tokenizer, measure="all")
    endless = small.plain()
    endless.eos_token = None
    model = tiny_llama(len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    with pytest.raises(VocabularyError, match="end of sequence"):
        byteify(model, endless)


def test_copies_and_pickles_read_the_same():
    model, tokenizer = made()
    given = batch(tokenizer, ["aba", "a"])
    expected = model(**given).logits
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(**given).logits, expected)


def test_in_bfloat16_the_same_up_to_its_numbers(tmp_path):
    model, tokenizer = made(tolerance=1e-3)
    given = batch(tokenizer, ["abca", "a"])
    expected = model(**given).logits.exp()
    model.save_pretrained(tmp_path)
    halved = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert halved.dtype == torch.bfloat16
    found = halved(**given).logits
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0].exp().sum(-1), torch.ones(4), atol=1e-5, rtol=0)
    assert (found.exp() - expected).abs().mean() < 0.02
    cast = model.to(torch.bfloat16)  # what was run before is forgotten
    torch.testing.assert_close(cast(**given).logits.exp(), found.exp(), atol=1e-3, rtol=0)


def test_weights_that_lie_on_disk(tmp_path):
    model, tokenizer = made()
    given = batch(tokenizer, ["abca", "a"])
    model.save_pretrained(tmp_path / "model")
    layers = {f"base.model.layers.{number}": "disk" for number in range(2)}
    places = {
        "base.model.embed_tokens": "cpu",
        "base.model.norm": "cpu",
        "base.model.rotary_emb": "cpu",
        "base.lm_head": "cpu",
    }
    spread = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", dtype="auto", device_map=layers | places, offload_folder=tmp_path / "disk"
    )
    assert spread.base.model.layers[0].mlp.up_proj.weight.device.type == "meta"
    torch.testing.assert_close(spread(**given).logits.exp(), model(**given).logits.exp(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("texts", [["a", 5], [[97, 98]], [97, 98]])
def test_what_is_no_text_is_not_scored(texts):
    model, _ = made()
    with pytest.raises(TextError, match="give str or bytes, not ids"):
        score_bytes(model, texts)
    assert score_bytes(model, bytearray(b"ab"))[0].log_probability == score_bytes(model, "ab")[0].log_probability
