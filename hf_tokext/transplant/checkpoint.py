"""Opening a checkpoint without loading weights and without trusting what it says."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.errors import (
    CheckpointError,
    QuantizedCheckpointError,
    UnsafeCheckpointError,
    UnsupportedModelError,
)
from hf_tokext.transplant.checkpoint_source import checked_file, checked_name, local_folder, names_on_hub
from hf_tokext.transplant.safetensors_header import TensorEntry, read_header

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Names under which GPTQ, AWQ, bitsandbytes, compressed-tensors and MX formats store packed weights and their scales.
PACKED = ("qweight", "qzeros", "weight_packed", "weight_scale", "SCB", "absmax", "quant_map", "nested_absmax")
PACKED_INTEGERS = ("weight", "down_proj_blocks", "gate_up_proj_blocks")
Header = tuple[dict[str, TensorEntry], dict[str, str]]  # entries by name, metadata
NOT_INTEGERS = ("F16", "BF16", "F32", "F64", "C64", "BOOL")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint whose headers were read and checked; weights are read when asked for.

    Attributes:
        path: the folder.
        config: the model's config.
        config_json: config.json as it stands, with every key that transformers does not know.
        architecture: the model class that config.json names.
        tensors: every stored tensor, by its name in the files.
        files: the safetensors files, relative to the folder, in the index's order of names.
        metadata: the metadata of each file.
        index_metadata: the metadata of the index; None where the checkpoint is one file.
        source: what the user named: a folder or a Hub id.
    """

    path: Path
    config: PreTrainedConfig
    config_json: dict[str, Any] = field(repr=False)
    architecture: str
    tensors: dict[str, TensorEntry] = field(repr=False)
    files: tuple[str, ...]
    metadata: dict[str, dict[str, str]] = field(repr=False)
    index_metadata: dict[str, Any] | None = field(repr=False)
    source: str

    @property
    def sharded(self) -> bool:
        """Whether the weights lie in files named by an index."""
        return self.index_metadata is not None

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(entry.nbytes for entry in self.tensors.values())

    def open(self, file: str) -> io.BufferedReader:
        """Open one of `files` for reading."""
        return (self.path / file).open("rb")

    def read(self, name: str) -> Tensor:
        """Read one tensor into memory.

        Args:
            name: a key of `tensors`.

        Returns:
            The tensor on the CPU, with the shape and dtype of its entry.

        Raises:
            CheckpointError: there is no such tensor, or the file changed since it was opened.
        """
        if name not in self.tensors:
            raise CheckpointError(f"{self.source} has no tensor {name!r}")
        entry = self.tensors[name]
        data = bytearray(entry.nbytes)
        with self.open(entry.file) as stream:
            stream.seek(entry.start)
            if stream.readinto(data) != entry.nbytes:
                raise CheckpointError(f"{entry.file} ended inside {name!r}: it changed while it was being read")
        if not data:
            return torch.empty(entry.shape, dtype=entry.torch_dtype)
        return torch.frombuffer(data, dtype=entry.torch_dtype).reshape(entry.shape)


def open_checkpoint(
    source: str | Path, *, revision: str | None = None, token: str | bool | None = None, cache_dir: Path | None = None
) -> Checkpoint:
    """Open a folder or a Hub id; reads config.json and the safetensors headers, never a pickle, never remote code.

    Args:
        source: a folder, or a Hub id such as "org/name".
        revision: branch, tag or commit on the Hub.
        token: access token for the Hub, or None for the stored one.
        cache_dir: where downloads go; None is the Hub's own cache.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: the folder, its config or its weights are missing or damaged, or are not in safetensors.
        UnsafeCheckpointError: the weights are pickled, or a file lies outside the folder.
        QuantizedCheckpointError: the weights are quantized.
        UnsupportedModelError: transformers has no class for the architecture.
    """
    path = local_folder(source, revision=revision, token=token, cache_dir=cache_dir)
    config_json = _config_json(path, str(source))
    _refuse_quantized_config(config_json, str(source))
    architecture = _architecture(config_json, str(source))
    index, headers = checked_headers(path, str(source), revision, token)
    tensors: dict[str, TensorEntry] = {}
    weight_map = {} if index is None else index["weight_map"]
    for file, (entries, _) in headers.items():
        # A tensor that the index places elsewhere is a stale copy; one that the index forgot is still loaded.
        tensors.update({name: entry for name, entry in entries.items() if weight_map.get(name, file) == file})
    for name, file in weight_map.items():
        if name not in tensors:
            raise CheckpointError(f"{INDEX} of {source} says that {name!r} lies in {file}, but it does not")
    _refuse_packed_tensors(tensors)
    index_metadata = None
    if index is not None:
        index_metadata = index["metadata"] if isinstance(index.get("metadata"), dict) else {}
    return Checkpoint(
        path=path,
        config=_config(path, config_json, str(source)),
        config_json=config_json,
        architecture=architecture,
        tensors=tensors,
        files=tuple(headers),
        metadata={file: metadata for file, (_, metadata) in headers.items()},
        index_metadata=index_metadata,
        source=str(source),
    )


def checked_headers(
    path: Path, source: str, revision: str | None = None, token: str | bool | None = None
) -> tuple[dict[str, Any] | None, dict[str, Header]]:
    """The headers of a checkpoint's weights, once every file that a loader would read is known to lie in its folder.

    Args:
        path: the folder.
        source: what the user named, for messages.
        revision: of a Hub id.
        token: for the Hub.

    Returns:
        The index, None where the weights are one file; and the header of every safetensors file, by its sorted name.

    Raises:
        CheckpointError: weights are missing, or a header is damaged.
        UnsafeCheckpointError: the weights are pickled, or a file lies outside the folder.
        QuantizedCheckpointError: there are only GGUF weights.
    """
    if (path / "adapter_config.json").exists() or (path / "adapter_config.json").is_symlink():
        # transformers and PEFT would load whatever base the adapter names
        raise _adapter(source)
    if not (path / "config.json").exists():
        _config_json(path, source)  # says what is there instead
    for extra in sorted(path.glob("*")):
        if extra.suffix in (".json", ".jinja", ".model", ".txt", ".tiktoken"):
            checked_file(path, extra.name)
    index = _index(path, source, revision, token)
    files = [SINGLE] if index is None else sorted(set(index["weight_map"].values()))
    return index, {file: read_header(checked_file(path, file), file) for file in files}


def _json_object(path: Path, name: str, source: str) -> dict[str, Any]:
    file = checked_file(path, name)
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{name} of {source} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} of {source} is not a JSON object")
    return value


def _config_json(path: Path, source: str) -> dict[str, Any]:
    if (path / "config.json").exists() or (path / "config.json").is_symlink():
        return _json_object(path, "config.json", source)
    if (path / "adapter_config.json").exists():
        raise _adapter(source)
    _refuse_other_weights(path, sorted(entry.name for entry in path.iterdir()), source)
    raise CheckpointError(f"{source} has no config.json: give the folder that save_pretrained wrote")


def _config(path: Path, config_json: dict[str, Any], source: str) -> PreTrainedConfig:
    model_type = config_json.get("model_type")
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # strict configs raise a class of their own for every kind of bad value
        if isinstance(model_type, str) and model_type in transformers.CONFIG_MAPPING:
            raise CheckpointError(f"config.json of {source} is not a valid {model_type!r} config: {error}") from error
        raise UnsupportedModelError(
            f"{source} has model_type {model_type!r}, which transformers {transformers.__version__} does not have; "
            "remote code is never run"
        ) from error


def _architecture(config_json: dict[str, Any], source: str) -> str:
    names = config_json.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise CheckpointError(
            f'config.json of {source} names no architecture: add "architectures": ["..."] with the class of the model'
        )
    found = getattr(transformers, names[0], None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise UnsupportedModelError(
            f"{source} is a {names[0]}, which is none of the classes that transformers {transformers.__version__} has: "
            "only those are transplanted and healed, and code that a checkpoint brings is never run"
        )
    return names[0]


def _refuse_quantized_config(config_json: dict[str, Any], source: str) -> None:
    for section in [config_json, *(value for value in config_json.values() if isinstance(value, dict))]:
        for key in ("quantization_config", "compression_config"):
            quantized = section.get(key)
            if not quantized:
                continue
            method = quantized.get("quant_method", "unknown method") if isinstance(quantized, dict) else quantized
            raise QuantizedCheckpointError(
                f"{source} is quantized ({method}): use the unquantized original, or load it, call "
                "model.dequantize(), save it, and give that folder"
            )


def _refuse_packed_tensors(tensors: dict[str, TensorEntry]) -> None:
    for name, entry in tensors.items():
        last = name.rsplit(".", 1)[-1]
        packed = last in PACKED_INTEGERS and len(entry.shape) > 1 and entry.dtype not in NOT_INTEGERS
        if packed or last in PACKED or ".quant_state." in name:
            raise QuantizedCheckpointError(
                f"{name} in {entry.file} ({entry.dtype}) holds quantized weights: use the unquantized original, or "
                "load it, call model.dequantize(), save it, and give that folder"
            )


def _index(path: Path, source: str, revision: str | None, token: str | bool | None) -> dict[str, Any] | None:
    """The checked index, or None where the weights are one file."""
    names = sorted(entry.name for entry in path.iterdir())
    if SINGLE in names:
        return None
    if INDEX not in names:
        _refuse_other_weights(path, names, source)
        _refuse_other_weights(path, names_on_hub(source, revision, token), source)
        raise CheckpointError(f"{source} has neither {SINGLE} nor {INDEX}: save the model with save_pretrained")
    index = _json_object(path, INDEX, source)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{INDEX} of {source} has no weight_map")
    for name, file in weight_map.items():
        if not isinstance(file, str) or not file.endswith(".safetensors"):
            raise UnsafeCheckpointError(f"{INDEX} of {source} puts {name!r} into {file!r}, not a safetensors file")
    for file in sorted(set(weight_map.values())):
        checked_name(file, f"{INDEX} of {source}")
        if not (path / file).exists() and not (path / file).is_symlink():
            raise CheckpointError(f"{INDEX} of {source} names {file}, which is missing: fetch it again")
    return index


def _adapter(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} is a PEFT adapter: merge it into its base (merge_and_unload), save_pretrained the result into another "
        "folder, and give that"
    )


def _refuse_other_weights(path: Path, names: list[str], source: str) -> None:
    if any(name.endswith(".safetensors") and not name.startswith("adapter_") for name in names):
        return
    pickles = [name for name in names if name.endswith(PICKLES) and not name.startswith(("training_args", "optimizer"))]
    if pickles:
        raise UnsafeCheckpointError(
            f"{source} has only pickled weights ({pickles[0]}), which can run code and are never unpickled here. If "
            "you trust their author, convert them: load with AutoModel...from_pretrained and save_pretrained, or use "
            "the Hub's safetensors conversion"
        )
    gguf = [name for name in names if name.endswith(".gguf")]
    if gguf:
        raise QuantizedCheckpointError(
            f"{source} has only GGUF weights ({gguf[0]}): use the original, or dequantize with "
            f"AutoModelForCausalLM.from_pretrained(folder, gguf_file={gguf[0]!r}) and save_pretrained"
        )
    if "adapter_config.json" in names:
        raise _adapter(source)
