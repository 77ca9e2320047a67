"""Rows of a batch, as arrays or as lists."""

from collections.abc import Sequence

import numpy as np
from transformers.tokenization_utils_base import PaddingStrategy

Row = bytes | list[int]  # ids of one text: bytes where all of them are below 256


def padded_length(
    lengths: Sequence[int], strategy: PaddingStrategy, max_length: int | None, multiple: int | None
) -> int | None:
    """Say how long the rows of a batch become.

    Args:
        lengths: ids of every row.
        strategy: transformers' padding strategy.
        max_length: length for the strategy of that name.
        multiple: rounds the length up.

    Returns:
        The length that shorter rows are padded to; None where nothing is padded.
    """
    if strategy == PaddingStrategy.DO_NOT_PAD:
        return None
    length = max_length if strategy == PaddingStrategy.MAX_LENGTH and max_length is not None else max(lengths)
    return -(-length // multiple) * multiple if multiple else length


def arrays(
    rows: Sequence[Row], length: int, opening: list[int], closing: list[int], pad: int, left: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Lay rows out in arrays.

    Args:
        rows: B rows of ids.
        length: L, at least as long as every row with opening and closing.
        opening: ids before every row.
        closing: ids after every row.
        pad: id of the padding.
        left: pad on the left.

    Returns:
        Ids and attention mask, [B, L], int64.
    """
    ids = np.full((len(rows), length), pad, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for into, held, row in zip(ids, mask, rows, strict=True):
        count = len(opening) + len(row) + len(closing)
        at = length - count if left else 0
        held[at : at + count] = 1
        into[at : at + len(opening)] = opening
        body = np.frombuffer(row, dtype=np.uint8) if isinstance(row, bytes) else row
        into[at + len(opening) : at + count - len(closing)] = body
        into[at + count - len(closing) : at + count] = closing
    return ids, mask


def lists(
    rows: Sequence[Row], length: int | None, opening: list[int], closing: list[int], pad: int, left: bool
) -> tuple[list[list[int]], list[list[int]]]:
    """Lay rows out in lists.

    Args:
        rows: B rows of ids.
        length: length that shorter rows are padded to, or None.
        opening: ids before every row.
        closing: ids after every row.
        pad: id of the padding.
        left: pad on the left.

    Returns:
        Ids and attention mask, B lists each.
    """
    ids, masks = [], []
    for row in rows:
        full = [*opening, *row, *closing]
        mask = [1] * len(full)
        if length is not None and len(full) < length:
            filler = length - len(full)
            full = [pad] * filler + full if left else full + [pad] * filler
            mask = [0] * filler + mask if left else mask + [0] * filler
        ids.append(full)
        masks.append(mask)
    return ids, masks
