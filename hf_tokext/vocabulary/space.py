"""Ids of a language model's vocabulary that belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_tokext.errors import VocabularyError


@dataclass(frozen=True)
class Space:
    """Ids from `base` to `base` + `size` - 1.

    Attributes:
        name: of the domain or modality.
        base: the first id.
        size: number of ids.
        settings: what makes the domain again, as JSON has it.
    """

    name: str
    base: int
    size: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.base < 0 or self.size < 1:
            raise VocabularyError(
                f"space {self.name!r} must have ids, from 0 or higher; not {self.size} from {self.base}"
            )

    def __contains__(self, index: object) -> bool:
        """Whether an id belongs to it."""
        return isinstance(index, int) and self.base <= index < self.base + self.size

    def ids(self, indices: Sequence[int]) -> list[int]:
        """Ids of tokens.

        Args:
            indices: of tokens, 0 to `size` - 1.

        Returns:
            Their ids.

        Raises:
            VocabularyError: there is no such token.
        """
        wrong = [index for index in indices if not 0 <= index < self.size]
        if wrong:
            raise VocabularyError(f"space {self.name!r} has {self.size} tokens, and no token {wrong[0]}")
        return [self.base + index for index in indices]

    def indices(self, ids: Sequence[int]) -> list[int]:
        """Tokens of ids; ids of others are left out.

        Args:
            ids: any ids.

        Returns:
            Indices of the tokens.
        """
        return [index - self.base for index in ids if index in self]
