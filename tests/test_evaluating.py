"""Whoever runs a user's model as in evaluation gives every part of it its own mode back."""

import pytest
import torch

from hf_tokext import bits_per_byte, complete, score_bytes
from hf_tokext.errors import TextError
from hf_tokext.evaluating import evaluating
from hf_tokext.transplant.direction import head_direction
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import tiny_llama


def half_frozen():
    """A model in training, one layer of which its user keeps in evaluation mode."""
    model = tiny_llama(len(small.plain())).float().train()
    model.model.layers[0].eval()
    return model


def modes(model):
    return [module.training for module in model.modules()]


def seen(model):
    """The modes of each run, from now on."""
    found = []
    model.register_forward_pre_hook(lambda module, given: found.append(any(modes(module))))
    return found


WORK = {
    "bits_per_byte": lambda model, tokenizer: bits_per_byte(model, tokenizer, ["abca"]),
    "score_bytes": lambda model, tokenizer: score_bytes(model, ["abca"], tokenizer=tokenizer),
    "complete": lambda model, tokenizer: complete(model, ["ab"], tokenizer=tokenizer, max_new_tokens=2),
    "complete, bytes": lambda model, tokenizer: complete(
        model, ["ab"], tokenizer=tokenizer, mode="bytes", max_new_tokens=2
    ),
    "head_direction": lambda model, tokenizer: head_direction(model, tokenizer, ["abca" * 20]),
}


@pytest.mark.parametrize("name", WORK)
def test_every_part_keeps_its_mode(name):
    model = half_frozen()
    before, runs = modes(model), seen(model)
    WORK[name](model, small.plain())
    assert modes(model) == before and any(before) and not all(before)
    assert runs and not any(runs)


def test_after_an_error_too():
    model = half_frozen()
    before = modes(model)
    with pytest.raises(TextError, match="longer than the model's context"):
        score_bytes(model, ["abc" * 100], tokenizer=small.plain())
    assert modes(model) == before


def test_a_part_alone():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout()).train()
    with evaluating(model[0]):
        assert modes(model) == [True, False, True]
    assert modes(model) == [True, True, True]
