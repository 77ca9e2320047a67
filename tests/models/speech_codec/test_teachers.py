"""What teachers say, laid out over time."""

import itertools

import pytest
import torch
from transformers import HubertConfig, HubertModel

from hf_tokext import CodecError, ctc_spans, lm_features, speech_features
from tests.tiny_models import tiny
from tests.tokenizers import byte_level


@pytest.fixture(scope="module")
def lm():
    tokenizer = byte_level()
    return tiny("llama", tied=True, vocab_size=len(tokenizer)).eval(), tokenizer


def test_words_lie_on_their_spans(lm):
    model, tokenizer = lm
    words = ["seven", "two", "seven"]
    found = lm_features(model, tokenizer, words, 12, [(1, 3), (4, 8), (9, 12)])
    assert found.shape == (12, model.config.hidden_size)
    assert not found[[0, 3, 8]].any() and torch.equal(found[1], found[2]) and torch.equal(found[4], found[7])
    assert not torch.equal(found[1], found[9])  # the same word in another place is another vector
    padded = lm_features(model, tokenizer, words, 60, align="pad")
    count = len(tokenizer("seven two seven", add_special_tokens=False)["input_ids"])
    assert padded[:count].any(1).all() and not padded[count:].any()
    first = len(tokenizer("seven", add_special_tokens=False)["input_ids"])
    torch.testing.assert_close(found[1], padded[:first].mean(0))
    assert torch.equal(lm_features(model, tokenizer, words, 2, align="pad"), padded[:2])  # no room for all


def test_words_that_cannot_be_laid_out(lm):
    for spans, message in ((None, "span for each"), ([(0, 1)], "span for each"), ([(0, 2), (1, 9)], "of 5")):
        with pytest.raises(CodecError, match=message):
            lm_features(*lm, ["one", "two"], 5, spans)
    with pytest.raises(CodecError, match='"ctc" or "pad"'):
        lm_features(*lm, ["one"], 5, align="time")
    with pytest.raises(CodecError, match="no words"):
        lm_features(*lm, [], 5, align="pad")


def test_speech_features():
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_kernel=(10, 3), conv_stride=(5, 4), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = HubertModel(config).eval()
    sound = torch.randn(2, 800)
    layers = model(sound, output_hidden_states=True).hidden_states
    places = layers[0].shape[1]
    found = speech_features(model, places, input_values=sound)
    torch.testing.assert_close(found, torch.stack(layers).mean(0).detach())
    assert speech_features(model, 2 * places, input_values=sound).shape == (2, 2 * places, 16)


@pytest.mark.parametrize("seed", range(5))
def test_spans_are_those_of_the_best_path(seed):
    """Against all paths of a short sound."""
    torch.manual_seed(seed)
    scores = torch.randn(6, 3).log_softmax(1)
    ids = [[1, 2], [1, 1], [2], [1, 2, 1], [2, 1]][seed]

    def collapsed(path):
        return [label for label, _ in itertools.groupby(path) if label]

    paths = [path for path in itertools.product(range(3), repeat=6) if collapsed(path) == ids]
    best = max(paths, key=lambda path: float(sum(scores[at, label] for at, label in enumerate(path))))
    runs, at = [], 0
    for label, run in itertools.groupby(best):
        size = len(list(run))
        if label:
            runs.append((at, at + size))
        at += size
    assert ctc_spans(scores, ids) == runs


def test_too_short_a_sound():
    with pytest.raises(CodecError, match="cannot hold"):
        ctc_spans(torch.zeros(2, 3), [1, 1])
    with pytest.raises(CodecError, match="cannot hold"):
        ctc_spans(torch.zeros(2, 3), [])
