"""Opening checkpoints: what is read is right, and everything dangerous or damaged is refused by name."""

import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_tokext.errors import (
    CheckpointError,
    QuantizedCheckpointError,
    UnsafeCheckpointError,
    UnsupportedModelError,
)
from hf_tokext.transplant import checkpoint_source
from hf_tokext.transplant.checkpoint import INDEX, SINGLE, open_checkpoint
from tests.tiny_models import tiny_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    tiny_folder("llama", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sharded(tmp_path) -> Path:
    tiny_folder("llama", tmp_path / "model", max_shard_size="5KB")
    return tmp_path / "model"


def edit_json(path: Path, **changes) -> None:
    value = json.loads(path.read_text())
    for key, change in changes.items():
        value.pop(key, None)
        if change is not None:
            value[key] = change
    path.write_text(json.dumps(value))


def edit_map(folder: Path, file: str, tensor: str = "model.norm.weight") -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][tensor] = file
    (folder / INDEX).write_text(json.dumps(index))


def test_reads_what_is_there(folder):
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.path == folder.resolve()
    assert checkpoint.architecture == "LlamaForCausalLM"
    assert checkpoint.config.model_type == "llama"
    assert not checkpoint.sharded
    truth = load_file(folder / SINGLE)
    assert checkpoint.tensors.keys() == truth.keys()
    for name, value in truth.items():
        read = checkpoint.read(name)
        assert read.dtype == value.dtype == checkpoint.tensors[name].torch_dtype
        assert torch.equal(read, value)
    with pytest.raises(CheckpointError, match=r"no tensor 'x'"):
        checkpoint.read("x")


def test_reads_every_dtype_and_shape(folder):
    values = {
        str(dtype): torch.arange(6).reshape(2, 3).to(dtype)
        for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8, torch.int16)
    } | {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 3)}
    save_file(values, folder / SINGLE)
    checkpoint = open_checkpoint(folder)
    for name, value in values.items():
        assert torch.equal(checkpoint.read(name), value)
        assert checkpoint.read(name).shape == value.shape


def test_reads_shards(sharded):
    checkpoint = open_checkpoint(sharded)
    assert checkpoint.sharded
    assert len(checkpoint.files) > 2
    assert checkpoint.index_metadata["total_size"] == checkpoint.total_bytes
    for file in checkpoint.files:
        for name, value in load_file(sharded / file).items():
            assert checkpoint.tensors[name].file == file
            assert torch.equal(checkpoint.read(name), value)


@pytest.mark.parametrize("what", ["nowhere", "no config", "bad config", "list config", "no weights", "a file"])
def test_missing(folder, what):
    source = folder
    if what == "nowhere":
        source = folder / "nowhere"
    elif what == "no config":
        (folder / "config.json").unlink()
    elif what == "bad config":
        (folder / "config.json").write_text("{")
    elif what == "list config":
        (folder / "config.json").write_text("[]")
    elif what == "no weights":
        (folder / SINGLE).unlink()
    else:
        source = folder / SINGLE
    with pytest.raises(CheckpointError):
        open_checkpoint(source)


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "model.ckpt"])
def test_pickle_is_never_unpickled(folder, name):
    (folder / SINGLE).unlink()
    proof = folder / "exploded"
    (folder / name).write_bytes(pickle.dumps(Bomb(str(proof))))
    with pytest.raises(UnsafeCheckpointError, match="never unpickled.*save_pretrained"):
        open_checkpoint(folder)
    with pytest.raises(UnsafeCheckpointError, match="never unpickled"):
        open_checkpoint(folder / name) if not name.endswith("bin") else open_checkpoint(str(folder / name))
    assert not proof.exists()


def test_gguf(folder):
    (folder / SINGLE).rename(folder / "model-q4.gguf")
    with pytest.raises(QuantizedCheckpointError, match="gguf_file='model-q4.gguf'"):
        open_checkpoint(folder)
    with pytest.raises(QuantizedCheckpointError, match="gguf_file='model-q4.gguf'"):
        open_checkpoint(folder / "model-q4.gguf")
    (folder / "config.json").unlink()
    with pytest.raises(QuantizedCheckpointError, match="GGUF"):
        open_checkpoint(folder)


def test_adapter(folder):
    (folder / "config.json").unlink()
    (folder / SINGLE).rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="merge_and_unload"):
        open_checkpoint(folder)


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


DAMAGED = {
    "empty file": b"",
    "three bytes": b"abc",
    "header past the end": raw({}, length=100),
    "huge header": raw({}, length=2**63),
    "not JSON": raw(b"\xff\xfe garbage"),
    "a list": raw([]),
    "deep nesting": raw(b"[" * 100_000),
    "data missing": raw({"a": one()}, b"1234"),
    "data left over": raw({"a": one()}, b"123456789"),
    "gap": raw({"a": one(), "b": one(offsets=(12, 20))}, bytes(20)),
    "overlap": raw({"a": one(), "b": one(offsets=(4, 12))}, bytes(12)),
    "same bytes twice": raw({"a": one(), "b": one()}, bytes(8)),
    "wrong size": raw({"a": one(shape=(3,))}, bytes(8)),
    "negative": raw({"a": one(shape=(-2,), offsets=(0, -8))}),
    "reversed": raw({"a": one(offsets=(8, 0))}, bytes(8)),
    "huge shape": raw({"a": one(shape=(2**40, 2**40))}, bytes(8)),
    "unknown dtype": raw({"a": one(dtype="Q9")}, bytes(8)),
    "no dtype": raw({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "not an entry": raw({"a": 3}),
    "twice": raw(
        b'{"a":%s,"a":%s}' % (json.dumps(one()).encode(), json.dumps(one(offsets=(8, 16))).encode()), bytes(16)
    ),
    "odd metadata": raw({"__metadata__": {"a": 1}, "a": one()}, bytes(8)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged(folder, kind):
    (folder / SINGLE).write_bytes(DAMAGED[kind])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        open_checkpoint(folder)


@pytest.mark.parametrize("keep", [5, 500, -1])
def test_truncated(folder, keep):
    data = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(data[:keep])
    with pytest.raises(CheckpointError, match="truncated"):
        open_checkpoint(folder)


def test_tensorflow_weights(folder):
    save_file(load_file(folder / SINGLE), folder / SINGLE, metadata={"format": "tf"})
    with pytest.raises(CheckpointError, match="'tf', not for torch"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "file",
    [
        "../secret.safetensors",
        "a/../../secret.safetensors",
        "/etc/secret.safetensors",
        "..\\secret.safetensors",
        "C:\\secret.safetensors",
        "C:secret.safetensors",
        "\\\\host\\share\\secret.safetensors",
        "pytorch_model.bin",
        7,
    ],
)
def test_index_leaves_the_folder(sharded, file):
    save_file({"model.norm.weight": torch.ones(16)}, sharded.parent / "secret.safetensors")
    edit_map(sharded, file)
    with pytest.raises(UnsafeCheckpointError):
        open_checkpoint(sharded)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("name", [SINGLE, "config.json", "tokenizer.json", "tokenizer.model"])
def test_link_out_of_the_folder(folder, name):
    outside = folder.parent / f"outside-{name}"
    outside.write_bytes((folder / name).read_bytes() if (folder / name).exists() else b"{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(UnsafeCheckpointError, match="outside of the folder"):
        open_checkpoint(folder)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_linked_shard_and_linked_subfolder(sharded):
    save_file({"model.norm.weight": torch.ones(16)}, sharded.parent / "secret.safetensors")
    (sharded / "x.safetensors").symlink_to(sharded.parent / "secret.safetensors")
    (sharded / "sub").symlink_to(sharded.parent, target_is_directory=True)
    for file in ("x.safetensors", "sub/secret.safetensors"):
        edit_map(sharded, file)
        with pytest.raises(UnsafeCheckpointError, match="outside of the folder"):
            open_checkpoint(sharded)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_link_inside_and_link_to_the_folder(folder):
    (folder / SINGLE).rename(folder / "weights.safetensors")
    (folder / SINGLE).symlink_to("weights.safetensors")
    (folder.parent / "alias").symlink_to(folder, target_is_directory=True)
    assert open_checkpoint(folder.parent / "alias").read("model.norm.weight").shape == (16,)


def test_index_and_files_disagree(sharded):
    edit_map(sharded, "missing.safetensors")
    with pytest.raises(CheckpointError, match=r"missing\.safetensors, which is missing"):
        open_checkpoint(sharded)
    first = open_file_of(sharded, "model.norm.weight")
    other = next(path.name for path in sorted(sharded.glob("*.safetensors")) if path.name != first)
    edit_map(sharded, other)
    with pytest.raises(CheckpointError, match=r"'model\.norm\.weight' lies in .*, but it does not"):
        open_checkpoint(sharded)
    edit_map(sharded, first)
    assert open_checkpoint(sharded).tensors["model.norm.weight"].file == first
    for bad in ("{}", '{"weight_map": []}', "nonsense"):
        (sharded / INDEX).write_text(bad)
        with pytest.raises(CheckpointError):
            open_checkpoint(sharded)


def open_file_of(folder: Path, name: str) -> str:
    return next(path.name for path in sorted(folder.glob("*.safetensors")) if name in load_file(path))


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors", "mxfp4", "fp8"])
def test_quantized_config(folder, method):
    edit_json(folder / "config.json", quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(QuantizedCheckpointError, match=rf"{method}.*unquantized original.*dequantize"):
        open_checkpoint(folder)
    edit_json(folder / "config.json", quantization_config=None, text_config={"quantization_config": {"bits": 4}})
    with pytest.raises(QuantizedCheckpointError):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.layers.0.mlp.up_proj.qweight", torch.zeros(4, 4, dtype=torch.int32)),
        ("model.layers.0.mlp.up_proj.weight", torch.zeros(4, 4, dtype=torch.uint8)),
        ("model.layers.0.mlp.up_proj.weight", torch.zeros(4, 4, dtype=torch.float8_e4m3fn)),
        ("model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4", torch.zeros(4, dtype=torch.uint8)),
        ("model.layers.0.mlp.experts.down_proj_blocks", torch.zeros(4, 4, dtype=torch.uint8)),
    ],
)
def test_quantized_tensors(folder, name, value):
    save_file(load_file(folder / SINGLE) | {name: value}, folder / SINGLE)
    with pytest.raises(QuantizedCheckpointError, match=name.split(".")[-1]):
        open_checkpoint(folder)


def test_integer_buffers_are_no_quantization(folder):
    extra = {"position_ids": torch.arange(8)[None], "h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.uint8)}
    save_file(load_file(folder / SINGLE) | extra, folder / SINGLE)
    assert open_checkpoint(folder).tensors["h.0.attn.bias"].dtype == "U8"


def test_remote_code_is_never_run(folder):
    proof = folder / "ran"
    code = f"open({str(proof)!r}, 'w')\nclass C: pass\n"
    (folder / "modeling_x.py").write_text(code)
    edit_json(
        folder / "config.json",
        auto_map={"AutoConfig": "modeling_x.C", "AutoModelForCausalLM": "modeling_x.C"},
        architectures=["MysteryForCausalLM"],
        model_type="mystery",
    )
    with pytest.raises(UnsupportedModelError, match=r"MysteryForCausalLM.*never run"):
        open_checkpoint(folder)
    edit_json(folder / "config.json", architectures=["LlamaForCausalLM"])
    with pytest.raises(UnsupportedModelError, match="mystery"):
        open_checkpoint(folder)
    edit_json(folder / "config.json", model_type="llama")
    assert open_checkpoint(folder).architecture == "LlamaForCausalLM"
    assert not proof.exists()


@pytest.mark.parametrize("names", [None, [], "LlamaForCausalLM", ["os"], ["logging"], [3]])
def test_no_architecture(folder, names):
    edit_json(folder / "config.json", architectures=names)
    with pytest.raises((CheckpointError, UnsupportedModelError)):
        open_checkpoint(folder)


def test_bad_config_value(folder):
    edit_json(folder / "config.json", hidden_size="many")
    with pytest.raises(CheckpointError, match="not a valid 'llama' config"):
        open_checkpoint(folder)


def in_cache(folder: Path, cache: Path, shared: str | None = None) -> Path:
    """Lay a folder out as the Hub's client does; `shared` names a file that lies in the store of all repositories."""
    repository = cache / "models--org--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        if path.name == shared:
            store = cache / "blobs" / "ab" / ("ab" * 32)
            store.parent.mkdir(parents=True)
            shutil.copy(path, store)
            blob.symlink_to(Path("../../blobs/ab") / store.name)
        else:
            shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("shared", [None, SINGLE])
def test_hub_cache_links_are_its_own(folder, tmp_path, shared):
    snapshot = in_cache(folder, tmp_path / "hub", shared)
    truth = load_file(folder / SINGLE)["model.norm.weight"]
    assert torch.equal(open_checkpoint(snapshot).read("model.norm.weight"), truth)
    other = tmp_path / "hub" / "models--org--other" / "blobs" / "x"
    other.parent.mkdir(parents=True)
    shutil.copy(folder / SINGLE, other)
    (snapshot / SINGLE).unlink()
    (snapshot / SINGLE).symlink_to("../../../models--org--other/blobs/x")
    with pytest.raises(UnsafeCheckpointError, match="outside of the folder"):
        open_checkpoint(snapshot)


def test_hub_id(folder, tmp_path, monkeypatch):
    asked = {}

    def download(repo, **options):
        asked.update(options, repo=repo)
        return str(folder)

    monkeypatch.setattr(checkpoint_source, "snapshot_download", download)
    checkpoint = open_checkpoint("org/tiny", revision="v1", token="t", cache_dir=tmp_path)
    assert checkpoint.path == folder.resolve()
    assert (asked["repo"], asked["revision"], asked["token"], asked["cache_dir"]) == ("org/tiny", "v1", "t", tmp_path)
    from huggingface_hub.utils import filter_repo_objects

    repository = [
        "config.json",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "tokenizer.json",
        "tokenizer.model",
        "merges.txt",
        "chat_template.jinja",
        "additional_chat_templates/tool.jinja",
    ]
    unwanted = [
        "pytorch_model.bin",
        "original/consolidated.00.pth",
        "model.pt",
        "x.ckpt",
        "consolidated.safetensors",
        "onnx/model.onnx",
        "q4.gguf",
        "modeling_x.py",
        "tf_model.h5",
        "unet/model.safetensors",
    ]
    taken = filter_repo_objects(
        [*repository, *unwanted], allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(taken) == repository


def test_hub_says_no(monkeypatch):
    def download(*_, **__):
        raise OSError("401 Client Error")

    monkeypatch.setattr(checkpoint_source, "snapshot_download", download)
    with pytest.raises(CheckpointError, match=r"no folder org/none, and the Hub does not give it: OSError: 401"):
        open_checkpoint("org/none")
    for source in ("./none", "/none/at/all", "a/b/c", "..", "x\\y"):
        if not Path(source).exists():
            with pytest.raises(CheckpointError, match="there is no folder"):
                open_checkpoint(source)


def test_pickles_on_the_hub_are_named(folder, monkeypatch):
    (folder / SINGLE).unlink()
    monkeypatch.setattr(checkpoint_source, "snapshot_download", lambda *_, **__: str(folder))
    monkeypatch.setattr(
        checkpoint_source.huggingface_hub, "list_repo_files", lambda *_, **__: ["config.json", "pytorch_model.bin"]
    )
    with pytest.raises(UnsafeCheckpointError, match=r"pytorch_model\.bin.*never unpickled"):
        open_checkpoint("org/tiny")
