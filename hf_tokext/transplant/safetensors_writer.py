"""Writing a changed copy of a checkpoint's tensors, one piece of one tensor at a time."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from hf_tokext.errors import CheckpointError
from hf_tokext.transplant.checkpoint import INDEX, SINGLE, Checkpoint
from hf_tokext.transplant.safetensors_header import FILE_DTYPES, FLOATS, TensorEntry, header_bytes

CHUNK = 1 << 22
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class _Item:
    """One tensor to be written: what it becomes, and where its values come from."""

    entry: TensorEntry
    source: TensorEntry | Tensor


def write_checkpoint_tensors(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    replace: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = 5_000_000_000,
    progress: Progress | None = None,
) -> int:
    """Write a checkpoint's tensors into a folder, changed as asked; memory is a few pieces of 4 MB.

    A sharded checkpoint keeps its files' names and what lies in which; a single file stays one unless it both grows
    and exceeds `max_shard_bytes`. Tensors that nothing changes are copied byte for byte.

    Args:
        checkpoint: the checkpoint that is read.
        folder: an existing folder; files of the same names must not be there.
        replace: new values by name, of any shape; written in the dtype that the stored tensor has, unless `dtype`.
        dtype: what all float tensors become; None keeps every dtype.
        max_shard_bytes: size from which a grown single file is cut into shards.
        progress: called with (bytes done, bytes in all).

    Returns:
        Bytes of all tensors written.

    Raises:
        CheckpointError: a name is unknown, or values do not fit the new dtype.
        OSError: a file cannot be written.
    """
    replace = dict(replace or {})
    for name in sorted(set(replace) - set(checkpoint.tensors)):
        raise CheckpointError(f"{checkpoint.source} has no tensor {name!r} to replace")
    if dtype is not None and FILE_DTYPES.get(dtype) not in FLOATS:
        raise CheckpointError(f"weights can be written as float16, bfloat16, float32 or float64, not as {dtype}")
    items = _items(checkpoint, replace, dtype)
    files = _layout(checkpoint, items, max_shard_bytes)
    total = sum(item.entry.nbytes for item in items)
    done = 0
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # The widest dtypes first, as the format's own writer does: then every tensor is aligned.
        content = sorted(content, key=lambda item: -item.entry.torch_dtype.itemsize)
        metadata = checkpoint.metadata.get(name) or checkpoint.metadata[checkpoint.files[0]]
        with path.open("xb") as out:
            out.write(header_bytes([item.entry for item in content], metadata | {"format": "pt"}))
            for item in content:
                written = 0
                for piece in _pieces(checkpoint, item):
                    out.write(piece)
                    written += len(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, total)
                if written != item.entry.nbytes:
                    raise CheckpointError(f"{item.entry.name} ended early: its file changed while it was being read")
    if list(files) != [SINGLE]:
        _write_index(checkpoint, folder, files, total)
    return total


def _items(checkpoint: Checkpoint, replace: dict[str, Tensor], dtype: torch.dtype | None) -> list[_Item]:
    items = []
    for name, entry in checkpoint.tensors.items():
        value = replace.get(name)
        shape = entry.shape if value is None else tuple(value.shape)
        items.append(_Item(_target(name, entry.file, entry.dtype, shape, dtype), entry if value is None else value))
    return items


def _target(name: str, file: str, stored: str, shape: tuple[int, ...], dtype: torch.dtype | None) -> TensorEntry:
    kind = FILE_DTYPES[dtype] if dtype is not None and stored in FLOATS else stored
    entry = TensorEntry(name, file, kind, shape, 0, 0)
    return TensorEntry(name, file, kind, shape, 0, prod(shape) * entry.torch_dtype.itemsize)


def _layout(checkpoint: Checkpoint, items: list[_Item], max_shard_bytes: int) -> dict[str, list[_Item]]:
    """Which tensors lie in which file."""
    total = sum(item.entry.nbytes for item in items)
    if checkpoint.sharded:
        files: dict[str, list[_Item]] = {}
        for item in items:
            files.setdefault(item.entry.file, []).append(item)
        return files
    if total <= max(max_shard_bytes, checkpoint.total_bytes):
        return {SINGLE: items}
    shards: list[list[_Item]] = [[]]
    size = 0
    for item in items:
        if shards[-1] and size + item.entry.nbytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(item)
        size += item.entry.nbytes
    if len(shards) == 1:
        return {SINGLE: items}
    return {f"model-{i:05d}-of-{len(shards):05d}.safetensors": shard for i, shard in enumerate(shards, 1)}


def _pieces(checkpoint: Checkpoint, item: _Item) -> Iterator[bytes | memoryview]:
    """The bytes of one tensor in its new dtype."""
    entry, source = item.entry, item.source
    if isinstance(source, Tensor):
        flat = source.detach().reshape(-1)
        count = max(1, CHUNK // entry.torch_dtype.itemsize)
        for start in range(0, len(flat), count):
            yield _bytes(_converted(flat[start : start + count].to("cpu"), entry))
        return
    with checkpoint.open(source.file) as stream:
        stream.seek(source.start)
        for start in range(0, source.nbytes, CHUNK):
            piece = bytearray(min(CHUNK, source.nbytes - start))
            if stream.readinto(piece) != len(piece):
                return
            if source.dtype == entry.dtype:
                yield memoryview(piece)
            else:
                yield _bytes(_converted(torch.frombuffer(piece, dtype=source.torch_dtype), entry))


def _converted(values: Tensor, entry: TensorEntry) -> Tensor:
    if values.dtype == entry.torch_dtype:
        return values
    result = values.to(entry.torch_dtype)
    floats = entry.is_float and values.is_floating_point()
    narrower = floats and torch.finfo(entry.torch_dtype).max < torch.finfo(values.dtype).max
    if narrower and bool((torch.isinf(result) & ~torch.isinf(values)).any()):
        raise CheckpointError(f"{entry.name} holds values too large for {entry.dtype}: write it as bfloat16 or float32")
    return result


def _bytes(values: Tensor) -> memoryview:
    return values.contiguous().view(torch.uint8).numpy().data


def _write_index(checkpoint: Checkpoint, folder: Path, files: dict[str, list[_Item]], total: int) -> None:
    metadata = dict(checkpoint.index_metadata or {}) | {"total_size": total}
    if "total_parameters" in metadata:
        metadata["total_parameters"] = sum(prod(item.entry.shape) for content in files.values() for item in content)
    weight_map = {item.entry.name: name for name, content in files.items() for item in content}
    index = {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
