"""Lone surrogates in a tokenizer of bytes: each is the three bytes that UTF-8's rule gives it."""

from collections.abc import Callable
from typing import Any

from transformers.tokenization_utils_base import BatchEncoding

from hf_tokext.models.blocks import surrogates
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
    if errors == "strict":
        _refuse(text)
        _refuse(text_pair)
    return surrogates.encode_with_surrogates(encode, text, text_pair, STAND_IN, _mended, return_tensors, **options)


def _mended(number: int, surrogate: str) -> int:
    return to_bytes(surrogate)[_PLACE[number]] if number in _PLACE else number


def _refuse(text: Any) -> None:
    if isinstance(text, str):
        to_bytes(text, "strict")
    else:
        for part in text or ():
            _refuse(part)
