"""Text files, read strictly."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from hf_tokext.errors import TextError


def read_text(path: str | PathLike[str]) -> str:
    """Read a UTF-8 file as it is: line ends are kept, a byte order mark is dropped.

    Args:
        path: the file.

    Returns:
        The text.

    Raises:
        TextError: the file is missing, not a file, empty, or not UTF-8; the message names the file and the byte.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TextError(f"cannot read the text file {path}: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{path} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}; convert it to UTF-8 first"
        ) from error
    if not text.strip():
        raise TextError(f"the text file {path} is empty; give a file with text")
    return text


def read_texts(paths: Iterable[str | PathLike[str]]) -> list[str]:
    """Read several UTF-8 files, one text a file.

    Args:
        paths: the files, at least one.

    Returns:
        The texts, in the order of the files.

    Raises:
        TextError: no file is given, or one cannot be read.
    """
    texts = [read_text(path) for path in paths]
    if not texts:
        raise TextError("no text file is given; name at least one")
    return texts
