"""PEFT beside side tables: what is trained, kept, loaded again, in the same process and in another one."""

import json

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from tests.another_process import in_another_process
from tests.models.side_channel.conftest import batch, inputs_of, logits, make, same_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT 0.21: the old name
OPTIONS = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def lora(name, **options):
    targets = ["q", "v"] if name == "t5" else ["q_proj", "v_proj"]
    task = "SEQ_2_SEQ_LM" if name == "t5" else "CAUSAL_LM"
    return peft.LoraConfig(task_type=task, r=2, target_modules=targets, modules_to_save=["side"], **options)


def trained(model, name, **options):
    tuned = peft.get_peft_model(model, lora(name, **options))
    inputs = inputs_of(name, *batch())
    optimizer = torch.optim.SGD([value for value in tuned.parameters() if value.requires_grad], lr=0.1)
    for _ in range(2):
        tuned(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return tuned.eval()


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_the_tables_are_trained_beside_lora_and_come_back(name, tmp_path):
    tuned = trained(make(name, dtype=torch.float32), name)
    ids, side = batch()
    inputs = inputs_of(name, ids, side)
    plain = make(name, dtype=torch.float32)
    assert not torch.equal(logits(tuned, **inputs), logits(plain, **inputs))
    moved = tuned.base_model.model.side.tables["shells"].rows.weight
    assert not torch.equal(moved, plain.side.tables["shells"].rows.weight)
    tuned.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(make(name, dtype=torch.float32), tmp_path).eval()
    assert torch.equal(logits(loaded, **inputs), logits(tuned, **inputs))
    found = [each.generate(input_ids=ids, side_ids=side, **OPTIONS) for each in (tuned, loaded)]
    assert torch.equal(*found)
    merged = loaded.merge_and_unload()
    assert type(merged) is type(plain)
    torch.testing.assert_close(logits(merged, **inputs), logits(tuned, **inputs), rtol=0, atol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    again = type(merged).from_pretrained(tmp_path / "merged")
    same_weights(again, merged)
    torch.testing.assert_close(logits(again, **inputs), logits(merged, **inputs), rtol=0, atol=1e-5)


def test_adapters_find_their_base_in_another_process(tmp_path):
    kinds = {"llama": AutoModelForCausalLM, "t5": AutoModelForSeq2SeqLM}
    expected = {}
    for name, auto in kinds.items():
        make(name, dtype=torch.float32).save_pretrained(tmp_path / name)
        tuned = trained(auto.from_pretrained(tmp_path / name), name)
        tuned.save_pretrained(tmp_path / f"{name}-adapter")
        named = json.loads((tmp_path / f"{name}-adapter" / "adapter_config.json").read_text())
        assert named["base_model_name_or_path"] == str(tmp_path / name)
        inputs = inputs_of(name, *batch())
        torch.save(inputs, tmp_path / f"{name}.inputs")
        expected[name] = logits(tuned, **inputs)
    out, error = in_another_process(f"""
        import hf_tokext, peft, torch
        from pathlib import Path
        here = Path({str(tmp_path)!r})
        for name, auto in (("llama", "AutoPeftModelForCausalLM"), ("t5", "AutoPeftModelForSeq2SeqLM")):
            model = getattr(peft, auto).from_pretrained(here / f"{{name}}-adapter").eval()
            with torch.no_grad():
                torch.save(model(**torch.load(here / f"{{name}}.inputs")).logits, here / f"{{name}}.found")
            print(type(model.base_model.model).__name__)
    """)
    assert out == ["SideChannelForCausalLM", "SideChannelForConditionalGeneration"], error
    for name, found in expected.items():
        torch.testing.assert_close(torch.load(tmp_path / f"{name}.found"), found, rtol=0, atol=1e-6)


def test_new_tokens_are_trained_beside_the_tables(tmp_path):
    """Rows of the vocabulary, resized or not, through the wrapper's names."""
    model = make("llama", dtype=torch.float32, tied=True)
    model.resize_token_embeddings(98)
    model.save_pretrained(tmp_path / "base")
    before = model.get_input_embeddings().weight.detach().clone()
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tuned = trained(base, "llama", trainable_token_indices=batch()[0][0, :2].tolist())
    tuned.save_pretrained(tmp_path / "adapter")
    inputs = inputs_of("llama", *batch())
    loaded = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    assert torch.equal(logits(loaded, **inputs), logits(tuned, **inputs))
    merged = loaded.merge_and_unload()
    changed = (merged.get_input_embeddings().weight != before).any(-1).nonzero().flatten().tolist()
    assert changed == sorted(set(batch()[0][0, :2].tolist()))
    assert merged.get_input_embeddings().weight is merged.get_output_embeddings().weight
    torch.testing.assert_close(logits(merged, **inputs), logits(tuned, **inputs))  # the head had the new rows, too
