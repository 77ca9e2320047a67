"""Reading and writing the header of a safetensors file, with every claim it makes checked against the file."""

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from hf_tokext.errors import CheckpointError, QuantizedCheckpointError

TORCH_DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
}
FILE_DTYPES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
FLOATS = ("F16", "BF16", "F32", "F64")
# The format's own limit: a longer header is an attack or damage, and would be read into memory whole.
MAX_HEADER = 100_000_000


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies.

    Attributes:
        name: the tensor's name in the checkpoint.
        file: the safetensors file, relative to the checkpoint's folder.
        dtype: the format's own name, such as "BF16".
        shape: the tensor's shape.
        start: first byte, counted from the start of the file.
        nbytes: length in bytes.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype that `Checkpoint.read` returns."""
        return TORCH_DTYPES[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether a change of dtype applies to this tensor."""
        return self.dtype in FLOATS


def read_header(path: Path, file: str) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Read a safetensors header without reading any weight.

    Args:
        path: the file.
        file: the name to put into the entries and the messages.

    Returns:
        The entries in the order of their bytes, and the file's metadata.

    Raises:
        CheckpointError: the file is truncated or damaged, or its metadata says that it is not for torch.
        QuantizedCheckpointError: a tensor has a dtype that only quantized checkpoints use.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            prefix = stream.read(8)
            if len(prefix) < 8:
                raise _damaged(file, f"it has {size} bytes, too few for a header")
            (length,) = struct.unpack("<Q", prefix)
            if length > min(MAX_HEADER, size - 8):
                raise _damaged(file, f"its header claims {length} bytes, the file has {size}")
            text = stream.read(length)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(file, "its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(file, "its metadata are not strings")
    if metadata.get("format", "pt") not in ("pt", "mlx"):
        raise CheckpointError(
            f"{file} holds weights for {metadata['format']!r}, not for torch: load the model with that framework's "
            "own tools and save it for torch first"
        )
    entries = [_entry(name, value, file, 8 + length) for name, value in header.items()]
    entries.sort(key=lambda entry: (entry.start, entry.nbytes))
    position = 8 + length
    for entry in entries:
        if entry.start != position:
            raise _damaged(file, f"the bytes of {entry.name!r} start at {entry.start} instead of {position}")
        position += entry.nbytes
    if position != size:
        raise _damaged(file, f"its tensors end at byte {position}, the file at byte {size}")
    return {entry.name: entry for entry in entries}, metadata


def header_bytes(entries: list[TensorEntry], metadata: dict[str, str]) -> bytes:
    """The length prefix and header of a file that holds `entries` back to back in the given order."""
    header: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for entry in entries:
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [position, position + entry.nbytes],
        }
        position += entry.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)  # keeps the first tensor aligned, as the format's own writer does
    return struct.pack("<Q", len(text)) + text


def _entry(name: str, value: Any, file: str, data: int) -> TensorEntry:
    try:
        dtype, shape, (begin, end) = value["dtype"], value["shape"], value["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(file, f"the entry of {name!r} is incomplete") from error
    if not isinstance(shape, list) or not all(_is_size(number) for number in [*shape, begin, end]) or end < begin:
        raise _damaged(file, f"the entry of {name!r} has an impossible shape or offset")
    if isinstance(dtype, str) and dtype not in TORCH_DTYPES and dtype.startswith(("F8", "F6", "F4")):
        raise QuantizedCheckpointError(
            f"{name} in {file} has dtype {dtype}, which only quantized checkpoints use: take the unquantized original, "
            "or load the model, call model.dequantize() and save it"
        )
    if dtype not in TORCH_DTYPES:
        raise _damaged(file, f"{name!r} has the unknown dtype {dtype!r}")
    if prod(shape) * TORCH_DTYPES[dtype].itemsize != end - begin:
        raise _damaged(file, f"{name!r} of shape {shape} and dtype {dtype} does not fill bytes {begin} to {end}")
    return TensorEntry(name, file, dtype, tuple(shape), data + begin, end - begin)


def _is_size(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**62


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _damaged(file: str, what: str) -> CheckpointError:
    return CheckpointError(f"{file} is truncated or damaged: {what}. Fetch or save it again.")
