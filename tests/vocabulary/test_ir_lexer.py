import time

import pytest

from hf_tokext.vocabulary.ir_lexer import lexemes


def test_blanks_and_comments_are_those_of_llvm():
    text = 'a;b "\r\n/* c ; " */d\0\t"; /*" e ; f'
    assert lexemes(text) == ["a", "d", '"; /*"', "e"]
    assert lexemes("; only a comment\n \n") == lexemes("") == []


@pytest.mark.parametrize("text", ["1.", "-1", ".", "-", "$", "/*", "/*/", '"', '%"', "!\\", " ", "; ", "/* */", "1.1 "])
def test_no_input_takes_long(text):
    many = text * 100_000
    started = time.process_time()
    lexemes(many)
    assert time.process_time() - started < 5  # where it was quadratic, minutes
