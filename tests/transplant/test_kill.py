"""kill -9 through whole transplants: the output is the old folder or the new one, and the base never changes."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_models import tiny_folder
from tests.tokenizers import byte_level

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the processor time of a child as Linux gives it")

ROOT = Path(__file__).parents[2]
OTHER = "a wholly different text about rivers, boats and bridges; rivers and boats again, under bridges " * 4
ROLES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
KILLS = 6
LAST_STAGE = "verify 1/1"  # told once all files are written and proved; flushing and renaming follow


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Server:
    """Transplants in children of one warm process."""

    def __init__(self, folder):
        self.base, self.donor, self.old, self.reference = (folder / n for n in ("base", "donor", "old", "reference"))
        tokenizer, other = byte_level(300, **ROLES), byte_level(310, text=OTHER, **ROLES)
        tiny_folder("llama", self.base, vocab_size=len(tokenizer), max_shard_size="20KB")
        tokenizer.save_pretrained(self.base)
        other.save_pretrained(self.donor)
        tiny_folder("gpt2", self.old, vocab_size=len(tokenizer))
        tokenizer.save_pretrained(self.old)
        (self.old / "notes").mkdir()
        (self.old / "notes" / "mine.txt").write_text("kept until the end")
        self.before = {path: contents(path) for path in (self.base, self.donor, self.old)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.transplant.kill_server"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask(out=self.reference)
        self.expected = contents(self.reference)

    def ask(self, *, out, overwrite=False, wait=None, kill=None):
        job = {"base": str(self.base), "donor": str(self.donor), "out": str(out)}
        self.process.stdin.write(json.dumps(job | {"overwrite": overwrite, "wait": wait, "kill": kill}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, parent, overwrite):
        """A fresh output path, with the old checkpoint in it where it is to be overwritten."""
        parent.mkdir()
        if overwrite:
            shutil.copytree(self.old, parent / "out")
        return parent / "out"

    def outcome(self, out, overwrite):
        """ "old" or "new"; anything else fails."""
        assert contents(self.base) == self.before[self.base]
        assert contents(self.donor) == self.before[self.donor]
        if not out.exists():
            assert not overwrite
            return "old"
        found = contents(out)
        if overwrite and found == self.before[self.old]:
            return "old"
        assert found.keys() == self.expected.keys()
        assert [name for name in found if found[name] != self.expected[name]] == []
        return "new"

    def loads(self, out):
        """As any user loads it."""
        tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
        assert len(tokenizer) == model.config.vocab_size
        with torch.no_grad():
            assert model(input_ids=torch.tensor([tokenizer("boats").input_ids])).logits.isfinite().all()

    def rerun(self, out, overwrite):
        """The same job again, as a user would start it after a crash."""
        again = self.ask(out=out, overwrite=overwrite or out.exists())
        assert again["exit"] == 0
        assert self.outcome(out, overwrite) == "new"
        assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("kill"))
    yield server
    server.process.stdin.close()
    server.process.wait(timeout=60)


def duration(server, folder, overwrite, wait=None):
    """What an undisturbed run takes, as the server measures it; the second of two, when all caches are warm."""
    for number in range(2):
        out = server.start(folder / f"whole{number}", overwrite)
        done = server.ask(out=out, overwrite=overwrite, wait=wait)
        assert done["exit"] == 0 and server.outcome(out, overwrite) == "new"
    return done["seconds"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_kill_at_random_moments(server, tmp_path, overwrite):
    """One moment in every tenth of the work, so that every stage is met."""
    chance = random.Random(11 + overwrite)
    whole = duration(server, tmp_path, overwrite)
    outcomes, stages = [], set()
    for number in range(KILLS):
        out = server.start(tmp_path / f"run{number}", overwrite)
        told = server.ask(out=out, overwrite=overwrite, kill=whole * (number + chance.random()) / KILLS)
        assert told["killed"] or told["exit"] == 0
        outcomes.append(server.outcome(out, overwrite))
        if out.exists():
            server.loads(out)
        assert outcomes[-1] == "new" or told["killed"]
        stages.add(told["stage"].split()[0])
        server.rerun(out, overwrite)
    assert "old" in outcomes  # the first moments are early ones
    assert {"plan", "verify"} <= stages  # the two long ones


@pytest.mark.long
@pytest.mark.parametrize("overwrite", [False, True])
def test_kill_at_the_end(server, tmp_path, overwrite):
    """Around the flushes, the rename and the removal of the old folder, the only steps where old becomes new."""
    chance = random.Random(13 + overwrite)
    whole = duration(server, tmp_path, overwrite, wait=LAST_STAGE)
    outcomes = set()
    for number in range(KILLS):
        out = server.start(tmp_path / f"run{number}", overwrite)
        moment = 1.5 * whole * (number + chance.random()) / KILLS if number else 0.0
        told = server.ask(out=out, overwrite=overwrite, wait=LAST_STAGE, kill=moment)
        assert told["killed"] or told["exit"] == 0
        assert told["stage"] == LAST_STAGE
        outcomes.add(server.outcome(out, overwrite))
        if out.exists():
            server.loads(out)
        server.rerun(out, overwrite)
    assert outcomes == {"old", "new"}
