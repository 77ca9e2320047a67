"""A new tokenizer from the user's text, with the pipeline of an existing one."""

from collections.abc import Iterator, Sequence

from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.vocabulary.pieces import read_vocabulary

CHUNK = 10_000


def train_tokenizer(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], vocab_size: int
) -> PreTrainedTokenizerBase:
    """Train a tokenizer of the same kind, normalizer, pre-tokenizer and special tokens on other text.

    Args:
        tokenizer: the tokenizer whose pipeline is kept.
        texts: the text to learn from.
        vocab_size: number of ids wanted, special tokens included; text may be too small to reach it.

    Returns:
        The new tokenizer.

    Raises:
        TextError: there is no text.
        VocabularyError: `vocab_size` is too small for the special tokens and the alphabet.
    """
    if not any(text.strip() for text in texts):
        raise TextError("the text to train a tokenizer on is empty; pass files with the text of your domain")
    vocabulary = read_vocabulary(tokenizer)
    byte_level = vocabulary.kind == "byte_level"
    least = len(vocabulary.special) + 256 * byte_level
    if vocab_size <= least:
        raise VocabularyError(
            f"a vocabulary of {vocab_size} is too small: special tokens and alphabet alone are {least} ids"
        )

    def chunks() -> Iterator[str]:
        for text in texts:
            for start in range(0, len(text), CHUNK):
                yield text[start : start + CHUNK]

    # without the whole alphabet, bytes that the text lacks would vanish from later text without a word
    alphabet = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()} if byte_level else {}
    return tokenizer.train_new_from_iterator(chunks(), vocab_size, show_progress=False, **alphabet)
