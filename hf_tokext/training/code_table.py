"""The parquet file that holds the codes of many files."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from hf_tokext.errors import CodecError, MissingExtraError

_KEY = b"hf_tokext"  # in the schema's metadata: what the codes are of
COLUMNS = ("path", "codes", "shape")


class CodeTable(NamedTuple):
    """What a parquet file of codes holds.

    Attributes:
        modality: of the codec, such as "image".
        codebook_sizes: number of codes of each of its codebooks.
        rows: of pyarrow, with the columns that were asked for.
    """

    modality: str
    codebook_sizes: tuple[int, ...]
    rows: Any


def arrow() -> tuple[Any, Any]:
    """Import pyarrow and its parquet.

    Returns:
        Both modules.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "codec", "tables of codes") from error
    return pyarrow, parquet


def schema_of(modality: str, codebook_sizes: Sequence[int]) -> Any:
    """Lay down the columns, and what the codes are of.

    Args:
        modality: of the codec.
        codebook_sizes: number of codes of each of its codebooks.

    Returns:
        Schema of pyarrow.
    """
    pyarrow, _ = arrow()
    numbers = pyarrow.list_(pyarrow.int32())
    told = {"modality": modality, "codebook_sizes": list(codebook_sizes)}
    columns = dict(zip(COLUMNS, (pyarrow.string(), pyarrow.list_(numbers), numbers), strict=True))
    return pyarrow.schema(columns.items(), metadata={_KEY: json.dumps(told).encode()})


def read_table(path: str | PathLike[str], columns: Sequence[str] = COLUMNS) -> CodeTable:
    """Read a table of codes.

    Args:
        path: what `tokext codec encode` wrote.
        columns: those that are wanted.

    Returns:
        The table.

    Raises:
        CodecError: it cannot be read, or was not written by `tokext codec encode`.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = arrow()
    try:
        with Path(path).open("rb") as file, parquet.ParquetFile(file) as table:
            if not set(COLUMNS) <= set(table.schema_arrow.names):
                raise CodecError(f"{path} lacks path, codes or shape: it was not written by `tokext codec encode`")
            told = json.loads((table.schema_arrow.metadata or {}).get(_KEY, b"{}"))
            rows = table.read(columns=list(columns))
        return CodeTable(told["modality"], tuple(told["codebook_sizes"]), rows)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise CodecError(f"{path} cannot be read as parquet: {error}") from error
    except (KeyError, TypeError) as error:
        raise CodecError(
            f"{path} does not say of which codec its codes are; write it by `tokext codec encode`"
        ) from error
