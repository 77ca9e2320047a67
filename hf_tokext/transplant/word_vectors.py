"""Word vectors of the new pieces, learnt from the user's text."""

from collections.abc import Callable, Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import row_method
from hf_tokext.vocabulary.pieces import read_vocabulary

LINE = 1_000


def word_vectors_for(
    method: str, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str] | None, seed: int
) -> Callable[[Sequence[bytes]], Tensor] | None:
    """Train word vectors on text cut by the new tokenizer, where a row method asks for them.

    Args:
        method: name of the row method.
        tokenizer: the new tokenizer.
        texts: the user's text.
        seed: seed of the training.

    Returns:
        Function from pieces to vectors, or None where the method does not need them.

    Raises:
        RowMethodError: the method needs word vectors and there is no text.
        MissingExtraError: gensim is not installed.
    """
    if "word_vectors" not in row_method(method).needs:
        return None
    if not texts:
        raise RowMethodError(f"row method {method!r} learns word vectors from your text; pass texts (--text FILES)")
    from hf_tokext.rows.words import train_word_vectors

    vocabulary = read_vocabulary(tokenizer)
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    encoded = [tokenizer(line[:LINE], add_special_tokens=False)["input_ids"] for line in lines]
    return train_word_vectors([[vocabulary.piece(i) for i in ids] for ids in encoded], seed=seed)
