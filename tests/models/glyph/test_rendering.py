"""A picture for every id, and vectors whose angles are those of the pictures."""

import numpy as np
import pytest

from hf_tokext.errors import FontError
from hf_tokext.models.glyph.fonts import Font
from hf_tokext.models.glyph.rendering import glyph_vectors, render_glyphs

COMMA = ["..", "..", "..", "..", "..", ".#", ".#", "#."]


def drawn(table, number):
    return ["".join(".#"[int(bit)] for bit in row) for row in table.bits[number].reshape(table.size, table.size)]


def test_every_id_has_a_picture_and_what_is_missing_is_counted(glyphs):
    assert glyphs.bits.shape == (65540, 64) and glyphs.size == 8 and glyphs.font == "tiny.bdf"
    assert glyphs.missing == 65536 - 4
    assert glyphs.distinct == 65540 - 1  # Latin and Greek capital A look alike in this font
    assert drawn(glyphs, 65)[0] == "...#...."


def test_missing_characters_show_their_bits(glyphs):
    assert drawn(glyphs, 0) == ["########", *["#......#"] * 6, "########"]
    # 1111 / 0000 / 0010 / 1101, each square one or two pixels wide
    frame = "########"
    rows = ["########", "########", "#......#", "#...##.#", "#...##.#", "####..##"]
    assert drawn(glyphs, 0xF02D) == [frame, *rows, frame]


def test_markers_are_drawn_as_they_are_spelt(bdf):
    table = render_glyphs(bdf, ["A", "AA", "A,", "<s>", ""])
    a = [row[1:] + "." for row in drawn(table, 65)]  # its first inked column moves to the left edge
    assert drawn(table, 65536) == a
    # twelve columns in eight: 0, 1-2, 3, 4-5, 6, 7-8, 9, 10-11; of the top row columns 2 and 8 have ink
    assert drawn(table, 65537)[0] == ".#...#.."
    assert drawn(table, 65538) == [a_row[:6] + c_row for a_row, c_row in zip(a, COMMA, strict=True)]
    # this font has no "<": marker 3 by its number, 0000 / 0000 / 0000 / 0011, white on black turned round
    assert drawn(table, 65539) == ["........", *[".######."] * 5, ".###....", "........"]
    assert not table.bits[65540].any()


def test_vectors_keep_the_angles_of_the_pictures():
    bits = np.random.default_rng(0).random((300, 20)) < 0.4
    centred = bits - bits.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for dimension in (20, 33):
        vectors = glyph_vectors(bits, dimension)
        assert vectors.shape == (300, dimension) and vectors.dtype == np.float32
        np.testing.assert_allclose(vectors @ vectors.T, centred @ centred.T, atol=1e-5)
    assert not glyph_vectors(bits, 33)[:, 20:].any()


def test_fewer_dimensions_keep_the_components_of_most_variance():
    bits = np.random.default_rng(1).random((400, 12)) < np.linspace(0.02, 0.5, 12)
    centred = bits - bits.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:3].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = glyph_vectors(bits, 3)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)
    assert np.array_equal(found, glyph_vectors(bits, 3))


def test_too_small_a_font_is_refused():
    with pytest.raises(FontError, match="5 pixels a side; at least 6"):
        render_glyphs(Font("small", 5, {65: np.ones((5, 5), dtype=bool)}))
