"""Tiny models with side tables whose every value differs from zero."""

import pytest
import torch
from transformers import AutoConfig

import hf_tokext.models.side_channel  # noqa: F401 (registers)
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
from hf_tokext.models.side_channel.modeling_side_channel import (
    SideChannelForCausalLM,
    SideChannelForConditionalGeneration,
)
from tests.tiny_models import tiny

TABLES = {
    "kinds": {"size": 5, "mixing": "concat"},
    "shells": {"size": 12, "levels": 3, "weights": [0.5, 0.25]},
    "tags": {"size": 4, "levels": 2, "trainable_weights": True, "weights": [0.75, 2.0]},
}
CAUSAL = ("llama", "gemma3", "gpt2")
SEQ2SEQ = ("t5", "bart")


def fill(side, seed=0):
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for table in side.tables.values():
            rows = table.rows.weight
            rows[1:] = torch.randn(rows[1:].shape, generator=chance, dtype=torch.float64).to(rows.dtype)


def make(name, tables=TABLES, dtype=torch.float64, tied=None):
    own = SideChannelForConditionalGeneration if name in SEQ2SEQ else SideChannelForCausalLM
    model = own.from_backbone(tiny(name, dtype=dtype, tied=tied), tables)
    fill(model.side)
    return model.eval()


def batch(rows=3, length=6, seed=0, tables=TABLES, share=0.5):
    """Tokens (none of them special), and side ids at about half of the places."""
    chance = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 96, (rows, length), generator=chance)
    parts = []
    for table in tables.values():
        levels = table.get("levels", 1)
        part = torch.randint(0, table["size"], (rows, length, levels), generator=chance)
        some = torch.rand((rows, length, 1), generator=chance) < share
        each = torch.rand(part.shape, generator=chance) < 0.7
        parts.append(torch.where(some & each, part, -1))
    return ids, torch.cat(parts, dim=-1)


def inputs_of(name, ids, side):
    found = {"input_ids": ids, "side_ids": side, "attention_mask": torch.ones_like(ids)}
    return found | ({"labels": ids[:, :4].contiguous()} if name in SEQ2SEQ else {"labels": ids})


def same_weights(one, other):
    """Bit for bit; logits may differ by rounding, since loaded weights lie elsewhere in memory."""
    ones, others = one.state_dict(), other.state_dict()
    assert ones.keys() == others.keys()
    assert all(torch.equal(value, others[key]) for key, value in ones.items())


def logits(model, **inputs):
    with torch.no_grad():
        return model(**inputs).logits


@pytest.fixture(autouse=True)
def registered():
    assert AutoConfig.for_model("tokext_side_channel").__class__ is SideChannelConfig
