"""Lone surrogates through Rust, which knows none: a stand-in goes in for each, and its ids are mended after."""

from collections.abc import Callable
from typing import Any

from transformers.tokenization_utils_base import BatchEncoding


def encode_with_surrogates(
    encode: Callable[..., BatchEncoding],
    text: Any,
    text_pair: Any,
    stand_in: str,
    mend: Callable[[int, str], int],
    return_tensors: Any,
    **options: Any,
) -> BatchEncoding:
    """Encode with a Rust tokenizer, whatever the texts hold.

    Args:
        encode: `TokenizersBackend._encode_plus`.
        text: a text, words, or a batch of texts, words, or pairs of either.
        text_pair: the same, or None.
        stand_in: a character of as many ids as a lone surrogate has.
        mend: says what an id of the stand-in becomes, from the id and the surrogate.
        return_tensors: as for `encode`.
        **options: further options of `encode`.

    Returns:
        What `encode` returns, the ids of lone surrogates in place; `tokens()` shows the stand-in's.
    """
    if not (holds_surrogate(text) or holds_surrogate(text_pair)):
        return encode(text=text, text_pair=text_pair, return_tensors=return_tensors, **options)
    words = bool(options.get("is_split_into_words"))
    single = isinstance(text, str) or (words and not isinstance(text[0], list | tuple))
    texts: Any
    pairs: Any
    texts, pairs = ([text], [text_pair] if text_pair else None) if single else (text, text_pair)
    batch = {"text": _replaced(texts, stand_in), "text_pair": _replaced(pairs, stand_in)}
    found = encode(**batch, return_tensors=None, **options)
    samples: Any = found.get("overflow_to_sample_mapping", range(len(texts)))
    for ids, encoding, sample in zip(found["input_ids"], found.encodings or (), samples, strict=True):
        for at, (sequence, word, (start, _)) in enumerate(
            zip(encoding.sequence_ids, encoding.word_ids, encoding.offsets, strict=True)
        ):
            if sequence is None:
                continue
            source = _sequences(texts[sample], pairs[sample] if pairs else None, words)[sequence]
            character = (source[word] if words else source)[start : start + 1]
            if is_surrogate(character):
                ids[at] = mend(ids[at], character)
    flat = single and return_tensors is None and "overflow_to_sample_mapping" not in found
    data = {name: column[0] if flat else column for name, column in found.items()}
    return BatchEncoding(data, found.encodings, tensor_type=return_tensors)


def is_surrogate(character: str) -> bool:
    """Say whether a character is half of a UTF-16 pair."""
    return "\ud800" <= character <= "\udfff"


def holds_surrogate(text: Any) -> bool:
    """Say whether a text, or any text of a nested list, holds a surrogate; None holds none."""
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError:
            return True
        return False
    return any(holds_surrogate(part) for part in text or ())


def _replaced(text: Any, stand_in: str) -> Any:
    if isinstance(text, str):
        return "".join(stand_in if is_surrogate(character) else character for character in text)
    return None if text is None else [_replaced(part, stand_in) for part in text]


def _sequences(sample: Any, pair: Any, words: bool) -> tuple[Any, Any]:
    """Give both sequences of a sample, each a text or words; a batch may hold them as pairs."""
    alone = isinstance(sample, str) or (words and all(isinstance(part, str) for part in sample))
    first, second = (sample, pair) if alone else sample
    return first, second
