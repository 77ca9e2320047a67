"""Pictures out of font files, each against a drawing made by hand."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from hf_tokext.errors import FontError, MissingExtraError
from hf_tokext.models.glyph import fonts
from hf_tokext.models.glyph.fonts import read_font


def drawn(picture):
    return ["".join(".#"[int(bit)] for bit in row) for row in picture]


A = ["...#....", "..#.#...", ".#...#..", ".#####..", ".#...#..", ".#...#..", "........", "........"]
COMMA = ["........"] * 5 + [".#......", ".#......", "#......."]


def test_bdf_places_every_box_by_the_baseline(bdf):
    font = read_font(bdf)
    assert (font.name, font.size) == ("tiny.bdf", 8)
    assert sorted(font.pictures) == [32, 44, 65, 913]  # what lies beyond the BMP is left out
    assert drawn(font.pictures[65]) == drawn(font.pictures[913]) == A
    assert drawn(font.pictures[44]) == COMMA
    assert not font.pictures[32].any()


def test_bdf_cuts_off_what_leaves_the_cell(tmp_path):
    path = tmp_path / "wide.bdf"
    path.write_text(
        "STARTFONT 2.1\nFONTBOUNDINGBOX 6 6 0 0\n"
        "STARTCHAR a\nENCODING 97\nBBX 8 8 -1 -1\nBITMAP\n" + "FF\n" + "81\n" * 6 + "FF\nENDCHAR\n"
        "STARTCHAR b\nENCODING 98\nBBX 2 2 5 5\nBITMAP\nC0\nC0\nENDCHAR\nENDFONT\n"
    )
    pictures = read_font(path).pictures
    assert not pictures[97].any()  # only the frame has ink, and it lies outside
    assert np.argwhere(pictures[98]).tolist() == [[0, 5]]


def test_hex_narrow_and_wide_compressed_or_not(tmp_path):
    text = "0041:0000000018242442427E424242420000\n4E00:" + "0000" * 7 + "7FFE" + "0000" * 8 + "\n01F642:" + "FF" * 16
    plain, packed = tmp_path / "u.hex", tmp_path / "u.hex.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        font = read_font(path)
        assert font.size == 16 and sorted(font.pictures) == [0x41, 0x4E00]
        assert drawn(font.pictures[0x41])[4] == "...##..........."
        assert drawn(font.pictures[0x41])[9] == ".######........."
        assert np.argwhere(font.pictures[0x4E00]).tolist() == [[7, column] for column in range(1, 15)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no character of the BMP"),
        (b"hello world", "is no .hex, BDF"),
        (b"0041:00", "0041 has 2 digits"),
        (b"0041:" + b"G" * 32, "is no .hex, BDF"),
        (b"STARTFONT 2.1\nENDFONT", "no FONTBOUNDINGBOX"),
        (b"STARTFONT 2.1\nFONTBOUNDINGBOX 8 8 0 0\nENCODING 65\nBBX 8 4 0 0\nBITMAP\nFF", "is no .hex, BDF"),
        (b"STARTFONT 2.1\nFONTBOUNDINGBOX 8 8 0 0\nENCODING 65\nBBX 16 1 0 0\nBITMAP\nFF", "8 bits instead of 16"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (b"\x00\x01\x00\x00broken", "is damaged"),
    ],
)
def test_what_is_no_font_is_refused(tmp_path, content, message):
    path = tmp_path / "font"
    path.write_bytes(content)
    with pytest.raises(FontError, match=message):
        read_font(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FontError, match="nowhere.hex cannot be read"):
        read_font(tmp_path / "nowhere.hex")


def test_outlines_are_drawn_by_pillow_and_what_they_lack_is_left_out(monkeypatch):
    import matplotlib

    monkeypatch.setattr(fonts, "CHARACTERS", 0x400)  # all of it takes seconds
    font = read_font(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", 16)
    assert font.size == 16 and font.pictures[0x41].shape == (16, 16)
    ink = {character: int(font.pictures[ord(character)].sum()) for character in " .A@"}
    assert ink[" "] == 0 < ink["."] < ink["A"] < ink["@"]
    assert 0xA0 in font.pictures and 0x378 not in font.pictures  # a space is a picture; no character is U+0378
    assert np.array_equal(font.pictures[0x41], font.pictures[0x391])  # Latin and Greek capital A look alike


def test_without_pillow_the_message_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "font.ttf"
    path.write_bytes(b"\x00\x01\x00\x00")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"font.ttf needs Pillow: pip install 'hf-tokext\[vision\]'"):
        read_font(path)
