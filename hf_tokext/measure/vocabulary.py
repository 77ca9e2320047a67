"""What a tokenizer does with a text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import TextError
from hf_tokext.measure.windows import count_unknown, encode


@dataclass(frozen=True)
class VocabularyUse:
    """What `vocabulary_use` found.

    Attributes:
        tokens: tokens of all texts.
        bytes: UTF-8 bytes of all texts.
        vocabulary: tokens that the tokenizer knows, added ones included.
        used: different tokens that the texts use.
        unknown: tokens that are the unknown token.
        per_text: tokens per byte of each text, in the order given.
    """

    tokens: int
    bytes: int
    vocabulary: int
    used: int
    unknown: int
    per_text: tuple[float, ...]

    @property
    def tokens_per_byte(self) -> float:
        """Tokens that a byte of the texts costs."""
        return self.tokens / self.bytes

    @property
    def never_used(self) -> int:
        """Tokens of the vocabulary that the texts never use."""
        return self.vocabulary - self.used

    @property
    def share_used(self) -> float:
        """Part of the vocabulary that the texts use, 0 to 1."""
        return self.used / self.vocabulary

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        derived = ("tokens_per_byte", "never_used", "share_used")
        return {**asdict(self), "per_text": list(self.per_text), **{name: getattr(self, name) for name in derived}}


def vocabulary_use(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> VocabularyUse:
    """Count what the tokenizer makes of the texts.

    Args:
        tokenizer: any tokenizer of transformers.
        texts: what to encode, without special tokens, each on its own.

    Returns:
        The counts.

    Raises:
        TextError: no text, or an empty one.
    """
    if isinstance(texts, str) or not texts:
        raise TextError("texts must be a sequence of at least one string")
    counts: Counter[int] = Counter()
    per_text, unknown = [], 0
    for text in texts:
        ids = encode(tokenizer, text)
        counts.update(ids)
        unknown += count_unknown(tokenizer, ids)
        per_text.append(len(ids) / len(text.encode()))
    return VocabularyUse(
        tokens=counts.total(),
        bytes=sum(len(text.encode()) for text in texts),
        vocabulary=len(tokenizer),
        used=len(counts),
        unknown=unknown,
        per_text=tuple(per_text),
    )
