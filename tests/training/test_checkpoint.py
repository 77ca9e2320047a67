"""Healing a folder: a folder in, a folder out."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext.errors import CheckpointError, OutputExistsError
from hf_tokext.training import heal_checkpoint
from tests.models import tiny_folder
from tests.tokenizers import TEXT, byte_level

OPTIONS = {"steps": 4, "window": 32, "tokens_per_step": 64, "progress": False, "eval_texts": ["the cat sat"]}
SOURCES = ["anchor"] * 260 + ["compose"] * 30 + ["quiet"] * 10


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    tiny_folder("llama", path, tied=True, vocab_size=300, dtype=torch.bfloat16)
    byte_level().save_pretrained(path)
    (path / "hf_tokext_report.json").write_text(json.dumps({"sources": SOURCES, "base": "x"}))
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_result_is_a_plain_checkpoint_beside_the_old_one(folder):
    before = contents(folder)
    target, report = heal_checkpoint(folder, [TEXT], **OPTIONS)
    assert contents(folder) == before
    assert target == folder.with_name("model-healed")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "model-healed"]

    after = contents(target)
    assert {name for name in before if name not in after} == set()
    kept = [name for name in before if name.endswith(".json") and name != "hf_tokext_report.json"]
    assert all(after[name] == before[name] for name in kept) and "tokenizer.json" in kept and "config.json" in kept
    assert after["hf_tokext_recovery.png"].startswith(b"\x89PNG")
    written = json.loads(after["hf_tokext_report.json"])
    assert written["base"] == "x" and len(written["heal"]) == 1
    assert [point["step"] for point in written["heal"][0]["curve"]] == [0, 1, 2, 3, 4]
    assert after["hf_tokext_report.md"].decode().count("| ") > 10 and b"# Healing" in after["hf_tokext_report.md"]
    assert written["heal"][0]["tokens_seen"] == report.tokens_seen

    old, new = (AutoModelForCausalLM.from_pretrained(path, dtype="auto") for path in (folder, target))
    assert new.dtype == torch.bfloat16
    assert new.lm_head.weight is new.model.embed_tokens.weight
    changed = (new.lm_head.weight != old.lm_head.weight).any(dim=1).nonzero().flatten().tolist()
    assert set(changed) <= set(range(260, 290)) and len(changed) > 20  # the report's rows, and no other
    assert AutoTokenizer.from_pretrained(target)(TEXT)["input_ids"] == byte_level()(TEXT)["input_ids"]


def test_an_existing_result_is_refused_or_replaced(folder):
    heal_checkpoint(folder, [TEXT], **OPTIONS)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        heal_checkpoint(folder, [TEXT], **OPTIONS)
    target, _ = heal_checkpoint(folder, [TEXT], overwrite=True, **OPTIONS)
    again, _ = heal_checkpoint(target, [TEXT], **OPTIONS)
    assert len(json.loads((again / "hf_tokext_report.json").read_text())["heal"]) == 2
    with pytest.raises(OutputExistsError):
        heal_checkpoint(folder, [TEXT], folder, overwrite=True, **OPTIONS)


def test_damaged_folders_are_refused(folder, tmp_path):
    (folder / "hf_tokext_report.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        heal_checkpoint(folder, [TEXT], **OPTIONS)
    with pytest.raises(CheckpointError):
        heal_checkpoint(tmp_path, [TEXT], **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_the_adapter_alone(folder):
    target, _ = heal_checkpoint(folder, [TEXT], train="lora", merge=False, **OPTIONS)
    names = set(contents(target))
    assert "adapter_model.safetensors" in names and "model.safetensors" not in names
