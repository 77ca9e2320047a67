"""Font files as bitmaps: GNU Unifont's .hex, BDF, and whatever Pillow draws (TrueType, OpenType)."""

import gzip
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hf_tokext.errors import FontError, MissingExtraError
from hf_tokext.models.glyph.ids import CHARACTERS

_OUTLINES = (b"\x00\x01\x00\x00", b"OTTO", b"true", b"ttcf")
_NEVER_A_CHARACTER = "\uffff"  # what a font draws for it, it draws for everything it lacks


class Font(NamedTuple):
    """Pictures of characters.

    Attributes:
        name: file name.
        size: side S of a picture in pixels.
        pictures: [S, S] bool by code point of the BMP, True is ink; row 0 is the top.
    """

    name: str
    size: int
    pictures: dict[int, np.ndarray]


def read_font(path: str | Path, size: int = 32) -> Font:
    """Read a font file, gzip-compressed or not; its kind is told by its content.

    Args:
        path: a .hex or BDF file, or an outline font, which needs Pillow.
        size: side in pixels of the pictures of an outline font; a bitmap font has its own.

    Returns:
        The pictures of all characters of the BMP that the font has.

    Raises:
        FontError: the file is missing, of no known kind, damaged, or has no character of the BMP.
        MissingExtraError: an outline font, and Pillow is not installed.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError) as error:
        raise FontError(f"{path} cannot be read: {error}") from error
    if data.startswith(_OUTLINES):
        side, pictures = size, _outlines(path.name, data, size)
    else:
        lines = [line.strip() for line in data.decode("latin-1").splitlines()]
        try:
            side, pictures = _bdf(lines) if data.startswith(b"STARTFONT") else _hex(lines)
        except (ValueError, IndexError, StopIteration) as error:
            raise FontError(f"{path} is no .hex, BDF, TrueType or OpenType font, or is damaged: {error}") from error
    if not pictures:
        raise FontError(f"{path} has no character of the BMP; name another font")
    return Font(path.name, side, pictures)


def _bits(rows: list[str], width: int) -> np.ndarray:
    """Rows of hexadecimal digits as [height, width] bool."""
    data = np.array([list(bytes.fromhex(row)) for row in rows], dtype=np.uint8).reshape(len(rows), -1)
    bits = np.unpackbits(data, axis=1).astype(bool)
    if bits.shape[1] < width:
        raise ValueError(f"a row has {bits.shape[1]} bits instead of {width}")
    return bits[:, :width]


def _hex(lines: list[str]) -> tuple[int, dict[int, np.ndarray]]:
    """Lines of code point, colon and 16 rows of one or two bytes, as GNU Unifont's manual describes them."""
    pictures = {}
    for line in lines:
        if not line or line.startswith("#"):
            continue
        code, rows = line.split(":")
        if int(code, 16) >= CHARACTERS:
            continue
        if len(rows) not in (32, 64):
            raise ValueError(f"{code} has {len(rows)} digits instead of 32 or 64")
        step = len(rows) // 16
        picture = np.zeros((16, 16), dtype=bool)
        picture[:, : 4 * step] = _bits([rows[at : at + step] for at in range(0, len(rows), step)], 4 * step)
        pictures[int(code, 16)] = picture
    return 16, pictures


def _bdf(lines: list[str]) -> tuple[int, dict[int, np.ndarray]]:
    """Adobe's Glyph Bitmap Distribution Format 2.1; pictures lie in the font's bounding box, at its top left."""
    along: Iterator[str] = iter(lines)
    side, left, top, pictures = 0, 0, 0, {}
    code, box = -1, (0, 0, 0, 0)
    for line in along:
        word, _, rest = line.partition(" ")
        if word == "FONTBOUNDINGBOX":
            width, height, left, below = map(int, rest.split()[:4])
            side, top = max(width, height), height + below
        elif word == "ENCODING":
            code = int(rest.split()[0])
        elif word == "BBX":
            width, height, x, y = map(int, rest.split()[:4])
            box = (width, height, x, y)
        elif word == "BITMAP":
            width, height, x, y = box
            rows = [next(along) for _ in range(height)]
            if 0 <= code < CHARACTERS:
                picture = np.zeros((side, side), dtype=bool)
                if width and height:
                    _place(picture, _bits(rows, width), top - y - height, x - left)
                pictures[code] = picture
    if not side:
        raise ValueError("it has no FONTBOUNDINGBOX")
    return side, pictures


def _place(picture: np.ndarray, part: np.ndarray, row: int, column: int) -> None:
    """Draw a part into a picture; what lies outside is cut off."""
    above, before = max(-row, 0), max(-column, 0)
    inside = part[above : max(picture.shape[0] - row, 0), before : max(picture.shape[1] - column, 0)]
    row, column = max(row, 0), max(column, 0)
    picture[row : row + inside.shape[0], column : column + inside.shape[1]] |= inside


def _outlines(name: str, data: bytes, size: int) -> dict[int, np.ndarray]:
    """Pictures of an outline font whose ascent and descent fill the side."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MissingExtraError("Pillow", "vision", f"drawing the outline font {name}") from error
    try:
        tall = sum(ImageFont.truetype(io.BytesIO(data), size).getmetrics())
        # the other engine shapes text, and fails on lone controls
        plain = ImageFont.Layout.BASIC
        font = ImageFont.truetype(io.BytesIO(data), max(size * size // max(tall, 1), 1), layout_engine=plain)
    except OSError as error:
        raise FontError(f"{name} is damaged: {error}") from error

    def draw(character: str) -> np.ndarray:
        image = Image.new("L", (size, size))
        ImageDraw.Draw(image).text((0, 0), character, font=font, fill=255)
        return np.asarray(image) >= 128

    absent = draw(_NEVER_A_CHARACTER)
    pictures = {}
    for code in range(CHARACTERS):
        if 0xD800 <= code < 0xE000:
            continue
        picture = draw(chr(code))
        if not np.array_equal(picture, absent) or unicodedata.category(chr(code)) == "Zs":
            pictures[code] = picture
    return pictures
