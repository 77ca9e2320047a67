"""Word vectors of pieces, trained on text that the new tokenizer cut up."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from hf_tokext.errors import MissingExtraError, TextError

SHORTEST, LONGEST = 3, 6  # characters in an n-gram, fastText's own
BUCKETS = 1 << 18  # fastText's two million rows would take 800 MB at 100 dimensions


def train_word_vectors(
    token_sequences: Iterable[Sequence[bytes]], *, dim: int = 100, epochs: int = 3, seed: int = 0
) -> Callable[[Sequence[bytes]], Tensor]:
    """Train fastText vectors of pieces (Bojanowski et al. 2017, arXiv 1607.04606; what FOCUS measures nearness with).

    Args:
        token_sequences: texts as the pieces of their tokens.
        dim: length W of a vector.
        epochs: passes over the texts.
        seed: of the initial vectors and the sampling; one worker, so that the same seed gives the same vectors.

    Returns:
        A function from N pieces to unit vectors [N, W], float32. A piece that the texts lack gets the mean of those of
        its n-grams that they have, or zero where they have none.

    Raises:
        MissingExtraError: gensim is not installed.
        TextError: there is no token.
    """
    try:
        from gensim.models import FastText
        from gensim.models.fasttext import compute_ngrams, ft_hash_bytes
    except ImportError as error:
        raise MissingExtraError("gensim", "words", "training word vectors") from error
    # latin-1 gives every byte one character, so that no piece is lost or met twice
    texts = [[piece.decode("latin-1") for piece in sequence] for sequence in token_sequences]
    texts = [text for text in texts if text]
    if not texts:
        raise TextError("word vectors need text, but no token was given")
    vectors = FastText(
        texts, vector_size=dim, epochs=epochs, seed=seed, workers=1, min_count=1, sg=1,
        min_n=SHORTEST, max_n=LONGEST, bucket=BUCKETS,
    ).wv  # fmt: skip
    # buckets of n-grams that never occurred hold random numbers, which would look like neighbours
    met = {gram for word in vectors.key_to_index for gram in compute_ngrams(word, SHORTEST, LONGEST)}

    def vector(piece: bytes) -> Tensor:
        word = piece.decode("latin-1")
        if word in vectors.key_to_index:
            return torch.from_numpy(vectors[word].copy())
        grams = [gram for gram in compute_ngrams(word, SHORTEST, LONGEST) if gram in met]
        if not grams:
            return torch.zeros(dim)
        rows = [ft_hash_bytes(gram.encode("utf-8")) % BUCKETS for gram in grams]
        return torch.from_numpy(vectors.vectors_ngrams[rows]).mean(0)

    def word_vectors(pieces: Sequence[bytes]) -> Tensor:
        if not pieces:
            return torch.zeros(0, dim)
        return torch.nn.functional.normalize(torch.stack([vector(piece) for piece in pieces]).float(), dim=1)

    return word_vectors
