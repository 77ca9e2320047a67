"""A folder of files becomes a table of codes, and a table of codes becomes files."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import PathLike
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch

from hf_tokext.errors import CodecError, OutputExistsError
from hf_tokext.training.code_table import arrow, read_table, schema_of
from hf_tokext.training.codec_files import find_files, load_codec
from hf_tokext.transplant.folder import output_folder

Row = dict[str, Any]
Progress = Callable[[int, int], None]


def encode_files(
    codec: str | PathLike[str],
    data: str | PathLike[str],
    output: str | PathLike[str],
    *,
    processes: int = 1,
    batch: int = 16,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[int, dict[str, str]]:
    """Encode all files of a folder to a parquet file.

    A row is a file: `path` (in the folder), `codes` (a list of T numbers for each codebook), and `shape`, that of the values that were encoded
    but for padding ([channels, height, width] or [channels, samples]). `datasets.load_dataset("parquet", ...)` reads it.

    Args:
        codec: a folder with the codec and its processor.
        data: the folder of files; all folders in it are searched.
        output: the parquet file.
        processes: how many work at once.
        batch: files that are encoded together; what comes out does not depend on it, but for the rounding of sums.
        overwrite: replace the file.
        progress: called with the files done and all files.

    Returns:
        Number of rows, and of each file that was left out, by its path, why.

    Raises:
        CodecError: the codec is continuous or cannot be loaded, or no file can be read.
        OutputExistsError: the output exists, and `overwrite` is off.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = arrow()
    target, folder = Path(output), Path(data)
    if target.is_dir() or (target.exists() and not overwrite):
        raise OutputExistsError(f"{target} exists; name another file or pass --overwrite")
    if min(processes, batch) < 1:
        raise CodecError("processes and batch must be positive")
    model, kind, _ = loaded = load_codec(Path(codec))
    if model.is_continuous:
        raise CodecError(f"{codec} is continuous: it has no codes")
    _, files = find_files(folder, kind.name)
    schema = schema_of(kind.name, model.codebook_sizes)
    batch = batch if model.blind_to_padding else 1
    parts = [[str(path) for path in files[start : start + batch]] for start in range(0, len(files), batch)]
    count, done, bad = 0, 0, dict[str, str]()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.tokext-new")
    try:
        with parquet.ParquetWriter(scratch, schema) as writer:
            for part, (rows, wrong) in zip(parts, _encoded(str(codec), loaded, parts, processes), strict=True):
                for row in rows:
                    row["path"] = Path(row["path"]).relative_to(folder).as_posix()
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                count, done = count + len(rows), done + len(part)
                bad |= {Path(path).relative_to(folder).as_posix(): reason for path, reason in wrong.items()}
                if progress is not None:
                    progress(done, len(files))
        if not count:
            raise CodecError(f"none of the {len(files)} files could be read; the first: {next(iter(bad.values()))}")
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return count, bad


def decode_files(
    codec: str | PathLike[str],
    codes: str | PathLike[str],
    output_dir: str | PathLike[str],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Decode the codes of a parquet file to files in a new folder, with the paths that were encoded.

    Args:
        codec: a folder with the codec and its processor.
        codes: what `encode_files` wrote.
        output_dir: the folder to make.
        limit: rows at most, from the first on; None for all.
        progress: called with the rows done and all rows.

    Returns:
        Number of files.

    Raises:
        CodecError: the file is no table of codes, or of those of another codec, or a path leads out of the folder.
        OutputExistsError: the folder exists.
        MissingExtraError: pyarrow is not installed.
    """
    model, kind, processor = load_codec(Path(codec))
    table = read_table(codes)
    if (table.modality, table.codebook_sizes) != (kind.name, tuple(model.codebook_sizes)):
        raise CodecError(
            f"{codes} holds codes of another codec: {table.modality} by codebooks of {list(table.codebook_sizes)} codes; "
            f"this one is {kind.name} by {list(model.codebook_sizes)}"
        )
    rows = table.rows.slice(0, limit).to_pylist()
    with output_folder(Path(output_dir), overwrite=False) as scratch:
        for number, row in enumerate(rows, 1):
            target = scratch / _inside(row["path"]).with_suffix(kind.written)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # two files that differ in their suffix only
                target = scratch / f"{_inside(row['path'])}{kind.written}"
            try:
                *_, height, width = row["shape"]
                given = torch.tensor([row["codes"]])
            except (TypeError, ValueError) as error:
                raise CodecError(f"the row of {row['path']} is damaged: {error}") from error
            how: Row = {"length": width} if kind.name == "audio" else {"size": (height, width)}
            with torch.no_grad():
                (values,) = model.decode(given, **how)
            kind.write(target, values, processor)
            if progress is not None:
                progress(number, len(rows))
    return len(rows)


def _inside(path: str) -> PurePosixPath:
    found, elsewhere = PurePosixPath(path), PureWindowsPath(path)  # which other systems read in another way
    if found.is_absolute() or elsewhere.anchor or ".." in elsewhere.parts or not found.name:
        raise CodecError(f"the path {path!r} of a row leads out of the folder; mend the table")
    return found


def _encoded(
    codec: str, loaded: Sequence[Any], parts: Sequence[list[str]], processes: int
) -> Iterator[tuple[list[Row], dict[str, str]]]:
    if processes == 1:
        yield from (_encode(part, loaded) for part in parts)
        return
    threads = max(torch.get_num_threads() // processes, 1)
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_load, initargs=(codec, threads)) as pool:
        yield from pool.map(_encode, parts)


_loaded: list[Any] = []  # codec, modality and processor of a process that was begun for encoding


def _load(codec: str, threads: int) -> None:
    torch.set_num_threads(threads)
    _loaded[:] = load_codec(Path(codec))


@torch.no_grad()
def _encode(paths: Sequence[str], loaded: Sequence[Any] = _loaded) -> tuple[list[Row], dict[str, str]]:
    """Rows of files, and what is wrong with those that have none."""
    model, kind, processor = loaded
    read, wrong = dict[str, Any](), dict[str, str]()
    for path in paths:
        try:
            read[path] = kind.read(Path(path))
        except CodecError as error:
            wrong[path] = str(error)
    if not read:
        return [], wrong
    features = kind.features(processor, list(read.values()))
    values = features[model.main_input_name].to(model.device)
    padding = next((features[name] for name in ("padding_mask", "pixel_mask") if name in features), None)
    encoding = model.encode(values, None if padding is None else padding.to(model.device))
    rows = []
    for number, path in enumerate(read):
        shape = list(values.shape[1:])
        if kind.name == "audio" and padding is not None:
            shape[-1] = int(padding[number].sum())
        kept = encoding.codes[number][:, encoding.mask[number]]
        rows.append({"path": path, "codes": kept.cpu().tolist(), "shape": shape})
    return rows, wrong
