"""Changed copies of checkpoints: equal bytes where nothing changed, right values where something did, little memory."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from hf_tokext.errors import CheckpointError
from hf_tokext.transplant.checkpoint import INDEX, SINGLE, open_checkpoint
from hf_tokext.transplant.safetensors_writer import write_checkpoint_tensors
from tests.tiny_models import tiny_folder

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def saved(folder: Path, *, shards: bool = False, **options):
    tiny_folder("llama", folder, max_shard_size="5KB" if shards else "5GB", **options)
    checkpoint = open_checkpoint(folder)
    assert checkpoint.sharded == shards
    return checkpoint


def everything(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


def same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.view(torch.uint8), other.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shards", [False, True])
def test_nothing_changed(tmp_path, dtype, shards):
    checkpoint = saved(tmp_path / "in", shards=shards, dtype=dtype)
    (tmp_path / "out").mkdir()
    seen = []
    total = write_checkpoint_tensors(checkpoint, tmp_path / "out", progress=lambda *at: seen.append(at))
    assert total == checkpoint.total_bytes
    assert seen[-1] == (total, total)
    names = {path.name for path in (tmp_path / "in").glob("model*")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    before, after = everything(tmp_path / "in"), everything(tmp_path / "out")
    assert before.keys() == after.keys() == checkpoint.tensors.keys()
    for name, value in before.items():
        assert same_bytes(value, after[name])
    for file in checkpoint.files:
        assert (tmp_path / "in" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    if shards:
        assert len(checkpoint.files) > 2
        assert json.loads((tmp_path / "in" / INDEX).read_text()) == json.loads((tmp_path / "out" / INDEX).read_text())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_new_vocabulary_loads(tmp_path, dtype, shards, tied):
    checkpoint = saved(tmp_path / "in", shards=shards, dtype=dtype, tied=tied)
    (tmp_path / "out").mkdir()
    values = {EMBED: torch.randn(130, 16)} | ({} if tied else {HEAD: torch.randn(130, 16)})
    write_checkpoint_tensors(checkpoint, tmp_path / "out", replace=values)
    checkpoint.config.vocab_size = 130
    checkpoint.config.save_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == dtype
    assert torch.equal(model.get_input_embeddings().weight, values[EMBED].to(dtype))
    assert torch.equal(model.lm_head.weight, values[EMBED if tied else HEAD].to(dtype))
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert torch.isfinite(model(torch.tensor([[1, 129]])).logits).all()
    for name, value in everything(tmp_path / "in").items():
        if name not in values:
            assert same_bytes(value, everything(tmp_path / "out")[name])
    reopened = open_checkpoint(tmp_path / "out")
    if shards:
        index = json.loads((tmp_path / "out" / INDEX).read_text())
        assert index["metadata"]["total_size"] == reopened.total_bytes
        assert index["metadata"]["total_parameters"] == sum(p.numel() for p in model.parameters())
        for name, file in index["weight_map"].items():
            with safe_open(tmp_path / "out" / file, "pt") as opened:
                assert name in opened.keys()  # noqa: SIM118
                assert opened.metadata()["format"] == "pt"


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", [*DTYPES, torch.float64])
def test_dtype(tmp_path, source, target):
    tensors = {
        "a.weight": torch.randn(33, 7).to(source),
        "mask": torch.tensor([True, False, True]),
        "position_ids": torch.arange(5)[None],
        "empty.weight": torch.zeros(0, 4, dtype=source),
        "scale": torch.tensor(2.5, dtype=source),
    }
    tiny_folder("llama", tmp_path / "in")
    save_file(tensors, tmp_path / "in" / SINGLE, metadata={"format": "pt"})
    (tmp_path / "out").mkdir()
    new = {"a.weight": torch.randn(3, 3)}
    write_checkpoint_tensors(open_checkpoint(tmp_path / "in"), tmp_path / "out", dtype=target, replace=new)
    result = load_file(tmp_path / "out" / SINGLE)
    for name, value in (tensors | new).items():
        expected = value.to(target) if value.is_floating_point() else value
        assert result[name].dtype == expected.dtype
        assert result[name].shape == expected.shape
        assert torch.equal(result[name], expected)


def test_overflow_is_an_error(tmp_path):
    checkpoint = saved(tmp_path / "in", dtype=torch.bfloat16)
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match="too large for F16"):
        write_checkpoint_tensors(
            checkpoint, tmp_path / "out", replace={EMBED: torch.full((2, 16), 1e6)}, dtype=torch.float16
        )


def test_wrong_names(tmp_path):
    checkpoint = saved(tmp_path / "in")
    (tmp_path / "out").mkdir()
    x = torch.zeros(1)
    for wrong in (
        {"replace": {"no.such": x}},
        {"replace": {EMBED: x, "no.such": x}},
        {"dtype": torch.int8},
    ):
        with pytest.raises(CheckpointError):
            write_checkpoint_tensors(checkpoint, tmp_path / "out", **wrong)
    assert list((tmp_path / "out").iterdir()) == []


def test_grown_single_file_is_cut(tmp_path):
    checkpoint = saved(tmp_path / "in")
    new = {EMBED: torch.randn(4000, 16), HEAD: torch.randn(4000, 16)}
    for name, limit in (("cut", 300_000), ("whole", 10_000_000)):
        (tmp_path / name).mkdir()
        write_checkpoint_tensors(checkpoint, tmp_path / name, replace=new, max_shard_bytes=limit)
        checkpoint.config.vocab_size = 4000
        checkpoint.config.save_pretrained(tmp_path / name)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        assert torch.equal(model.lm_head.weight, new[HEAD])
    assert (tmp_path / "whole" / SINGLE).exists()
    files = sorted(path.name for path in (tmp_path / "cut").glob("*.safetensors"))
    assert files == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


PEAK = """
    import sys
    sys.path.insert(0, {root!r})
    from pathlib import Path
    import torch
    from hf_tokext.transplant.checkpoint import open_checkpoint
    from hf_tokext.transplant.safetensors_writer import write_checkpoint_tensors
    checkpoint = open_checkpoint({source!r})
    Path({out!r}).mkdir()
    def peak():  # not ru_maxrss, which starts at the parent's
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    before = peak()
    write_checkpoint_tensors(checkpoint, Path({out!r}), replace={{{embed!r}: torch.zeros(50, 16)}}, dtype={dtype})
    print(peak() - before)
    checkpoint.read("big.weight")
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("dtype", ["None", "torch.float32"])
@pytest.mark.long  # resident memory is what a busy machine lets a process keep
def test_memory_is_a_few_pieces(tmp_path, dtype):
    """One tensor of 240 MB in one of several shards; copying and converting it must not load it."""
    tiny_folder("llama", tmp_path / "in", max_shard_size="5KB", dtype=torch.bfloat16)
    index = json.loads((tmp_path / "in" / INDEX).read_text())
    index["weight_map"]["big.weight"] = "big.safetensors"
    (tmp_path / "in" / INDEX).write_text(json.dumps(index))
    save_file({"big.weight": torch.ones(120, 1 << 20, dtype=torch.bfloat16)}, tmp_path / "in" / "big.safetensors")
    script = textwrap.dedent(PEAK).format(
        root=str(Path(__file__).parents[2]),
        source=str(tmp_path / "in"),
        out=str(tmp_path / "out"),
        embed=EMBED,
        dtype=dtype,
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    grown, control = (int(line) for line in done.stdout.split())
    size = (tmp_path / "out" / "big.safetensors").stat().st_size
    assert size > (240 if dtype == "None" else 480) * 2**20
    assert grown < 100 * 1024, f"{grown} KB"
    assert control > 150 * 1024, "reading the whole tensor must show in the measure"
