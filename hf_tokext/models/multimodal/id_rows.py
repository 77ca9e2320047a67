"""Rows of ids with codes among them: cut, padded, and taken apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hf_tokext.errors import ModalityError, VocabularyError
from hf_tokext.vocabulary.code_space import CodeSpace

LEFT_OUT = -100
Row = tuple[list[int], list[int]]  # ids and labels


@dataclass(frozen=True)
class Parts:
    """What a row of ids holds.

    Attributes:
        text: with a placeholder where codes or latents stand.
        codes: by modality, the codes of each document in order, [codebooks, T].
    """

    text: str
    codes: dict[str, list[Tensor]] = field(default_factory=dict)


def cut_row(
    ids: list[int],
    labels: list[int],
    row: int,
    spaces: Mapping[str, CodeSpace],
    truncation: bool,
    max_length: int | None,
) -> Row:
    """Cut a row that is too long, but through no modality.

    Args:
        ids: of the row.
        labels: as many.
        row: its number, for messages.
        spaces: the modalities.
        truncation: whether it may be cut.
        max_length: ids that it may have; None for any number.

    Returns:
        Ids and labels.

    Raises:
        ModalityError: it is too long and may not be cut, or some of a modality would be cut away.
    """
    if max_length is None or len(ids) <= max_length:
        return ids, labels
    if not truncation:
        raise ModalityError(f"row {row} has {len(ids)} ids, more than max_length={max_length}: pass truncation=True")
    for name, space in spaces.items():
        if space.end in ids[max_length:]:
            raise ModalityError(
                f"row {row} has {len(ids)} ids, and cutting it to max_length={max_length} would cut away some of {name!r}: "
                "raise max_length, or let the text after it be what is long"
            )
    return ids[:max_length], labels[:max_length]


def pad_rows(
    rows: Sequence[Row], tokenizer: Any, padding: bool | str, labelled: bool, length: int | None = None
) -> dict[str, Tensor]:
    """Make a batch of rows.

    Args:
        rows: ids and labels of each.
        tokenizer: says what padding is, and on which side.
        padding: whether rows may be padded; "max_length" pads all to `length`.
        labelled: whether labels are wanted.
        length: ids that each row has then.

    Returns:
        `input_ids`, `attention_mask` and perhaps `labels`, [B, T].

    Raises:
        ModalityError: rows have several lengths, and may not be padded; or nobody says to which length.
    """
    if padding == "max_length" and length is None:
        raise ModalityError("padding='max_length' needs max_length")
    longest = max(len(ids) for ids, _ in rows)
    if padding == "max_length":
        longest = max(longest, length or 0)
    elif padding in (False, "do_not_pad") and any(len(ids) < longest for ids, _ in rows):
        raise ModalityError("rows have several lengths: pass padding=True")
    pad = tokenizer.pad_token_id
    pad = (tokenizer.eos_token_id or 0) if pad is None else pad

    def filled(row: list[int], value: int) -> list[int]:
        more = [value] * (longest - len(row))
        return [*more, *row] if tokenizer.padding_side == "left" else [*row, *more]

    found = {
        "input_ids": torch.tensor([filled(ids, pad) for ids, _ in rows]),
        "attention_mask": torch.tensor([filled([1] * len(ids), 0) for ids, _ in rows]),
    }
    return found | ({"labels": torch.tensor([filled(labels, LEFT_OUT) for _, labels in rows])} if labelled else {})


def take_apart(row: list[int], spaces: Mapping[str, CodeSpace], tokenizer: Any, skip_special_tokens: bool) -> Parts:
    """Take a row of ids apart.

    Args:
        row: its ids.
        spaces: the modalities.
        tokenizer: of the text.
        skip_special_tokens: as for its `decode`.

    Returns:
        The text, and the codes in it; a document that was cut off is left out.
    """
    starts = {space.start: space for space in spaces.values()}
    kept: list[int] = []
    codes: dict[str, list[Tensor]] = {name: [] for name in spaces}
    at = 0
    while at < len(row):
        space = starts.get(row[at])
        if space is None:
            if not any(row[at] in each or row[at] in each.markers for each in spaces.values()):
                kept.append(row[at])
            at += 1
            continue
        end = row.index(space.end, at) if space.end in row[at:] else len(row)
        inside = row[at + 1 : end]
        found = _codes(space, inside) if end < len(row) else None
        if found is not None:
            codes[space.name].append(found)
        if found is not None or (end < len(row) and set(inside) == {space.placeholder}):  # latents, or codes to come
            kept.append(space.placeholder)
        at = end + 1
    return Parts(tokenizer.decode(kept, skip_special_tokens=skip_special_tokens), codes)


def _codes(space: CodeSpace, ids: list[int]) -> Tensor | None:
    try:
        return space.to_codes(ids)
    except VocabularyError:
        return None
