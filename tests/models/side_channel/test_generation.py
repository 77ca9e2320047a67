"""What generate writes: cached, uncached, padded, in chunks, from embeddings, after a cache, assisted, with beams."""

import pytest
import torch

from hf_tokext.errors import TextError
from tests.models.side_channel.conftest import CAUSAL, SEQ2SEQ, batch, logits, make
from tests.tiny_models import tiny

STEPS = 5
OPTIONS = {"max_new_tokens": STEPS, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def by_hand_greedy(model, name, ids, side, steps=STEPS):
    """Without cache and without generate."""
    start = torch.full((len(ids), 1), model.config.decoder_start_token_id or 0)
    written = start if name in SEQ2SEQ else ids
    for _ in range(steps):
        if name in SEQ2SEQ:
            found = logits(model, input_ids=ids, side_ids=side, decoder_input_ids=written)
        else:
            more = torch.full((len(ids), max(written.shape[1] - side.shape[1], 0), side.shape[2]), -1)
            seen = torch.cat([side, more], dim=1)[:, : written.shape[1]]
            found = logits(model, input_ids=written, side_ids=seen, use_cache=False)
        written = torch.cat([written, found[:, -1].argmax(-1, keepdim=True)], dim=1)
    return written


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_cached_uncached_and_by_hand_agree(name):
    model = make(name)
    ids, side = batch()
    expected = by_hand_greedy(model, name, ids, side)
    named = {key: side[..., own] for key, own in model.config.columns.items()}
    for given in ({"use_cache": True}, {"use_cache": False}, {"cache_implementation": "static"}, {"side_ids": named}):
        if name in SEQ2SEQ and "cache_implementation" in given:
            continue
        found = model.generate(ids, **({"side_ids": side} | OPTIONS | given))
        assert torch.equal(found, expected), given
    if name != "bart":  # this tiny one writes the same whatever it reads
        assert not torch.equal(model.generate(ids, **OPTIONS), expected)
    torch.manual_seed(0)
    drawn = [model.generate(ids, side_ids=side, **(OPTIONS | {"do_sample": True})) for _ in range(2)]
    assert drawn[0].shape == expected.shape and not torch.equal(*drawn)


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_beams_of_a_batch_equal_those_of_singletons_with_and_without_cache(name):
    model = make(name)
    ids, side = batch()
    options = OPTIONS | {"max_new_tokens": 4, "num_beams": 3, "num_return_sequences": 2}
    found = model.generate(ids, side_ids=side, **options)
    alone = [model.generate(ids[row : row + 1], side_ids=side[row : row + 1], **options) for row in range(3)]
    assert torch.equal(found, torch.cat(alone))
    assert torch.equal(found, model.generate(ids, side_ids=side, use_cache=False, **options))
    named = {key: side[..., own] for key, own in model.config.columns.items()}
    assert torch.equal(found, model.generate(ids, side_ids=named, **options))


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_rows_padded_on_the_left_write_what_they_write_alone(name, use_cache):
    model = make(name)
    ids, side = batch()
    long = batch(rows=1, length=9, seed=3)
    pads = torch.nn.functional.pad
    together = model.generate(
        torch.cat([pads(ids, (3, 0)), long[0]]),
        side_ids=torch.cat([pads(side, (0, 0, 3, 0), value=-1), long[1]]),
        attention_mask=torch.cat([pads(torch.ones_like(ids), (3, 0)), torch.ones_like(long[0])]),
        use_cache=use_cache,
        **OPTIONS,
    )[:, -STEPS:]
    alone = [model.generate(one, side_ids=beside, **OPTIONS)[:, -STEPS:] for one, beside in ((ids, side), long)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_embeddings_stand_for_the_tokens(name):
    """Those of the caller, side ids beside them; in one piece, in chunks, with beams and without cache."""
    model = make(name)
    ids, side = batch()
    embeds = model._embedding()(ids).detach()
    expected = by_hand_greedy(model, name, ids, side)
    if name in CAUSAL:
        expected = expected[:, ids.shape[1] :]
    for given in ({}, {"use_cache": False}):
        assert torch.equal(model.generate(inputs_embeds=embeds, side_ids=side, **(OPTIONS | given)), expected)
    beams = [
        model.generate(side_ids=side, num_beams=3, **kind, **OPTIONS)
        for kind in ({"inputs_embeds": embeds}, {"input_ids": ids})
    ]
    assert torch.equal(beams[0][:, -STEPS:], beams[1][:, -STEPS:])


@pytest.mark.parametrize("name", CAUSAL)
def test_side_ids_may_go_on_past_the_prompt(name):
    model = make(name)
    ids, side = batch()
    longer = torch.cat([side, batch(seed=1, length=3)[1]], dim=1)
    expected = by_hand_greedy(model, name, ids, longer)
    assert not torch.equal(expected, by_hand_greedy(model, name, ids, side))
    for use_cache in (True, False):
        assert torch.equal(model.generate(ids, side_ids=longer, use_cache=use_cache, **OPTIONS), expected)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_prompts_may_be_read_in_chunks(name, size):
    model = make(name)
    ids, side = batch()
    for beside in (side, torch.cat([side, batch(seed=1, length=3)[1]], dim=1)):
        found = model.generate(ids, side_ids=beside, prefill_chunk_size=size, **OPTIONS)
        assert torch.equal(found, by_hand_greedy(model, name, ids, beside))


@pytest.mark.parametrize("name", CAUSAL)
def test_generation_goes_on_after_a_cache(name):
    model = make(name)
    ids, side = batch(length=8)
    expected = by_hand_greedy(model, name, ids, side)

    def read():
        with torch.no_grad():
            return model(ids[:, :5], side_ids=side[:, :5], use_cache=True).past_key_values

    whole = model.generate(ids, side_ids=side, past_key_values=read(), **OPTIONS)
    assert torch.equal(whole, expected)
    rest = model.generate(
        ids[:, 5:], side_ids=side[:, 5:], past_key_values=read(), attention_mask=torch.ones_like(ids), **OPTIONS
    )
    assert torch.equal(rest[:, -STEPS:], expected[:, -STEPS:])


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_assisted_it_writes_the_same(name):
    model = make(name)
    ids, side = batch(rows=1)
    expected = by_hand_greedy(model, name, ids, side)
    plain = tiny(name, dtype=torch.float64)
    for given in ({"prompt_lookup_num_tokens": 2}, {"assistant_model": plain}, {"assistant_model": make(name)}):
        assert torch.equal(model.generate(ids, side_ids=side, **given, **OPTIONS), expected), given


@pytest.mark.parametrize("name", CAUSAL)
def test_side_ids_that_do_not_fit_the_prompt_are_refused(name):
    model = make(name)
    ids, side = batch()
    for wrong in (side[:, :-1], side[:1], side[0]):
        with pytest.raises(TextError, match=r"beside a prompt of shape \[3, 6\] it must be \[3, 6 or more"):
            model.generate(ids, side_ids=wrong, **OPTIONS)
    with pytest.raises(TextError, match=r"must be \[3, 6, 6\]"):
        model.generate(ids, side_ids=side[..., :2], **OPTIONS)


def test_side_ids_that_do_not_fit_the_encoder_are_refused():
    model = make("t5")
    ids, side = batch()
    with pytest.raises(TextError, match=r"must be \[3, 6, 6\]"):
        model.generate(ids, side_ids=side[:, :-1], **OPTIONS)
    with pytest.raises(TextError, match="the decoder has nothing to read"):
        model(ids, side_ids=side)


def test_an_encoder_that_has_run_is_not_run_again():
    model = make("t5")
    ids, side = batch()
    encoded = model.get_encoder()(inputs_embeds=model.mix(ids, None, side))
    expected = model.generate(ids, side_ids=side, **OPTIONS)
    assert torch.equal(model.generate(ids, encoder_outputs=encoded, **OPTIONS), expected)
    found = model(encoder_outputs=encoded, decoder_input_ids=expected).logits
    assert torch.equal(found, model(ids, side_ids=side, decoder_input_ids=expected).logits)


@pytest.mark.long
def test_compiled_it_writes_the_same():
    model = make("llama", dtype=torch.float32)
    ids, side = batch(rows=1)
    expected = model.generate(ids, side_ids=side, **OPTIONS)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(ids, side_ids=side).logits, model(ids, side_ids=side).logits)
    model.forward = torch.compile(model.forward, fullgraph=True, backend="eager")
    assert torch.equal(model.generate(ids, side_ids=side, cache_implementation="static", **OPTIONS), expected)
