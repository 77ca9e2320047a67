"""The Unicode tokenizer out of tokenizers' built-in parts, so that tokenizer.json needs no code of ours.

Every character becomes its UTF-8 bytes and merges build characters from bytes. A character beyond the BMP is to become
two ids whose border lies inside its third byte: 2 bits of it belong to the high surrogate, 4 bits to the low one. So the
normalizer puts two stand-ins for that byte, and merges build each surrogate from what is its own.
"""

from collections.abc import Sequence
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers

from hf_tokext.models.glyph.ids import CHARACTERS
from hf_tokext.vocabulary.pieces import CHARACTER_OF_BYTE

# Stand-ins occur after every character of a text has become bytes, so no text contains them.
_HIGH = [chr(0xF0000 + bits) for bits in range(4)]
_LOW = [chr(0xF0010 + bits) for bits in range(16)]


def pieces() -> dict[str, int]:
    """The spelling of every code point of the BMP in the byte alphabet, surrogates included, with its id."""
    return _tables()[0]


def spells(text: str) -> bool:
    """Say whether a text is the spelling of a character, or of a part of one, in the byte alphabet."""
    vocabulary, _, parts = _tables()
    return text in vocabulary or text in parts


def character_tokenizer(markers: Sequence[AddedToken]) -> Tokenizer:
    """Build the Rust tokenizer.

    Args:
        markers: special tokens, ids from 65,536 on.

    Returns:
        The tokenizer, without a post-processor.
    """
    core = Tokenizer(character_model([marker.content for marker in markers]))
    core.normalizer = _normalizer()
    core.decoder = _decoder()
    core.add_special_tokens(list(markers))
    return core


def character_model(added: Sequence[str]) -> models.BPE:
    """Build the model: characters, then added tokens, then the parts of characters, which no text is left with.

    Args:
        added: texts of the added tokens, in the order of their ids.

    Returns:
        The model.
    """
    vocabulary, merges, parts = _tables()
    after = [*added, *parts]
    return models.BPE(vocabulary | {text: CHARACTERS + place for place, text in enumerate(after)}, merges)


@cache
def _tables() -> tuple[dict[str, int], list[tuple[str, str]], list[str]]:
    """Pieces with ids, merges in their order, and the parts of pieces that are no pieces."""
    vocabulary: dict[str, int] = {}
    merges: list[tuple[str, str]] = []
    for code in range(CHARACTERS):
        if 0xD800 <= code < 0xDC00:  # high surrogate: the first two bytes and 2 bits of the third
            first, second, third, _ = chr(CHARACTERS + ((code - 0xD800) << 10)).encode()
            spelt = (CHARACTER_OF_BYTE[first] + CHARACTER_OF_BYTE[second], _HIGH[third >> 4 & 3])
        elif 0xDC00 <= code < 0xE000:  # low surrogate: 4 bits of the third byte and the fourth
            spelt = (_LOW[code >> 6 & 15], CHARACTER_OF_BYTE[0x80 | code & 63])
        else:
            *head, last = chr(code).encode()
            spelt = ("".join(CHARACTER_OF_BYTE[byte] for byte in head), CHARACTER_OF_BYTE[last])
        vocabulary["".join(spelt)] = code
        if spelt[0]:
            merges.append(spelt)
    heads = {head for head, _ in merges if len(head) == 2}
    parts = heads | {character for spelt in vocabulary for character in spelt}
    return vocabulary, [(head[0], head[1]) for head in sorted(heads)] + merges, sorted(parts - vocabulary.keys())


def _range(start: int, end: int, step: int = 1) -> str:
    return "[" + "".join(CHARACTER_OF_BYTE[byte] for byte in range(start, end, step)) + "]"


def _normalizer() -> normalizers.Normalizer:
    before = f"(?<={_range(0xF0, 0xF5)}{_range(0x80, 0xC0)})"
    steps: list[normalizers.Normalizer] = [normalizers.ByteLevel()]
    for bits, stand_in in enumerate(_HIGH):  # written before the third byte
        third = _range(0x80 + 16 * bits, 0x90 + 16 * bits)
        steps.append(normalizers.Replace(Regex(f"{before}(?={third})"), stand_in))
    for bits, stand_in in enumerate(_LOW):  # written for the third byte
        steps.append(normalizers.Replace(Regex(f"(?<=[{''.join(_HIGH)}]){_range(0x80 + bits, 0xC0, 16)}"), stand_in))
    return normalizers.Sequence(steps)


def _decoder() -> decoders.Decoder:
    # a space can only come from an added token; left as it is, the byte decoder would give up on the whole text
    steps: list[decoders.Decoder] = [decoders.Replace(" ", CHARACTER_OF_BYTE[0x20]), decoders.Fuse()]
    for high, left in enumerate(_HIGH):
        for low, right in enumerate(_LOW):
            steps.append(decoders.Replace(left + right, CHARACTER_OF_BYTE[0x80 | high << 4 | low]))
    return decoders.Sequence([*steps, decoders.ByteLevel()])
