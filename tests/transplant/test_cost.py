"""The cost that a dry run prints: what a real run then reads, writes and holds."""

import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from hf_tokext.errors import CheckpointError, RowMethodError
from hf_tokext.rows.omp_plan import flop_bound, plan_omp
from hf_tokext.transplant import cost as cost_module
from hf_tokext.transplant import transplant_checkpoint
from hf_tokext.transplant.checkpoint import Checkpoint, open_checkpoint
from hf_tokext.transplant.cost import Cost
from hf_tokext.transplant.direction import WINDOW
from tests.tiny_models import ENCODER_DECODERS, tiny_folder
from tests.tokenizers import byte_level

OTHER = "a wholly different text about rivers, boats and bridges; rivers and boats again, under bridges " * 4
ROLES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}


DONOR_ROWS = 320  # padded, as real ones are


def other_tokenizer():
    return byte_level(310, text=OTHER, **ROLES)


def checkpoint_folder(path, name="llama", **options):
    tokenizer = byte_level(300, **ROLES)
    tiny_folder(name, path, vocab_size=len(tokenizer), **options)
    tokenizer.save_pretrained(path)
    return path


def donor_folder(path, **options):
    tiny_folder("llama", path, vocab_size=DONOR_ROWS, **options)
    other_tokenizer().save_pretrained(path)
    return path


class Counting(io.BufferedReader):
    """A file that adds up what is read of it."""

    total = 0

    def readinto(self, buffer):
        count = super().readinto(buffer)
        Counting.total += count
        return count


@pytest.fixture
def counted(monkeypatch):
    """Counts the bytes that are read of checkpoints while they are transplanted."""
    Counting.total = 0
    monkeypatch.setattr(Checkpoint, "open", lambda self, file: Counting(io.FileIO(self.path / file)))
    return Counting


def real_and_dry(base, donor, out, **options):
    dry = transplant_checkpoint(base, donor, out, dry_run=True, **options).cost
    assert not out.exists()
    Counting.total = 0
    transplant_checkpoint(base, donor, out, **options)
    return dry, open_checkpoint(out)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "gemma3_multimodal", *ENCODER_DECODERS])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_bytes_read_and_written_are_exact(name, dtype, tmp_path, counted):
    base = checkpoint_folder(tmp_path / "base", name)
    donor = other_tokenizer()
    cost, written = real_and_dry(base, donor, tmp_path / "out", dtype=dtype, pad_to_multiple_of=64)
    assert cost.written == written.total_bytes
    loaded = 0 if name in ("bert", "bart") else open_checkpoint(base).total_bytes  # their biases take the shifts
    assert (cost.calibration > 0) == (loaded > 0)
    assert cost.read == counted.total + loaded + written.total_bytes
    files = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert files <= cost.disk <= files + 1_100_000
    assert cost.flops is None and cost.gram is None


@pytest.mark.parametrize("tied", [True, False])
def test_donor_tables_count_only_where_they_are_used(tied, tmp_path, counted):
    base = checkpoint_folder(tmp_path / "base", dtype=torch.bfloat16, tied=tied)
    donor = donor_folder(tmp_path / "donor", hidden=32, tied=tied)
    table = DONOR_ROWS * 32 * 4 * (1 if tied else 2)
    costs = {}
    for method in ("compose", "ridge"):
        cost, written = real_and_dry(base, donor, tmp_path / method, method=method, calibrate=False, match_rows=True)
        assert cost.read == counted.total + written.total_bytes
        assert cost.calibration == 0
        costs[method] = cost
    assert costs["ridge"].read - costs["compose"].read == table
    assert costs["ridge"].tables - costs["compose"].tables == table


def test_calibration_in_float32_takes_twice_the_halves(tmp_path):
    base = checkpoint_folder(tmp_path / "base", dtype=torch.float16)
    cost = transplant_checkpoint(base, other_tokenizer(), tmp_path / "out", dry_run=True).cost
    checkpoint = open_checkpoint(base)
    logits = WINDOW * checkpoint.config.vocab_size * 4
    on_cpu = not torch.accelerator.is_available()
    assert cost.calibration == checkpoint.total_bytes * (1 + on_cpu) + logits
    assert cost.memory == max(cost.calibration, cost.tables, cost.proof) > 0


# Child of its own, so that the peak is this job's; it forks for what else takes memory.
PEAK = """
    import os, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, {root!r})
    from hf_tokext.transplant import transplant_checkpoint
    from tests.transplant.test_cost import sized_folder
    folder, options = Path({folder!r}), {options!r}
    def make():
        for size, rows, hidden in (("small", 400, 16), ("large", 40_000, 256)):
            for name in ("base", "donor"):
                sized_folder(folder / size / name, name, rows, hidden)
    child = os.fork()
    if not child:
        make()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    def run(size, **more):
        return transplant_checkpoint(
            folder / size / "base", folder / size / "donor", folder / size / "out", match_rows=True, **options, **more
        )
    run("small")  # what the libraries take once
    cost = run("large", dry_run=True).cost
    def status(key):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as out:
        out.write("5")  # the peak starts anew
    run("large")
    print(cost.memory, status("VmHWM") - before)
"""


def sized_folder(folder, name, rows, hidden):
    tiny_folder("llama", folder, vocab_size=rows, hidden=hidden, dtype=torch.bfloat16)
    (byte_level(300, **ROLES) if name == "base" else other_tokenizer()).save_pretrained(folder)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("options", [{"calibrate": False}, {"method": "ridge"}])
def test_memory_is_what_a_process_takes(tmp_path, options):
    root = str(Path(cost_module.__file__).parents[2])
    script = textwrap.dedent(PEAK).format(root=root, folder=str(tmp_path), options=options)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    expected, peak = map(int, done.stdout.split())
    assert expected > 1e8
    assert 0.7 * expected < peak < 1.4 * expected


def test_nothing_to_calibrate_costs_nothing(tmp_path):
    base = checkpoint_folder(tmp_path / "base")
    cost = transplant_checkpoint(base, base, tmp_path / "out", dry_run=True).cost
    assert cost.calibration == 0 and cost.written == open_checkpoint(base).total_bytes


@pytest.mark.parametrize("method", ["omp", "ridge"])
def test_a_dry_run_reads_headers_only(method, tmp_path, monkeypatch):
    base, donor = checkpoint_folder(tmp_path / "base"), donor_folder(tmp_path / "donor")

    def refuse(self, name):
        raise AssertionError(f"{name} was read")

    monkeypatch.setattr(Checkpoint, "read", refuse)
    monkeypatch.setattr(Checkpoint, "open", refuse)
    report = transplant_checkpoint(base, donor, tmp_path / "out", method=method, match_rows=True, dry_run=True)
    assert report.rows == DONOR_ROWS and report.cost is not None
    with pytest.raises(AssertionError, match="was read"):  # a real one does
        transplant_checkpoint(base, donor, tmp_path / "out", method=method, calibrate=False)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "donor"}


@pytest.mark.parametrize("tied", [True, False])
def test_flops_of_omp(tied, tmp_path):
    base, donor = (
        checkpoint_folder(tmp_path / "base", tied=tied),
        donor_folder(tmp_path / "donor", tied=tied, hidden=32),
    )

    def dry(k, **options):
        options |= {"method": "omp", "method_options": {"k": k}, "calibrate": False, "dry_run": True}
        return transplant_checkpoint(base, donor, tmp_path / "out", **options)

    report = dry(3)
    atoms, targets = report.counts["anchor"], report.counts["approximate"]
    for k in (3, 200, 10_000):  # the last is more than there are anchors
        cost, steps = dry(k).cost, min(k, atoms)
        chosen = plan_omp(atoms, 32, targets, steps, None, torch.get_num_threads())
        residuals = 2 * targets * atoms * 32 * steps + 4 / 3 * targets * steps**3
        one = flop_bound(atoms, 32, targets, steps) if chosen.gram else residuals
        assert (cost.gram, cost.flops) == (chosen.gram, pytest.approx(one * (1 if tied else 2)))
        assert cost.tables > chosen.memory
    with pytest.raises(RowMethodError, match="max_memory is 1,000"):
        dry(3, max_memory=1000)
    done = transplant_checkpoint(base, donor, tmp_path / "out", method="omp", calibrate=False)
    assert len(done.residuals) == targets > 0  # as many as were counted


def test_too_little_disk_is_seen_by_the_size_of_the_result(tmp_path, monkeypatch):
    from hf_tokext.transplant import folder

    base = checkpoint_folder(tmp_path / "base", dtype=torch.bfloat16)
    donor = other_tokenizer()
    cost = transplant_checkpoint(base, donor, tmp_path / "out", dry_run=True, dtype=torch.float32).cost
    usage = folder.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage._replace(free=cost.disk - 1))
    with pytest.raises(CheckpointError, match="is full"):
        transplant_checkpoint(base, donor, tmp_path / "out", dtype=torch.float32)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage._replace(free=cost.disk))
    transplant_checkpoint(base, donor, tmp_path / "out", dtype=torch.float32)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_for_people_and_as_json(tmp_path):
    base = checkpoint_folder(tmp_path / "base")
    report = transplant_checkpoint(base, base, tmp_path / "out", dry_run=True)
    assert report.to_markdown().count("What it will cost:\n* weights: 0.11 MB read, 0.06 MB written\n") == 1
    assert json.loads(json.dumps(report.to_dict()))["cost"]["written"] == report.cost.written
    real = transplant_checkpoint(base, base, tmp_path / "out")
    assert real.cost is None and "cost" not in real.to_markdown()
    lines = Cost(2 * 10**10, 10**10, 10**10, 3 * 10**9, 4 * 10**9, 5 * 10**9, 1.5e12, True).lines()
    assert lines == [
        "weights: 20.00 GB read, 10.00 GB written",
        "free disk: 10.00 GB",
        "memory: 5.00 GB at the most (4.00 GB to calibrate the base, 3.00 GB to make the rows, 5.00 GB to prove the "
        "result, one after another)",
        "omp: 1.5e+12 floating-point operations, with a Gram matrix",
    ]
