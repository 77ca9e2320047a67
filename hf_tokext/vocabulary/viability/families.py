"""Which class knows the viable sequences of a tokenizer, by its kind of model."""

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.viability.base import Viability


def viability_of(vocabulary: Vocabulary) -> Viability:
    """Make the viability of a vocabulary.

    Args:
        vocabulary: the vocabulary.

    Returns:
        Its viability.

    Raises:
        UnsupportedModelError: viable sequences are not known for this tokenizer.
    """
    kind = vocabulary.spec["model"].get("type")
    if kind == "BPE":
        from hf_tokext.vocabulary.viability.bpe import BpeViability

        return BpeViability(vocabulary)
    if kind == "Unigram":
        from hf_tokext.vocabulary.viability.unigram import UnigramViability

        return UnigramViability(vocabulary)
    if kind == "WordPiece":
        from hf_tokext.vocabulary.viability.wordpiece import WordPieceViability

        return WordPieceViability(vocabulary)
    raise UnsupportedModelError(
        f"viable sequences are known for BPE, Unigram and WordPiece tokenizers, and this one is {kind}; "
        'measure="all_strings" needs none'
    )
