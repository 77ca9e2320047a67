"""Bits per byte of models over bytes, in the figures that `hf_tokext.measure` gives of models over tokens."""

from collections.abc import Iterator, Sequence

from hf_tokext.errors import TextError
from hf_tokext.measure import BitsPerByte
from hf_tokext.models.byte_level.byte_model import ByteModel
from hf_tokext.models.byte_level.score import score_bytes

WIDEST = 4  # bytes of a character


def bits_of_bytes(model: ByteModel, texts: Sequence[str], window: int = 512) -> BitsPerByte:
    """Measure how many bits a model over bytes needs for a byte of the texts.

    Args:
        model: a `ByteLevelForCausalLM` or `ByteEnsembleForCausalLM`.
        texts: what to score, each on its own, cut into windows that do not overlap.
        window: bytes in a window at most, the opening marker included; characters are not cut.

    Returns:
        The figures; every byte counts as a token.

    Raises:
        TextError: no text, an empty text, a window without room for a character, or one longer than the base's context.
    """
    if not texts or "" in texts:
        raise TextError("there is no text to measure, or an empty one; leave it out")
    if window <= WIDEST:
        raise TextError(f"a window of {window} has no room for the opening marker and a character; give at least 5")
    pieces = [piece for text in texts for piece in _windows(text.encode(), window - 1)]
    bits = [score.bits_per_byte * score.bytes for score in score_bytes(model, pieces, per_byte=False)]
    size = sum(map(len, pieces))
    return BitsPerByte(bits_per_byte=sum(bits) / size, tokens=size, bytes=size)


def _windows(data: bytes, size: int) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        stop = min(start + size, len(data))
        while stop < len(data) and data[stop] & 0xC0 == 0x80:  # in the middle of a character
            stop -= 1
        yield data[start:stop]
        start = stop
