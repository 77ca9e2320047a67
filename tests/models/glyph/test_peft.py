"""PEFT on GlyphForCausalLM: what is trained, and that every way back gives the same logits."""

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.models.glyph.test_modeling_glyph import IDS, embedding_of

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT 0.21: the old name


@pytest.mark.parametrize(
    ("options", "trained"),
    [
        ({"target_modules": "all-linear"}, {"lora"}),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, {"lora", "lm_head"}),
        ({"target_modules": ["q_proj"], "trainable_token_indices": [97, 65537]}, {"lora", "trainable_tokens"}),
    ],
    ids=["all", "head", "rows"],
)
def test_lora_trains_saves_and_merges(fresh, options, trained, tmp_path):
    model = fresh()
    model.save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, task_type="CAUSAL_LM", **options))
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert all(any(part in name for part in trained) for name in names)
    assert all(any(part in name for name in names) for part in trained)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=5.0)
    for _ in range(2):
        optimizer.zero_grad()
        adapted(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    logits = adapted.eval()(input_ids=IDS).logits
    assert not torch.allclose(model.eval()(IDS).logits, logits)
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    assert torch.equal(loaded(input_ids=IDS).logits, logits)
    merged = loaded.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(again(IDS).logits, logits)
    changed = (embedding_of(again) != embedding_of(model)).any(dim=1).nonzero().flatten().tolist()
    assert changed == options.get("trainable_token_indices", [])
