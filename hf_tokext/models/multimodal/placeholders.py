"""Do values and placeholders fit together?"""

from collections.abc import Sequence
from typing import Any

from hf_tokext.errors import ModalityError
from hf_tokext.vocabulary.code_space import CodeSpace


def flat_values(space: CodeSpace, given: Any, texts: Sequence[Sequence[str]]) -> list[Any]:
    """Bring the values of a modality into one list.

    Args:
        space: the modality.
        given: a value, a batch of images, a list of values, or such a list per row.
        texts: those before and, where there are any, those after, each one per row.

    Returns:
        The values of all rows.

    Raises:
        ModalityError: there are lists per row, and a row has more or fewer placeholders than values.
    """
    several = _is_list(given) or getattr(given, "ndim", 0) == 4
    listed = list(given) if several else [given]
    if not listed or not all(map(_is_list, listed)):
        return listed
    here, wanted = [len(each) for each in listed], _counts(space, texts)
    if here != wanted:
        raise ModalityError(
            f"the rows have {wanted} placeholders {space.marker_texts[2]}, and lists of {here} of {space.name!r}: give each row "
            "as many, or one list of all"
        )
    return [one for each in listed for one in each]


def check_count(space: CodeSpace, count: int, texts: Sequence[Sequence[str]]) -> None:
    """Refuse more or fewer values than placeholders.

    Args:
        space: the modality.
        count: number of values.
        texts: as for `flat_values`.

    Raises:
        ModalityError: there are others.
    """
    wanted = sum(_counts(space, texts))
    if wanted != count:
        less = "one is missing in the text" if wanted < count else "give one for each"
        raise ModalityError(
            f"the text has {wanted} placeholders {space.marker_texts[2]}, and there are {count} of {space.name!r}: {less}"
        )


def _is_list(value: Any) -> bool:
    """Whether it is a list of values; a list of numbers is one sound."""
    return isinstance(value, list | tuple) and not (value and isinstance(value[0], int | float))


def _counts(space: CodeSpace, texts: Sequence[Sequence[str]]) -> list[int]:
    """How many placeholders each row has."""
    return [sum(each.count(space.marker_texts[2]) for each in row) for row in zip(*texts, strict=True)]
