"""Lone surrogates through Rust, which knows none: a stand-in of as many bytes goes in, the true bytes come out."""

from collections.abc import Callable
from typing import Any

from transformers.tokenization_utils_base import BatchEncoding

from hf_tokext.models.byte_level.utf8 import to_bytes

STAND_IN = "\ue042"  # three bytes, as every surrogate, and no two alike: each tells its place
_PLACE = {byte: place for place, byte in enumerate(STAND_IN.encode())}


def encode_with_surrogates(
    encode: Callable[..., BatchEncoding], text: Any, text_pair: Any, errors: str, return_tensors: Any, **options: Any
) -> BatchEncoding:
    """Encode with the Rust tokenizer, whatever the texts hold.

    Args:
        encode: `TokenizersBackend._encode_plus` of a tokenizer whose ids are bytes.
        text: a text, a batch, words, or a batch of words.
        text_pair: the same, or None.
        errors: "strict" refuses lone surrogates.
        return_tensors: as for `encode`.
        **options: further options of `encode`.

    Returns:
        What `encode` returns, the ids of lone surrogates in place; `tokens()` shows the stand-in's.

    Raises:
        TextError: `errors` is "strict" and a text holds a lone surrogate.
    """
    if not (_holds_surrogate(text, errors) or _holds_surrogate(text_pair, errors)):
        return encode(text=text, text_pair=text_pair, return_tensors=return_tensors, **options)
    words = bool(options.get("is_split_into_words"))
    single = isinstance(text, str) or (words and not isinstance(text[0], list | tuple))
    texts: Any
    pairs: Any
    texts, pairs = ([text], None if text_pair is None else [text_pair]) if single else (text, text_pair)
    found = encode(text=_replaced(texts), text_pair=_replaced(pairs), return_tensors=None, **options)
    samples: Any = found.get("overflow_to_sample_mapping", range(len(texts)))
    for ids, encoding, sample in zip(found["input_ids"], found.encodings or (), samples, strict=True):
        for at, (sequence, word, (start, _)) in enumerate(
            zip(encoding.sequence_ids, encoding.word_ids, encoding.offsets, strict=True)
        ):
            if sequence is None:
                continue
            source = (texts, pairs)[sequence][sample]
            character = (source[word] if words else source)[start : start + 1]
            if _is_surrogate(character) and ids[at] in _PLACE:
                ids[at] = to_bytes(character)[_PLACE[ids[at]]]
    flat = single and return_tensors is None and "overflow_to_sample_mapping" not in found
    data = {name: column[0] if flat else column for name, column in found.items()}
    return BatchEncoding(data, found.encodings, tensor_type=return_tensors)


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _holds_surrogate(text: Any, errors: str) -> bool:
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError:
            to_bytes(text, errors)  # refuses it where surrogates are not allowed
            return True
        return False
    found = [_holds_surrogate(part, errors) for part in text or ()]  # looks at all, so that none is let through
    return any(found)


def _replaced(text: Any) -> Any:
    if isinstance(text, str):
        return "".join(STAND_IN if _is_surrogate(character) else character for character in text)
    return None if text is None else [_replaced(part) for part in text]
