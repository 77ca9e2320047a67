"""Ids as runs of bytes and single markers."""

from array import array
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

from hf_tokext.errors import VocabularyError

BYTES = 256


def bytes_and_markers(ids: Sequence[int] | np.ndarray) -> list[bytes | int]:
    """Cut ids into runs of bytes and ids that are none.

    Args:
        ids: [n], a sequence of integers or an array of any integer dtype.

    Returns:
        Runs of bytes, and every id that is not between 0 and 255, in order; one empty run for no ids.

    Raises:
        VocabularyError: the ids are no integers.
    """
    if not isinstance(ids, np.ndarray):
        try:
            return _of_sequence(ids)
        except (TypeError, OverflowError) as error:
            raise VocabularyError(f"ids must be integers: {error}") from error
    if ids.size and ids.dtype.kind not in "iu":
        raise VocabularyError(f"ids must be integers, not {ids.dtype}")
    if ids.dtype == np.uint8:
        return [ids.tobytes()]
    markers = np.flatnonzero((ids < 0) | (ids >= BYTES)).tolist()
    data = ids.astype(np.uint8).tobytes()  # what is no byte is cut out below
    parts: list[bytes | int] = []
    for start, marker in zip([0, *(at + 1 for at in markers)], [*markers, len(data)], strict=True):
        if start < marker or not data:
            parts.append(data[start:marker])
        if marker < len(data):
            parts.append(int(ids[marker]))
    return parts


def _of_sequence(ids: Any) -> list[bytes | int]:
    """As above; a list whose markers stand at its ends only, as most do, never becomes an array."""
    start, end = 0, len(ids)
    if not all(map(isinstance, (ids[0], ids[-1]) if end else (), (SupportsIndex, SupportsIndex))):
        raise TypeError(f"{ids[0]!r} and {ids[-1]!r} were given")
    while start < end and not 0 <= ids[start] < BYTES:
        start += 1
    while end > start and not 0 <= ids[end - 1] < BYTES:
        end -= 1
    try:
        # CPython 3.11 reads a list into a bytearray seven times faster than into bytes
        body: list[bytes | int] = [bytes(bytearray(ids[start:end]))] if end > start or not len(ids) else []
    except ValueError:  # an id that is no byte stands in the middle
        return bytes_and_markers(np.frombuffer(array("q", ids), dtype=np.int64))
    return [*map(int, ids[:start]), *body, *map(int, ids[end:])]
