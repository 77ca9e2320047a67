"""An output folder that is either the old one or the finished new one, whatever happens in between."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_tokext.errors import CheckpointError, OutputExistsError
from hf_tokext.transplant.rename import exchange, rename_new, run_lock, sync_tree

RESULTS = ("config.json", "tokenizer_config.json", "tokenizer.json")
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def output_folder(path: str | Path, *, overwrite: bool, needed: int | None = None) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it becomes `path` when the block ends without an exception.

    Work that a killed run left behind for the same `path` is removed first. While the block runs, a lock keeps other
    runs off the same `path`; the system drops it when the process dies.

    Args:
        path: the folder to make.
        overwrite: whether an existing folder is replaced; one that is not empty must look like a checkpoint.
        needed: bytes that will be written, where known: checked against the free space first.

    Yields:
        An empty folder in the same parent.

    Raises:
        OutputExistsError: `path` is a file, or exists and is not to be overwritten, or holds something else.
        CheckpointError: the disk is full, or another run writes to the same `path`.
    """
    target = Path(path).expanduser().resolve()
    if not target.name:
        raise OutputExistsError(f"{path} cannot be replaced: name a new folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with run_lock(target.parent / f".{target.name}.tokext-lock") as certain:
            if certain:  # otherwise a leftover may belong to a run that is alive
                _recover(target)
            refuse_existing(target, overwrite)
            _refuse_no_space(target, needed)
            temporary = _make_temporary(target)
            try:
                yield temporary
                sync_tree(temporary)
                refuse_existing(target, overwrite)
                _commit(temporary, target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except Exception as error:
        if not isinstance(error, CheckpointError) and _is_full(error):
            raise CheckpointError(_full_message(target, needed)) from error
        raise


def refuse_overlap(output: str | Path, *inputs: str | Path) -> None:
    """Refuse an output folder that is an input, lies in one, or contains one.

    Args:
        output: the folder to be made.
        *inputs: folders that are read; Hub ids and other things that are not here are passed over.

    Raises:
        OutputExistsError: writing would change an input.
    """
    target = Path(output).expanduser().resolve()
    for given in inputs:
        source = Path(given).expanduser()
        if not source.exists():
            continue
        source = source.resolve()
        if any(_same(source, above) for above in (target, *target.parents) if above.exists()) or any(
            _same(target, above) for above in source.parents if target.exists()
        ):
            raise OutputExistsError(
                f"the output {output} is, contains or lies inside of the input {given}: inputs are never changed, so "
                "choose a folder elsewhere"
            )


def _same(one: Path, other: Path) -> bool:
    return one == other or os.path.samefile(one, other)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.tokext-old")


def _recover(target: Path) -> None:
    """Finish or undo what a killed run left; only called while no other run can be at work on `target`."""
    old = _old(target)
    if old.is_dir():
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, target)
    prefix = f".{target.name}.tokext-new-"
    for entry in list(target.parent.iterdir()):
        if entry.name.startswith(prefix) and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)


def _make_temporary(target: Path) -> Path:
    while True:
        temporary = target.with_name(f".{target.name}.tokext-new-{os.urandom(4).hex()}")
        try:
            temporary.mkdir()  # not tempfile: the folder becomes the result and must have the user's usual rights
        except FileExistsError:
            continue
        return temporary


def refuse_existing(path: str | Path, overwrite: bool) -> None:
    """Refuse an output folder that must not be replaced; `output_folder` asks again.

    Args:
        path: the folder to be made.
        overwrite: whether an existing folder is replaced; one that is not empty must look like a checkpoint.

    Raises:
        OutputExistsError: `path` is a file, or exists and is not to be overwritten, or holds something else.
    """
    target = Path(path).expanduser().resolve()
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputExistsError(f"{target} is a file: name a folder")
    if not overwrite:
        raise OutputExistsError(f"{target} exists: name another folder, or ask for overwriting (--overwrite)")
    if any(target.iterdir()) and not any((target / name).is_file() for name in RESULTS):
        raise OutputExistsError(f"{target} does not look like a checkpoint: empty it yourself, or name another folder")


def _commit(temporary: Path, target: Path) -> None:
    if not target.exists():
        rename_new(temporary, target)
    elif not exchange(temporary, target):
        # Between these two renames there is no `target`; the next run, finding the old one, moves it back.
        old = _old(target)
        shutil.rmtree(old, ignore_errors=True)
        os.rename(target, old)
        try:
            os.rename(temporary, target)
        except BaseException:
            os.rename(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _refuse_no_space(target: Path, needed: int | None) -> None:
    if needed is not None and shutil.disk_usage(target.parent).free < needed:
        raise CheckpointError(_full_message(target, needed))


def _is_full(error: BaseException | None) -> bool:
    """Whether the disk was full; libraries in Rust wrap the system's error into text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL or "(os error 28)" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _full_message(target: Path, needed: int | None) -> str:
    free = shutil.disk_usage(target.parent).free
    need = f"about {readable(needed)} are needed" if needed is not None else "more is needed"
    return (
        f"the disk of {target.parent} is full: {need} (an overwritten folder is kept until the end), "
        f"{readable(free)} are free. Nothing was changed."
    )


def readable(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.2f} MB"
