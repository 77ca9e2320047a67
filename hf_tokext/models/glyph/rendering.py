"""A picture for every id, and a vector for every picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hf_tokext.errors import FontError
from hf_tokext.models.glyph.fonts import Font, read_font
from hf_tokext.models.glyph.ids import CHARACTERS

SMALLEST = 6  # side that the picture of a missing character needs
_ROWS = 8192  # pictures held as numbers at a time


class GlyphTable(NamedTuple):
    """Pictures of all ids.

    Attributes:
        bits: [N, S * S] bool, row by row from the top left, True is ink; N is 65,536 and the special tokens.
        size: side S in pixels.
        missing: code points that the font lacks, surrogates among them; they have a pattern of their own.
        distinct: different pictures; characters that look alike share one, and a model cannot tell them apart.
        font: file name.
    """

    bits: np.ndarray
    size: int
    missing: int
    distinct: int
    font: str


def render_glyphs(font: str | Path | Font, special_tokens: Sequence[str] = (), size: int = 32) -> GlyphTable:
    """Draw every code point of the BMP, then the special tokens as they are spelt, where the font can spell them.

    Args:
        font: a file as for `read_font`, or what it gives.
        special_tokens: texts of the ids from 65,536 on.
        size: side in pixels of the pictures of an outline font.

    Returns:
        The pictures.

    Raises:
        FontError: the font cannot be read, or is smaller than 6 pixels.
        MissingExtraError: an outline font, and Pillow is not installed.
    """
    found = font if isinstance(font, Font) else read_font(font, size)
    side = found.size
    if side < SMALLEST:
        raise FontError(f"{found.name} has {side} pixels a side; at least {SMALLEST} are needed")
    bits = np.zeros((CHARACTERS + len(special_tokens), side * side), dtype=bool)
    missing = [code for code in range(CHARACTERS) if code not in found.pictures]
    bits[missing] = _patterns(np.array(missing, dtype=np.int64), side)
    for code, picture in found.pictures.items():
        bits[code] = picture.reshape(-1)
    for place, text in enumerate(special_tokens):
        if all(ord(character) in found.pictures for character in text):
            cells = [found.pictures[ord(character)] for character in text]
            bits[CHARACTERS + place] = _side_by_side(cells, side).reshape(-1)
        else:  # black on white, so that it is no character's
            bits[CHARACTERS + place] = ~_patterns(np.array([place]), side)[0]
    distinct = len(np.unique(np.packbits(bits, axis=1), axis=0))
    return GlyphTable(bits, side, len(missing), distinct, found.name)


def glyph_vectors(bits: np.ndarray, dimension: int) -> np.ndarray:
    """Project pictures to vectors: principal components of all pictures, then length 1.

    Args:
        bits: [N, P] bool.
        dimension: D.

    Returns:
        [N, D] float32, rows of length 1. Where D is below P the components of least variance are left out; where it is
        above, zeros follow, so that angles are those of the pictures.

    Source: Emergent Semantics Beyond Token Embeddings (arXiv 2507.04886): bits, PCA, L2. There pictures are 32 x 32, read
    in polar order, which PCA does not see, and those of easy scripts are rotated and blurred at random, which is left
    out: here a font gives the same vectors every time.
    """
    count, pixels = bits.shape
    mean = bits.mean(axis=0, dtype=np.float64)
    products = np.zeros((pixels, pixels))
    for start in range(0, count, _ROWS):
        part = bits[start : start + _ROWS].astype(np.float32)
        products += part.T @ part  # counts below 2^24: exact
    _, directions = np.linalg.eigh(products / count - np.outer(mean, mean))
    kept = directions[:, ::-1][:, :dimension]
    signs = np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    kept = (kept * signs).astype(np.float32)  # eigenvectors have no sign of their own
    vectors = np.zeros((count, dimension), dtype=np.float32)
    for start in range(0, count, _ROWS):
        part = bits[start : start + _ROWS].astype(np.float32) - mean.astype(np.float32)
        vectors[start : start + _ROWS, : kept.shape[1]] = part @ kept
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def _patterns(codes: np.ndarray, side: int) -> np.ndarray:
    """Draw what a font lacks: the 16 bits of the code point as 4 x 4 squares in a frame, no two alike."""
    squares = (codes[:, None] >> np.arange(15, -1, -1) & 1).astype(bool).reshape(-1, 4, 4)
    inner = np.arange(side - 2) * 4 // (side - 2)
    pictures = np.ones((len(codes), side, side), dtype=bool)
    pictures[:, 1:-1, 1:-1] = squares[:, inner][:, :, inner]
    return pictures.reshape(len(codes), side * side)


def _side_by_side(cells: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Draw several pictures in one: their inked columns with one free between them, made as narrow as needed."""
    columns = [np.zeros((side, 0), dtype=bool)]
    for cell in cells:
        inked = np.flatnonzero(cell.any(axis=0))
        if inked.size:
            columns += [cell[:, inked[0] : inked[-1] + 1], np.zeros((side, 1), dtype=bool)]
    row = np.concatenate(columns, axis=1)
    if row.shape[1] <= side:
        return np.pad(row, ((0, 0), (0, side - row.shape[1])))
    return np.logical_or.reduceat(row, np.arange(side) * row.shape[1] // side, axis=1)
