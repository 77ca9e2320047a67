"""Which ids of a language model's vocabulary belong to a domain or a modality."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_tokext.errors import CheckpointError, VocabularyError

SPACES_KEY = "tokext_spaces"  # in tokenizer_config.json


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


class Spaces(Mapping[str, Space]):
    """The spaces of a vocabulary, by name, in the order of their ids.

    Args:
        spaces: which they are.

    Raises:
        VocabularyError: two of them have one name, or share ids.
    """

    def __init__(self, spaces: Sequence[Space] = ()) -> None:
        ordered = sorted(spaces, key=lambda space: space.base)
        self._spaces = {space.name: space for space in ordered}
        if len(self._spaces) < len(ordered):
            raise VocabularyError(f"two spaces have one name: {[space.name for space in ordered]}")
        for before, after in zip(ordered, ordered[1:], strict=False):
            if after.base < before.base + before.size:
                raise VocabularyError(f"spaces {before.name!r} and {after.name!r} share ids from {after.base} on")

    def __getitem__(self, name: str) -> Space:
        """A space by its name."""
        if name not in self._spaces:
            raise KeyError(f"no space {name!r}; there are: {', '.join(self._spaces) or 'none'}")
        return self._spaces[name]

    def __iter__(self) -> Iterator[str]:
        """Names."""
        return iter(self._spaces)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._spaces)

    def of(self, index: int) -> Space | None:
        """The space that an id belongs to.

        Args:
            index: the id.

        Returns:
            The space, or None.
        """
        return next((space for space in self._spaces.values() if index in space), None)

    def write(self, tokenizer: Any) -> None:
        """Have a tokenizer keep them: they are saved with it, and pushed with it.

        Args:
            tokenizer: a transformers tokenizer.
        """
        entries = [vars(space) | {"settings": dict(space.settings)} for space in self._spaces.values()]
        tokenizer.init_kwargs[SPACES_KEY] = entries

    @classmethod
    def read(cls, tokenizer: Any) -> "Spaces":
        """Read what a tokenizer keeps.

        Args:
            tokenizer: a transformers tokenizer.

        Returns:
            Its spaces, none where it was not extended.

        Raises:
            CheckpointError: what it keeps is damaged.
        """
        entries = tokenizer.init_kwargs.get(SPACES_KEY, [])
        try:
            return cls([Space(**entry) for entry in entries])
        except (TypeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{SPACES_KEY} of the tokenizer is damaged ({error}); extend the model anew"
            ) from error
