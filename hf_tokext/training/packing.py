"""Texts as windows to learn from."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import TextError
from hf_tokext.measure import leading_id, windows
from hf_tokext.measure.windows import encode


class Packed(Dataset):
    """Windows of ids, each opened by the token that opens a text; only the last may be shorter than the others."""

    def __init__(self, windows: list[list[int]]) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"input_ids": self.windows[index]}


def pack(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], window: int) -> Packed:
    """Lay texts end to end, each closed by eos where the tokenizer has one, and cut them into windows.

    Args:
        tokenizer: any tokenizer of transformers.
        texts: what to learn from.
        window: ids in a window, the opening one included.

    Returns:
        The windows; every id of the texts stands in exactly one.

    Raises:
        TextError: no text, or an empty one.
        VocabularyError: the tokenizer has no token to open a window with.
    """
    if isinstance(texts, str) or not texts:
        raise TextError("texts must be a sequence of at least one string")
    closing = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    ids = [token_id for text in texts for token_id in (*encode(tokenizer, text), *closing)]
    return Packed(windows(ids, leading_id(tokenizer), window))


def collate(features: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    """Put windows into a batch, padded on the right; padding is neither attended to nor learned.

    Args:
        features: windows, as `Packed` gives them.

    Returns:
        `input_ids`, `attention_mask` and `labels`, each [windows, longest window], int64.
    """
    rows = [feature["input_ids"] for feature in features]
    length = max(map(len, rows))
    filler = rows[0][0]
    return {
        "input_ids": torch.tensor([row + [filler] * (length - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
        "labels": torch.tensor([row + [-100] * (length - len(row)) for row in rows]),
    }
