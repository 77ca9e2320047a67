"""Bits per byte against a loop in float64, and what is refused."""

import copy
import math

import pytest
import torch

from hf_tokext.errors import TextError, UnsupportedModelError, VocabularyError
from hf_tokext.measure import bits_per_byte
from tests.tiny_models import ENCODER_DECODERS, MASKED, tiny
from tests.tokenizers import TEXT, byte_level, words

TEXTS = [TEXT, "Grüße, 世界! the cat"]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level()


def by_hand(model, tokenizer, texts, window, watched=()):
    """The same by one window at a time in float64, no batch, no padding."""
    model = copy.deepcopy(model).double()
    nats, tokens, mass = 0.0, 0, 0.0
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        for start in range(0, len(ids), window - 1):
            piece = ids[start : start + window - 1]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[tokenizer.bos_token_id, *piece]])).logits[0]
            probabilities = logits.softmax(-1)
            for position, token_id in enumerate(piece):
                nats -= math.log(float(probabilities[position, token_id]))
                mass += sum(float(probabilities[position, other]) for other in watched)
                tokens += 1
    return nats / math.log(2) / sum(len(text.encode()) for text in texts), tokens, mass / tokens


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "gpt_neox"])
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_equals_a_loop_by_hand(tokenizer, name, batch_size):
    model = tiny(name, vocab_size=300)
    found = bits_per_byte(model, tokenizer, TEXTS, window=17, batch_size=batch_size, watch_ids={"some": [5, 9, 299]})
    bits, tokens, mass = by_hand(model, tokenizer, TEXTS, 17, [5, 9, 299])
    assert found.bits_per_byte == pytest.approx(bits, rel=1e-5)
    assert found.tokens == tokens
    assert found.mass == {"some": pytest.approx(mass, rel=1e-4)}
    assert found.bytes == sum(len(text.encode()) for text in TEXTS)
    assert found.tokens_per_byte == pytest.approx(tokens / found.bytes)
    assert found.context_bytes == int(256 * found.bytes / tokens)
    assert found.caveat is None


def test_a_uniform_model_needs_log2_of_its_rows_a_token(tokenizer):
    model = tiny("llama", vocab_size=512)
    torch.nn.init.zeros_(model.lm_head.weight)
    found = bits_per_byte(model, tokenizer, TEXTS, watch_ids={"half": range(256)})
    assert found.bits_per_byte == pytest.approx(9 * found.tokens_per_byte, rel=1e-6)
    assert found.mass["half"] == pytest.approx(0.5, rel=1e-6)


def test_low_precision_is_scored_in_float32(tokenizer):
    model = tiny("llama", vocab_size=300, dtype=torch.bfloat16)
    found = bits_per_byte(model, tokenizer, TEXTS)
    same = bits_per_byte(copy.deepcopy(model).float(), tokenizer, TEXTS)
    assert found.bits_per_byte == pytest.approx(same.bits_per_byte, rel=5e-3)


def test_mode_is_kept_and_progress_reaches_the_end(tokenizer):
    model, seen = tiny("gpt2", vocab_size=300).train(), []
    bits_per_byte(model, tokenizer, TEXTS, window=32, batch_size=2, progress=lambda *pair: seen.append(pair))
    assert model.training
    assert seen[-1][0] == seen[-1][1] == len({done for done, _ in seen}) * 2 - (seen[-1][1] % 2)


def test_figures_are_ready_for_json(tokenizer):
    found = bits_per_byte(tiny("llama", vocab_size=300), tokenizer, TEXTS).to_dict()
    assert found["bytes_per_token"] == pytest.approx(1 / found["tokens_per_byte"])
    assert set(found) >= {"bits_per_byte", "tokens", "bytes", "context_bytes", "caveat", "mass", "unknown"}


def test_unknown_tokens_make_the_figure_incomparable():
    found = bits_per_byte(tiny("llama", vocab_size=8), words(), ["the cat sat zzz qqq"])
    assert found.unknown == 2
    assert "2 of 5 tokens are unknown" in found.caveat


def test_a_tokenizer_that_drops_text_is_named():
    found = bits_per_byte(tiny("llama", vocab_size=8), words(), ["the  cat\nsat"])
    assert found.unknown == 0 and not found.round_trip
    assert "does not give the text back" in found.caveat


def test_cls_or_eos_open_a_window_where_there_is_no_bos():
    model = tiny("llama", vocab_size=300)
    with_eos = bits_per_byte(model, byte_level(eos_token="<s>"), TEXTS)
    assert with_eos.bits_per_byte == bits_per_byte(model, byte_level(), TEXTS).bits_per_byte
    with pytest.raises(VocabularyError, match="no bos, cls or eos"):
        bits_per_byte(model, byte_level(pad_token="<pad>"), TEXTS)


@pytest.mark.parametrize("texts", [[], [""], ["fine", ""], "a string"])
def test_empty_text_is_refused(tokenizer, texts):
    with pytest.raises(TextError):
        bits_per_byte(tiny("llama", vocab_size=300), tokenizer, texts)


@pytest.mark.parametrize("name", [*MASKED, *ENCODER_DECODERS])
def test_models_that_look_ahead_are_refused(tokenizer, name):
    with pytest.raises(UnsupportedModelError, match="causal language model"):
        bits_per_byte(tiny(name, vocab_size=300), tokenizer, TEXTS)


def test_a_model_without_a_head_is_refused(tokenizer):
    with pytest.raises(UnsupportedModelError, match="no head"):
        bits_per_byte(tiny("llama", vocab_size=300).model, tokenizer, TEXTS)


def test_ids_past_the_rows_are_refused(tokenizer):
    with pytest.raises(VocabularyError, match="has id 289, but the model has 280 rows"):
        bits_per_byte(tiny("llama", vocab_size=280), tokenizer, TEXTS)
    with pytest.raises(VocabularyError, match="watched id 300"):
        bits_per_byte(tiny("llama", vocab_size=300), tokenizer, TEXTS, watch_ids={"pad": [300]})


def test_windows_must_fit_learned_positions_but_not_rotary_ones(tokenizer):
    long = [TEXT * 3]
    with pytest.raises(TextError, match="256 positions"):
        bits_per_byte(tiny("gpt2", vocab_size=300), tokenizer, long, window=300)
    assert bits_per_byte(tiny("llama", vocab_size=300), tokenizer, long, window=300).tokens > 300
    with pytest.raises(TextError, match="window of 1"):
        bits_per_byte(tiny("llama", vocab_size=300), tokenizer, TEXTS, window=1)
