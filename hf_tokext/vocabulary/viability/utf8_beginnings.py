"""The characters whose UTF-8 begins with given bytes."""

LEADS = ((0x00, 0x80, 1, 0), (0xC2, 0xE0, 2, 0x80), (0xE0, 0xF0, 3, 0x800), (0xF0, 0xF5, 4, 0x10000))
HIGHEST = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)


def characters(beginning: bytes) -> list[range]:
    """Find the characters whose UTF-8 begins with given bytes.

    Args:
        beginning: one to four bytes.

    Returns:
        Ranges of code points, none of them empty; no range where no character begins so.
    """
    size, lowest = next(((size, low) for first, after, size, low in LEADS if first <= beginning[0] < after), (0, 0))
    if len(beginning) > size or any(byte & 0xC0 != 0x80 for byte in beginning[1:]):
        return []
    point = beginning[0] & (0x7F if size == 1 else 0xFF >> (size + 1))
    for byte in beginning[1:]:
        point = point << 6 | byte & 0x3F
    open_bits = 6 * (size - len(beginning))
    low, high = max(lowest, point << open_bits), min(HIGHEST + 1, (point + 1) << open_bits)
    parts = (range(low, min(high, SURROGATES.start)), range(max(low, SURROGATES.stop), high))
    return [part for part in parts if part]


def size_of(lead: int) -> int:
    """Number of bytes of a character that begins with this one, 0 if none does."""
    return next((size for first, after, size, _ in LEADS if first <= lead < after), 0)
