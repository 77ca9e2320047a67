"""The example runs as it stands at toy size, and what it saves loads."""

import re
import runpy
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import ByteTokenizer, SideChannelForCausalLM

EXAMPLE = Path(__file__).parents[3] / "scripts" / "examples" / "side_channel" / "letter_counts.py"

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # PEFT 0.21: the old name
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def start(*arguments):
        monkeypatch.setattr("sys.argv", [EXAMPLE.name, "--toy", "--steps", "20", *arguments])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        return capsys.readouterr().out

    return start


def test_with_ids_and_without(run, tmp_path):
    said = run("--output", "out")
    losses = dict(re.findall(r"(\w[\w ]+): ([\d.]+) nats", said))
    assert set(losses) == {"before", "after", "with the ids of another word", "without ids"}
    assert float(losses["after"]) < float(losses["before"])
    model, tokenizer = AutoModelForCausalLM.from_pretrained("out"), AutoTokenizer.from_pretrained("out")
    assert type(model) is SideChannelForCausalLM and type(tokenizer) is ByteTokenizer
    assert model.side.tables["lengths"].rows.weight[1:].any()
    said = run("--without-ids")
    assert dict(re.findall(r"(\w[\w ]+): ([\d.]+) nats", said)).keys() == {"before", "after"}


def test_shuffled_ids_are_those_of_rows_of_the_same_length():
    example = runpy.run_path(str(EXAMPLE))
    rows = [example["row"](ByteTokenizer(), word, False) for word in example["words"]()[:50]]
    mixed = example["shuffled"](rows, 0)
    assert all(len(one["side_ids"]) == len(one["input_ids"]) for one in mixed)
    assert sorted(one["side_ids"].flatten().tolist() for one in mixed) == sorted(
        one["side_ids"].flatten().tolist() for one in rows
    )
    batch = example["collate"](mixed[:3])
    assert batch["side_ids"].shape == (*batch["input_ids"].shape, 1)
