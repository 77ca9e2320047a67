"""Models with side tables go to the Hub and come back."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from hf_tokext import push_checkpoint
from tests.hub.conftest import hub  # noqa: F401 (a fixture)
from tests.models.side_channel.conftest import SEQ2SEQ, batch, inputs_of, logits, make, same_weights
from tests.tokenizers import byte_level


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_push_and_pull(hub, name, tmp_path):  # noqa: F811
    model = make(name, dtype=torch.float32)
    model.save_pretrained(tmp_path / "model")
    byte_level(300).save_pretrained(tmp_path / "model")
    pushed = push_checkpoint(tmp_path / "model", "me/side")
    assert pushed.left_out == [] and not push_checkpoint(tmp_path / "model", "me/side").changed
    auto = AutoModelForSeq2SeqLM if name in SEQ2SEQ else AutoModelForCausalLM
    pulled = auto.from_pretrained("me/side", cache_dir=tmp_path / "cache")
    assert type(pulled) is type(model)
    same_weights(pulled, model)
    inputs = inputs_of(name, *batch())
    torch.testing.assert_close(logits(pulled, **inputs), logits(model, **inputs), rtol=0, atol=1e-6)
    pulled.push_to_hub("me/again")  # transformers' own way
    same_weights(auto.from_pretrained("me/again", cache_dir=tmp_path / "cache"), model)
