"""Text files, read strictly."""

import pytest

from hf_tokext.errors import TextError
from hf_tokext.measure import read_text, read_texts


def test_text_comes_as_it_is(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffGrüße\r\nzwei\n".encode())
    assert read_text(tmp_path / "a.txt") == "Grüße\r\nzwei\n"
    assert read_texts([tmp_path / "a.txt"] * 2) == ["Grüße\r\nzwei\n"] * 2


def test_missing_empty_and_broken_files_are_named(tmp_path):
    with pytest.raises(TextError, match=r"none\.txt.*No such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(TextError, match="directory"):
        read_text(tmp_path)
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(TextError, match=r"empty\.txt is empty"):
        read_text(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes(b"abc\xe9")
    with pytest.raises(TextError, match=r"latin\.txt is not UTF-8: byte 0xe9 at offset 3"):
        read_text(tmp_path / "latin.txt")
    with pytest.raises(TextError, match="no text file"):
        read_texts([])
