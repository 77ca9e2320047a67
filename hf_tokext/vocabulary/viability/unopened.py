"""A tokenizer's rules without the space that some put before every text."""

from typing import Any

from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.spelling import _without_prefix_space


def without_prefix_space(vocabulary: Vocabulary) -> dict[str, Any]:
    """Copy the normalizer and the pre-tokenizer, less what puts a space before a text.

    Args:
        vocabulary: the vocabulary.

    Returns:
        The two sections as in tokenizer.json.
    """
    return _without_prefix_space({key: vocabulary.spec.get(key) for key in ("normalizer", "pre_tokenizer")})
