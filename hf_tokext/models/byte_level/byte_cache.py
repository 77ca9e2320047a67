"""What generation keeps between bytes."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from transformers import Cache

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.models.byte_level.covers import Covers


class ByteCache(Cache):
    """The covers of each row of a batch; keys and values of their tokens lie in the model's `TokenForest`.

    Attributes:
        texts: the covers of B rows, none before the first events.
        length: columns read so far, padding included.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.texts: list[Covers] = []
        self.length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns read so far.

        Args:
            layer_idx: taken for compatibility.

        Returns:
            Their number.
        """
        return self.length

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """No bound: the base's context counts tokens, not bytes.

        Args:
            layer_idx: taken for compatibility.

        Returns:
            -1.
        """
        return -1

    def __deepcopy__(self, memo: dict[int, Any]) -> "ByteCache":
        """Copy the texts: what stands before them is shared, as the model keeps it by its identity."""
        found = ByteCache()
        found.texts, found.length = [text.fork() for text in self.texts], self.length
        return found

    def _select(self, index: Callable[[int], list[int]]) -> None:
        self.texts = [self.texts[i].fork() for i in index(len(self.texts))]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Put rows in another order; a row may come several times.

        Args:
            beam_idx: [B] the row that comes to each place.
        """
        self._select(lambda count: beam_idx.tolist())

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row.

        Args:
            repeats: how often.
        """
        self._select(lambda count: [i for i in range(count) for _ in range(repeats)])

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows.

        Args:
            indices: [n] their places, or [B] bool.
        """
        self._select(lambda count: torch.arange(count, device=indices.device)[indices].tolist())

    def reset(self) -> None:
        """Forget everything."""
        self.texts, self.length = [], 0

    def crop(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: what a byte has narrowed down is not widened again.

        Args:
            *args: as upstream.
            **kwargs: as upstream.

        Raises:
            UnsupportedModelError: always.
        """
        raise UnsupportedModelError("a ByteCache is not cropped: begin with a new one and the text up to there")

    @property
    def is_compileable(self) -> bool:
        """Covers are Python objects."""
        return False


class EnsembleCache(ByteCache):
    """One cache for each member of an ensemble; `texts` stays empty.

    Args:
        members: how many there are.

    Attributes:
        parts: their caches.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.parts = [ByteCache() for _ in range(members)]

    def __deepcopy__(self, memo: dict[int, Any]) -> "EnsembleCache":
        """Copy the members' caches, in their own way."""
        found = EnsembleCache(0)
        found.parts, found.length = [deepcopy(part, memo) for part in self.parts], self.length
        return found

    def _select(self, index: Callable[[int], list[int]]) -> None:
        for part in self.parts:
            part._select(index)

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        for part in self.parts:
            part.reset()
