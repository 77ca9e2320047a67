"""Every worked example of a tokenizer's job runs as it stands at toy size, and what it saves loads without this package's help."""

import re

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.ecosystem import checkpoints
from tests.ecosystem.checkpoints import DOMAIN_EXAMPLES, EXAMPLES, PARTS

NAMES = [name for name in checkpoints.NAMES if name not in DOMAIN_EXAMPLES]
HUB_ID = re.compile(r'default="[\w-]+/[\w.-]+"')
# PEFT asks a module for a name that transformers renamed
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def test_there_is_one_for_every_job():
    assert NAMES == ["finetune_lora_added_tokens", "finetune_lora_new_vocabulary", "finetune_trainer", "train_bytes"]


def test_every_other_file_is_a_part_of_one():
    for part in PARTS:
        name = part.rpartition("/")[2]
        users = [
            each
            for each in checkpoints.NAMES
            if re.search(rf"^ *from {name} import ", (EXAMPLES / f"{each}.py").read_text(), re.MULTILINE)
        ]
        assert users and (EXAMPLES / f"{part}.py").is_file(), part


@pytest.mark.parametrize("name", NAMES)
def test_help_and_a_real_default(name, run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(name, "--help")
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"python {name}.py --toy" in said and "--steps" in said and "--output" in said
    assert HUB_ID.search((EXAMPLES / f"{name}.py").read_text())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "train_bytes"])
def test_without_a_text_it_says_what_to_give(name, run, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(name)
    assert stopped.value.code == 2 and "--text" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_toy(name, run, tmp_path):
    said = run(name, "--toy", "--output", "out")
    before, after = map(float, re.search(r"text: ([\d.]+) before, ([\d.]+) after", said).groups())
    assert after < before
    folder = tmp_path / "out" / ("adapter" if name == "finetune_lora_added_tokens" else "model")
    assert str(folder.relative_to(tmp_path)) in said
    kind = AutoPeftModelForCausalLM if folder.name == "adapter" else AutoModelForCausalLM
    model, tokenizer = kind.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert len(model.get_input_embeddings().weight) == len(tokenizer)
    ids = tokenizer("the cat sat", return_tensors="pt")
    with torch.no_grad():
        assert model(**ids).logits.isfinite().all()
    assert tokenizer.decode(ids["input_ids"][0], skip_special_tokens=True) == "the cat sat"
    if folder.name == "adapter":
        assert tokenizer.tokenize("<call> the") == ["<call>", "Ġthe"]
        assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 100_000


def test_the_users_own_text_is_what_is_learned(run, tmp_path):
    (tmp_path / "mine.txt").write_text("zzz qqq " * 400)
    said = run("train_bytes", "--toy", "--text", "mine.txt", "--output", "out", "--steps", "40")
    assert float(re.search(r"([\d.]+) after", said).group(1)) < 2.5
    (tmp_path / "short.txt").write_text("z")
    with pytest.raises(SystemExit, match="give more of it"):
        run("train_bytes", "--toy", "--text", "short.txt", "--output", "other")
