"""Healing a folder: a folder in, a folder out."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext.errors import CheckpointError, OutputExistsError, UnsupportedModelError
from hf_tokext.training import heal_checkpoint, recovery
from tests.tiny_models import tiny_folder
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


def work_folder(folder):
    return folder.with_name(f".{folder.name}-healed.tokext-training")


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_of_the_user_are_never_removed(folder, overwrite):
    """Neither one of a likely name, nor one that has the very name of the folder for checkpoints."""
    likely = folder.with_name("model-healed-training")
    for path in (likely, work_folder(folder)):
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="move it away"):
        heal_checkpoint(folder, [TEXT], overwrite=overwrite, **OPTIONS)
    assert (work_folder(folder) / "thesis.txt").read_text() == "years of work"
    (work_folder(folder) / "thesis.txt").rename(folder.with_name("thesis.txt"))
    heal_checkpoint(folder, [TEXT], overwrite=overwrite, **OPTIONS)
    assert (likely / "thesis.txt").read_text() == "years of work"
    assert not work_folder(folder).exists()


def test_a_link_in_the_place_of_the_work_folder_is_refused(folder):
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "heal.json").write_text("{}")
    work_folder(folder).symlink_to(elsewhere)
    with pytest.raises(OutputExistsError, match="move it away"):
        heal_checkpoint(folder, [TEXT], overwrite=True, **OPTIONS)
    assert (elsewhere / "heal.json").read_text() == "{}"


def stopped(folder, monkeypatch, **options):
    """A run that is killed after its third step."""

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recovery.Recovery, "on_step_begin", stop, raising=False)
        with pytest.raises(KeyboardInterrupt):
            heal_checkpoint(folder, [TEXT], **OPTIONS, **options)


def test_a_stopped_run_is_resumed_or_forgotten_and_leaves_nothing(folder, monkeypatch):
    stopped(folder, monkeypatch)
    assert (work_folder(folder) / "checkpoint-3").is_dir()
    with pytest.raises(OutputExistsError, match="stopped run"):
        heal_checkpoint(folder, [TEXT], **OPTIONS)
    _, report = heal_checkpoint(folder, [TEXT], resume=True, **OPTIONS)
    assert report.resumed_from == 3 and not work_folder(folder).exists()
    stopped(folder, monkeypatch, overwrite=True)
    _, report = heal_checkpoint(folder, [TEXT], overwrite=True, **OPTIONS)
    assert report.resumed_from is None and not work_folder(folder).exists()


def test_a_stopped_run_outlives_a_checkpoint_that_cannot_be_opened(folder, monkeypatch):
    stopped(folder, monkeypatch)
    before = (folder / "config.json").read_text()
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError):
        heal_checkpoint(folder, [TEXT], overwrite=True, **OPTIONS)
    (folder / "config.json").write_text(before)
    assert heal_checkpoint(folder, [TEXT], resume=True, **OPTIONS)[1].resumed_from == 3


def test_a_run_that_never_began_leaves_nothing(folder):
    with pytest.raises(UnsupportedModelError):
        heal_checkpoint(folder, [TEXT], train="some", **OPTIONS)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_no_weights_of_the_source_come_along(folder):
    stale = [
        "pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "optimizer.pt", "model.ckpt", "x.pkl",
        "model.Q4_K_M.gguf", "tf_model.h5", "flax_model.msgpack", "model.onnx", "model-00001-of-00002.safetensors",
        "PYTORCH_MODEL.BIN",
    ]  # fmt: skip
    for name in (*stale, "notes.txt", "LICENSE"):
        (folder / name).write_bytes(b"old")
    target, _ = heal_checkpoint(folder, [TEXT], **OPTIONS)
    names = set(contents(target))
    assert names.isdisjoint(stale)
    assert {"notes.txt", "LICENSE", "model.safetensors", "tokenizer.json"} <= names


def test_all_chat_templates_come_along(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = {"default": "a{{ messages }}", "tool_use": "b{{ messages }}"}
    tokenizer.save_pretrained(folder)
    assert (folder / "additional_chat_templates" / "tool_use.jinja").is_file()
    target, _ = heal_checkpoint(folder, [TEXT], **OPTIONS)
    assert AutoTokenizer.from_pretrained(target).chat_template == tokenizer.chat_template
