"""What upstream's own arguments of `generate` do on bytes."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from transformers import TextStreamer, pipeline

from hf_tokext import byteify
from hf_tokext.errors import UnsupportedModelError
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import tiny_llama


def made(seed=0, prepare=lambda tokenizer: None, **options):
    tokenizer = small.plain()
    prepare(tokenizer)
    return byteify(tiny_llama(len(tokenizer), seed), tokenizer, **{"tolerance": 0, **options})


def chances(model, ids):
    """Probabilities after a text, read from its start."""
    return model(torch.tensor([ids])).logits[0, -1].exp().numpy()


def test_beams_equal_brute_force():
    """With as many beams as there are texts nothing is lost, so that they come back in the order of probability."""
    model, tokenizer = made(seed=3)
    end = model.config.eos_token_id[0]
    scores = {}
    for text in product(b"abc", repeat=3):
        ids, total = [98], 0.0
        for byte in text:
            total += np.log(chances(model, ids)[byte])
            ids.append(byte)
        scores[bytes(text)] = total
    ranked = sorted(scores, key=scores.get, reverse=True)[:4]
    found = model.generate(
        **tokenizer("b", return_tensors="pt"), num_beams=40, num_return_sequences=4, max_new_tokens=3, min_new_tokens=3,
        length_penalty=0.0, suppress_tokens=[end, 257], return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    assert [bytes(row[1:].tolist()) for row in found.sequences] == ranked
    np.testing.assert_allclose(found.sequences_scores.numpy(), [scores[text] for text in ranked], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "kept"),
    [({"top_k": 2}, lambda order, mass: order < 2), ({"top_p": 0.6}, lambda order, mass: mass < 0.6)],
    ids=["top_k", "top_p"],
)
def test_what_is_cut_off_is_cut_off_of_bytes(options, kept):
    model, tokenizer = made(seed=2)
    given = tokenizer("ab", return_tensors="pt")
    settings = {"top_k": 0, "max_new_tokens": 1, "do_sample": True, "output_scores": True}
    out = model.generate(**given, **settings | options, return_dict_in_generate=True)
    expected = chances(model, [97, 98])
    order = np.argsort(-expected)
    before = np.cumsum(expected[order]) - expected[order]  # mass of what is likelier
    expected[order[~kept(np.arange(len(order)), before)]] = 0
    assert 2 <= np.count_nonzero(expected) <= 3
    np.testing.assert_allclose(out.scores[0][0].softmax(-1).numpy(), expected / expected.sum(), atol=1e-6)


def test_draws_have_the_probabilities():
    model, tokenizer = made(seed=2)
    torch.manual_seed(0)
    given = tokenizer("ab", return_tensors="pt")
    drawn = model.generate(**given, max_new_tokens=1, do_sample=True, top_k=0, num_return_sequences=1000)[:, 2]
    expected = chances(model, [97, 98])
    counts = np.bincount(drawn.numpy(), minlength=len(expected))
    assert not counts[expected == 0].any()
    likely = expected > 0.002
    pearson = ((counts - 1000 * expected)[likely] ** 2 / (1000 * expected)[likely]).sum()
    assert likely.sum() >= 4 and pearson < 25  # 4 degrees of freedom: one in 20,000


def test_strings_stop_it():
    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    free = tokenizer.decode(model.generate(**given, max_new_tokens=12, do_sample=False)[0])
    assert free.startswith("abcbbbbba")
    found = model.generate(**given, max_new_tokens=12, do_sample=False, stop_strings=["bba"], tokenizer=tokenizer)
    assert tokenizer.decode(found[0]) == "abcbbbbba"


def test_a_streamer_prints_it_as_it_comes(capsys):
    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    model.generate(**given, max_new_tokens=6, do_sample=False, streamer=TextStreamer(tokenizer))
    assert capsys.readouterr().out == "abcbbbbb\n"


def test_no_end_before_the_least_number():
    model, tokenizer = made()
    end = model.config.eos_token_id[0]
    torch.manual_seed(1)
    options = {"do_sample": True, "num_return_sequences": 40, "max_new_tokens": 8}
    found = model.generate(**tokenizer("ab", return_tensors="pt"), min_new_tokens=4, **options)
    assert not (found[:, 2:6] == end).any()
    assert (found[:, 6:] == end).any()


def test_any_of_several_ends_ends_it():
    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    assert model.generate(**given, max_new_tokens=9, do_sample=False, eos_token_id=[258, 99])[0].tolist() == [
        97,
        98,
        99,
    ]


def test_the_bases_several_ends_are_all_ends():
    tokenizer = small.plain()
    base = tiny_llama(len(tokenizer))
    base.generation_config.eos_token_id = [0, 1]
    model, byte_tokenizer = byteify(base, tokenizer)
    assert model.generation_config.eos_token_id == byte_tokenizer.convert_tokens_to_ids(["<s>", "</s>"])


def test_it_goes_on_from_the_cache_of_another_call():
    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    first = model.generate(**given, max_new_tokens=3, do_sample=False, return_dict_in_generate=True)
    kept = copy.deepcopy(first.past_key_values)
    longer = torch.cat([first.sequences, torch.tensor([[97, 99]])], dim=1)
    expected = model.generate(longer, max_new_tokens=4, do_sample=False)
    for cache in (first.past_key_values, kept):  # a copy is good when the original has gone on
        assert torch.equal(model.generate(longer, past_key_values=cache, max_new_tokens=4, do_sample=False), expected)


def test_it_goes_on_after_inference_mode():
    """Keys and values that lie in the cache of an earlier call are written beside."""
    model, tokenizer = made()
    given = tokenizer("ab", return_tensors="pt")
    with torch.inference_mode():
        first = model.generate(**given, max_new_tokens=3, do_sample=False)
    assert torch.equal(model.generate(**given, max_new_tokens=3, do_sample=False), first)


def test_a_conversation_is_written_by_the_bases_template():
    template = "{% for message in messages %}<s>{{ message.content }}{% endfor %}</s>"
    model, tokenizer = made(prepare=lambda tokenizer: setattr(tokenizer, "chat_template", template))
    chat = [{"role": "user", "content": "ab"}, {"role": "user", "content": "c"}]
    given = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
    start, end = tokenizer.convert_tokens_to_ids(["<s>", "</s>"])
    assert given.input_ids.tolist() == [[start, 97, 98, start, 99, end]]
    assert model.generate(**given, max_new_tokens=2, do_sample=False).shape == (1, 8)


def test_a_pipeline_runs_it():
    model, tokenizer = made()
    run = pipeline("text-generation", model=model, tokenizer=tokenizer)
    assert run("ab", max_new_tokens=6, do_sample=False)[0]["generated_text"] == "abcbbbbb"


def test_without_a_prompt_it_begins_with_the_bos():
    model, tokenizer = made()
    found = model.generate(max_new_tokens=3, do_sample=False)[0].tolist()
    assert (
        found == model.generate(torch.tensor([[tokenizer.bos_token_id]]), max_new_tokens=3, do_sample=False)[0].tolist()
    )
    assert found[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("name", ["assistant_model", "prompt_lookup_num_tokens"])
def test_drafts_are_refused(name):
    model, tokenizer = made()
    value = model if name == "assistant_model" else 2
    with pytest.raises(ValueError, match="assisted generation is not supported"):
        model.generate(**tokenizer("ab", return_tensors="pt"), max_new_tokens=4, do_sample=False, **{name: value})


def test_guidance_is_refused():
    model, tokenizer = made()
    with pytest.raises(UnsupportedModelError, match="guidance_scale"):
        model.generate(**tokenizer("ab", return_tensors="pt"), max_new_tokens=4, guidance_scale=2.0)
