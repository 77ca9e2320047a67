"""What the system gives for changing folders at one stroke: locks, exchanges, flushes."""

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hf_tokext.errors import CheckpointError, OutputExistsError

AT_FDCWD = -100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_SWAP = 2  # macOS
RENAME_EXCL = 4  # macOS
BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two existing folders in one step.

    Args:
        one: a folder.
        other: another one on the same file system.

    Returns:
        False where the system or the file system cannot do it; nothing has happened then.

    Raises:
        OSError: the system refused for another reason.
    """
    return _rename_with(one, other, RENAME_SWAP if sys.platform == "darwin" else RENAME_EXCHANGE)


def rename_new(source: Path, target: Path) -> None:
    """Rename a folder to a name that does not exist.

    Args:
        source: the folder.
        target: its new name, in the same parent.

    Raises:
        OutputExistsError: somebody made `target` in the meantime.
        OSError: the system refused.
    """
    try:
        if _rename_with(source, target, RENAME_EXCL if sys.platform == "darwin" else RENAME_NOREPLACE):
            return
    except FileExistsError as error:
        raise OutputExistsError(f"{target} was made by somebody else in the meantime") from error
    if target.exists():
        raise OutputExistsError(f"{target} was made by somebody else in the meantime")
    os.rename(source, target)
    _sync(target.parent)


def sync_tree(folder: Path) -> None:
    """Have every file and folder under `folder` written to the disk, so that a rename cannot come before contents."""
    for root, _, files in os.walk(folder):
        for name in files:
            _sync(Path(root) / name)
        _sync(Path(root))


@contextlib.contextmanager
def run_lock(path: Path) -> Iterator[bool]:
    """Hold a lock file; it is removed at the end, and the system drops the lock of a process that dies.

    Args:
        path: the lock file.

    Yields:
        Whether the lock is held; False on file systems without locks.

    Raises:
        CheckpointError: another run holds it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno in BUSY:
                name = path.name.removeprefix(".").removesuffix(".tokext-lock")
                raise CheckpointError(f"another run is writing to {path.with_name(name)}: wait for it") from error
            raise
        # Another run may have removed the file between opening and locking: then the lock is on nothing.
        if not held or _is_at(descriptor, path):
            break
        os.close(descriptor)
    try:
        yield held
    finally:
        if os.name == "nt":  # an open file cannot be removed there
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
        else:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock without waiting; False where there are no locks; OSError with an errno of BUSY where somebody has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _rename_with(source: Path, target: Path, flags: int) -> bool:
    if sys.platform == "win32":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    name = "renamex_np" if sys.platform == "darwin" else "renameat2"
    function = getattr(library, name, None)
    if function is None:
        return False
    if sys.platform == "darwin":
        function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
        result = function(os.fsencode(source), os.fsencode(target), flags)
    else:
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
        result = function(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags)
    if result == 0:
        _sync(target.parent)
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(target))


def _sync(path: Path) -> None:
    """Flush a file or folder; where the system cannot flush folders there is nothing to be done."""
    if path.is_symlink():
        return
    if path.is_dir():
        if os.name == "nt":
            return
        with contextlib.suppress(OSError):
            _flush(path, os.O_RDONLY)
    else:
        _flush(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
