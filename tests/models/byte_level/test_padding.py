"""Padding: what is masked, what generate fills ended rows with, and padding that is a token of the base."""

import pytest
import torch

from hf_tokext import byteify
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import tiny_llama

PADS = {"of no token": None, "a token of the base": "<s>", "the end": "</s>"}


def made(pad=None, tolerance=0):
    tokenizer = small.plain()
    tokenizer.pad_token = pad
    return byteify(tiny_llama(len(tokenizer)), tokenizer, tolerance=tolerance)


@pytest.mark.parametrize("pad", PADS.values(), ids=PADS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_row_generates_what_it_does_alone(pad, side):
    model, tokenizer = made(pad)
    texts = ["abca", "a", "bc"]
    given = tokenizer(texts, return_tensors="pt", padding=True, padding_side=side)
    found = model.generate(**given, max_new_tokens=5, min_new_tokens=5, do_sample=False)[:, 4:]
    for row, text in zip(found, texts, strict=True):
        alone = tokenizer(text, return_tensors="pt")
        expected = model.generate(**alone, max_new_tokens=5, min_new_tokens=5, do_sample=False)
        assert torch.equal(row, expected[0, len(text) :])


def test_a_row_that_is_all_masked_is_what_comes_first():
    model, tokenizer = made()
    ids = torch.tensor([[97, 98], [98, 99]])
    logits = model(ids, attention_mask=torch.tensor([[0, 0], [1, 1]])).logits
    first = model(torch.tensor([[tokenizer.bos_token_id]])).logits[0, 0]
    torch.testing.assert_close(logits[0, 1], first, atol=1e-12, rtol=0)
    assert not logits[0, 0].any()


def test_logits_stand_at_their_places_whatever_is_not_read():
    """Masked and unmasked padding, in the middle and at the ends."""
    model, tokenizer = made()
    pad = tokenizer.pad_token_id
    plain = model(torch.tensor([[97, 98, 99]])).logits[0]
    found = model(torch.tensor([[pad, 97, pad, 98, 99, pad]])).logits[0]
    masked = model(torch.tensor([[98, 97, 97, 98, 99, 97]]), attention_mask=torch.tensor([[0, 1, 0, 1, 1, 0]])).logits[
        0
    ]
    for logits in (found, masked):
        torch.testing.assert_close(logits[[1, 3, 4]].exp(), plain.exp(), atol=1e-12, rtol=0)
        torch.testing.assert_close(logits[5].exp(), plain[2].exp(), atol=1e-12, rtol=0)
        assert not logits[[0, 2]].any()


@pytest.mark.parametrize("pad", PADS.values(), ids=PADS)
@pytest.mark.parametrize("use_cache", [True, False])
def test_ended_rows_are_not_read_on(pad, use_cache):
    """Not even until they are longer than the base's context, while another row, of longer tokens, goes on."""
    model, tokenizer = made(pad, tolerance=0.05)
    end = model.config.eos_token_id[0]
    longest = model.base.config.max_position_embeddings
    cache = model(torch.tensor([[97, end], [97, 98]]), use_cache=True).past_key_values if use_cache else None
    ids = [[97, end], [97, 98]]
    for _ in range(longest + 10):
        step = [[tokenizer.pad_token_id], [99 if ids[1][-1] == 98 else 98 if ids[1][-1] == 97 else 97]]
        ids = [row + new for row, new in zip(ids, step, strict=True)]
        if use_cache:
            logits = model(torch.tensor(step), past_key_values=cache).logits
    if not use_cache:
        logits = model(torch.tensor(ids), logits_to_keep=1).logits
    first = model(torch.tensor([[97, end]])).logits[0, -1]
    torch.testing.assert_close(logits[0, -1].exp(), first.exp(), atol=1e-12, rtol=0)


def test_padding_that_is_a_token_is_read_inside_a_text():
    model, tokenizer = made("<s>")
    assert tokenizer.pad_token_id == tokenizer.bos_token_id
    found = model(torch.tensor([[97, tokenizer.pad_token_id, 98]])).logits[0, -1]
    other = model(torch.tensor([[98]])).logits[0, -1]
    assert (found.exp() - other.exp()).abs().max() > 1e-3  # "a" stands before it
