"""Text as bytes and back, with nothing lost: lone surrogates and bytes that are no UTF-8 included."""

import re
from typing import Any

from hf_tokext.errors import TextError

ERRORS = ("replace", "escape", "strict")
# A lone surrogate as UTF-8 would spell it (RFC 3629 forbids it); these bytes can never stand in valid UTF-8.
_SURROGATE = re.compile(rb"(\xed[\xa0-\xbf][\x80-\xbf])")


def to_bytes(text: str, errors: str = "replace") -> bytes:
    """Encode any text.

    Args:
        text: any string, lone surrogates included: each becomes the three bytes that UTF-8's rule gives it.
        errors: "strict" refuses lone surrogates; all others keep them.

    Returns:
        The bytes.

    Raises:
        TextError: `errors` is "strict" and the text holds a lone surrogate.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        if errors == "strict":
            raise TextError(
                f"character {error.start} of the text is the lone surrogate U+{ord(text[error.start]):04X}, which has "
                'no UTF-8; take it out, or use errors="replace" or "escape", which keep it'
            ) from error
        return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes, errors: str = "replace") -> str:
    """Decode any bytes; whatever `to_bytes` made comes back as it was.

    Args:
        data: any bytes.
        errors: what becomes of bytes that are no UTF-8: "replace" writes U+FFFD, "escape" writes byte B as the lone
            surrogate U+DC00 + B (Python's surrogateescape), "strict" refuses them.

    Returns:
        The text.

    Raises:
        TextError: `errors` is "strict" and the bytes are no UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if errors == "strict":
            raise TextError(
                f"byte {error.start} (0x{data[error.start]:02X}) of {len(data)} is no UTF-8: {error.reason}; use "
                'errors="replace" or "escape", or take the bytes with decode_bytes'
            ) from error
    policy = "surrogateescape" if errors == "escape" else "replace"
    parts = _SURROGATE.split(data)
    return "".join(part.decode("utf-8", "surrogatepass" if index % 2 else policy) for index, part in enumerate(parts))


def refuse_surrogates(text: Any) -> None:
    """Refuse lone surrogates in a text, or in any text of a nested list.

    Args:
        text: a text, a list or tuple of texts or of further lists, or None.

    Raises:
        TextError: a text holds a lone surrogate.
    """
    if isinstance(text, str):
        to_bytes(text, "strict")
    else:
        for part in text or ():
            refuse_surrogates(part)
