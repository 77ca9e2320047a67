"""The whole way over the Hub, every step a process of its own, the last of which knows nothing of this package."""

import json
import os
import re
import subprocess
import sys
import textwrap

import pytest

from tests.hub_server import LoopbackHub
from tests.tiny_models import tiny_folder
from tests.tokenizers import TEXT, byte_level

CORPUS = "rivers and boats and bridges; the boats go under the bridges and down the rivers. " * 40
CARD = "---\nlicense: mit\n---\n# The base\n"

TRAIN = """
    import sys
    from transformers import AutoTokenizer
    from hf_tokext.transplant.train_tokenizer import train_tokenizer
    base = AutoTokenizer.from_pretrained("them/base")
    train_tokenizer(base, [open("corpus.txt").read()], 280).save_pretrained("donor")
"""
PUSH = """
    from hf_tokext import push_checkpoint
    first = push_checkpoint("healed", "me/healed", private=True)
    second = push_checkpoint("healed", "me/healed", private=True)
    print(first.changed, second.changed, first.commit == second.commit)
"""
PULL = """
    import re, sys
    sys.modules["hf_tokext"] = None  # not installed
    from huggingface_hub import hf_hub_download
    card = open(hf_hub_download("me/healed", "README.md"), encoding="utf-8").read()
    exec(re.search(r"```python\\n(.*?)```", card, re.DOTALL)[1])
    print(type(model).__name__, type(tokenizer).__name__, output.shape[1] - inputs["input_ids"].shape[1])
    print(tokenizer(open("corpus.txt").read()).input_ids[:40])
"""


@pytest.mark.long
def test_train_transplant_heal_card_push_pull_generate(tmp_path):
    tiny_folder("llama", tmp_path / "base", tied=True, vocab_size=300)
    byte_level(300).save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "README.md").write_text(CARD)
    (tmp_path / "corpus.txt").write_text(CORPUS)
    (tmp_path / "held.txt").write_text(TEXT)

    with LoopbackHub() as hub:
        hub.add("them/base", {path.name: path.read_bytes() for path in (tmp_path / "base").iterdir()})

        def run(program, *arguments, home="home"):
            command = ["-c", textwrap.dedent(program)] if "\n" in program else ["-m", "hf_tokext.cli", program]
            done = subprocess.run(
                [sys.executable, *command, *arguments],
                cwd=tmp_path,
                env=os.environ | hub.environment(tmp_path / home),
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        run(TRAIN)
        run("transplant", "them/base", "donor", "out", "--text", "corpus.txt")
        run("heal", "out", "--output", "healed", "--text", "corpus.txt", "--eval-text", "held.txt", "--train", "lora",
            "--steps", "6", "--tokens-per-step", "64", "--window", "32")  # fmt: skip
        bits = run("measure", "bits", "them/base", "out", "healed", "--text", "held.txt", "--json")
        (tmp_path / "bits.json").write_text(bits)
        run("card", "healed", "--repo", "me/healed", "--bits", "bits.json")
        fault = hub.misbehave("PUT", "/lfs/", drop="request", times=1)
        assert run(PUSH).split() == ["True", "False", "True"] and fault.times == 0

        repo = hub.repo("me/healed")
        assert repo.private
        card = repo.files()["README.md"].decode()
        measured = {entry["model"]: entry["bits_per_byte"] for entry in json.loads(bits)}
        for name, title in (("them/base", "`them/base`"), ("out", "`out`"), ("healed", "`healed` (this one)")):
            assert f"| {title} | {measured[name]:.4f} |" in card
        assert "base_model: them/base\n" in card and "`donor`, whose licence is not known here" in card
        assert not re.search(r"^license:", card, re.MULTILINE)  # the donor's is not known
        assert "## Healing" in card and card.count("type: bits_per_byte") == 2 and str(tmp_path) not in card
        assert all(str(tmp_path).encode() not in data for data in repo.files().values())

        *_, kinds, ids = run(PULL, home="elsewhere").strip().splitlines()
        assert kinds.split() == ["LlamaForCausalLM", "TokenizersBackend", "20"]
        expected = subprocess.run(
            [sys.executable, "-c", "from transformers import AutoTokenizer as A; print(A.from_pretrained('donor')(open("
             "'corpus.txt').read()).input_ids[:40])"],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert ids == expected.strip()
