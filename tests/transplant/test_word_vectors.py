import pytest
import torch

from hf_tokext.errors import MissingExtraError, RowMethodError
from hf_tokext.rows import words as house
from hf_tokext.rows.registry import BUILT_IN, row_method
from hf_tokext.transplant.word_vectors import LINE, word_vectors_for
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.tokenizers import TEXT, byte_level

TOKENIZER = byte_level(300)
PIECES = [b" the", b" cat", b" hill"]


@pytest.fixture
def lines(monkeypatch):
    """What the word vectors would be trained on, with the seed."""
    given = []
    monkeypatch.setattr(house, "train_word_vectors", lambda lines, *, seed: given.append((lines, seed)) or "vectors")
    return given


def test_only_methods_that_need_them_get_word_vectors(lines):
    for name in BUILT_IN:
        found = word_vectors_for(name, TOKENIZER, [TEXT], 0)
        assert found == ("vectors" if "word_vectors" in row_method(name).needs else None)
    assert len(lines) == 1


@pytest.mark.parametrize("texts", [None, []])
def test_without_text_there_is_nothing_to_learn_from(texts):
    with pytest.raises(RowMethodError, match="learns word vectors from your text; pass texts"):
        word_vectors_for("neighbours", TOKENIZER, texts, 0)
    assert word_vectors_for("compose", TOKENIZER, texts, 0) is None


def test_every_line_is_cut_by_the_new_tokenizer_into_pieces(lines):
    word_vectors_for("neighbours", TOKENIZER, ["the cat\n\n  \nsat é", "a" * (LINE + 50)], 7)
    ((found, seed),) = lines
    assert seed == 7
    assert [b"".join(pieces) for pieces in found] == [b"the cat", "sat é".encode(), b"a" * LINE]
    known = {read_vocabulary(TOKENIZER).piece(i) for i in range(len(TOKENIZER))}
    assert all(piece in known for pieces in found for piece in pieces)
    assert found[0] == [read_vocabulary(TOKENIZER).piece(i) for i in TOKENIZER.encode("the cat")]


def test_the_vectors_are_of_unit_length_and_the_seeds():
    first, again, other = (word_vectors_for("neighbours", TOKENIZER, [TEXT], seed)(PIECES) for seed in (1, 1, 2))
    assert torch.allclose(first.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_without_gensim_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gensim.models", None)
    with pytest.raises(MissingExtraError, match=r"hf-tokext\[words\]"):
        word_vectors_for("neighbours", TOKENIZER, [TEXT], 0)
