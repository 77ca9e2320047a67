"""What a tokenizer returns, with the slow part made only when it is asked for."""

from collections.abc import Callable
from typing import Any

from transformers.tokenization_utils_base import BatchEncoding


class LazyEncoding(BatchEncoding):
    """A BatchEncoding whose Rust encodings (tokens, offsets, words) are made on first use.

    Args:
        data: columns by name.
        make: gives the same as an ordinary BatchEncoding.
    """

    def __init__(self, data: dict[str, Any], make: Callable[[], BatchEncoding]) -> None:
        self._made: Any = None
        self._make: Callable[[], BatchEncoding] | None = make
        super().__init__(data, n_sequences=1)

    @property
    def _encodings(self) -> Any:
        if self._made is None and self._make is not None:
            self._made, self._make = self._make()._encodings, None
        return self._made

    @_encodings.setter
    def _encodings(self, value: Any) -> None:
        if value is not None:
            self._made, self._make = value, None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._made, self._make, self._n_sequences = None, None, 1
        super().__setstate__(state)
