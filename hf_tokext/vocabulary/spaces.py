"""Which ids of a language model's vocabulary belong to a domain or a modality."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from hf_tokext.errors import CheckpointError, VocabularyError
from hf_tokext.vocabulary.code_space import CodeSpace
from hf_tokext.vocabulary.space import Space

SPACES_KEY = "tokext_spaces"  # in tokenizer_config.json


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
        markers = [(index, space.name) for space in self.codes.values() for index in space.markers]
        for index, name in markers:
            owner = self.of(index)
            if (owner is not None and owner.name != name) or [each for each, _ in markers].count(index) > 1:
                raise VocabularyError(f"the markers of {name!r} have an id that another space or marker has: {index}")

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

    @property
    def codes(self) -> dict[str, CodeSpace]:
        """Those of modalities, by name."""
        return {name: space for name, space in self._spaces.items() if isinstance(space, CodeSpace)}

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
        tokenizer.init_kwargs[SPACES_KEY] = self.to_json()

    def to_json(self) -> list[dict[str, Any]]:
        """Give them as JSON has them.

        Returns:
            What `from_json` takes.
        """
        return [
            {field.name: _plain(getattr(space, field.name)) for field in fields(space)}
            for space in self._spaces.values()
        ]

    @classmethod
    def from_json(cls, entries: Sequence[Mapping[str, Any]]) -> "Spaces":
        """Make them again.

        Args:
            entries: what `to_json` gave.

        Returns:
            The spaces.

        Raises:
            VocabularyError: they share ids, or are impossible.
            TypeError: a field is missing or unknown.
        """
        return cls([(CodeSpace if "codebooks" in entry else Space)(**entry) for entry in entries])

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
            return cls.from_json(entries)
        except (TypeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{SPACES_KEY} of the tokenizer is damaged ({error}); extend the model anew"
            ) from error


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
