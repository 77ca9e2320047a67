import pytest
from transformers import AutoTokenizer

from hf_tokext.errors import CheckpointError, VocabularyError
from hf_tokext.vocabulary.spaces import SPACES_KEY, Space, Spaces
from tests.vocabulary.brackets import BracketTokenizer


def test_ids_and_tokens_of_a_space():
    space = Space("svg", 100, 5)
    assert space.ids([0, 4]) == [100, 104]
    assert space.indices([99, 100, 104, 105]) == [0, 4]
    assert 100 in space and 105 not in space and "svg" not in space
    with pytest.raises(VocabularyError, match="has 5 tokens, and no token 5"):
        space.ids([5])


def test_they_are_saved_with_the_tokenizer(tmp_path):
    tokenizer = BracketTokenizer()
    assert not Spaces.read(tokenizer)
    spaces = Spaces([Space("b", 30, 3), Space("a", 10, 20, {"grid": 512, "mode": "lossless"})])
    spaces.write(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    found = Spaces.read(BracketTokenizer.from_pretrained(tmp_path))
    assert dict(found) == dict(spaces) and list(found) == ["a", "b"]
    assert found.of(29) == spaces["a"] and found.of(30) == spaces["b"] and found.of(33) is None
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    assert dict(Spaces.read(BracketTokenizer.from_pretrained(tmp_path / "again"))) == dict(spaces)


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ([Space("a", 0, 5), Space("b", 4, 5)], "'a' and 'b' share ids from 4"),
        ([Space("a", 0, 5), Space("a", 5, 5)], "two spaces have one name"),
    ],
)
def test_spaces_do_not_meet(spaces, message):
    with pytest.raises(VocabularyError, match=message):
        Spaces(spaces)


@pytest.mark.parametrize(("base", "size"), [(-1, 3), (0, 0)])
def test_a_space_has_ids(base, size):
    with pytest.raises(VocabularyError, match="must have ids"):
        Space("a", base, size)


def test_what_is_damaged_is_named():
    tokenizer = BracketTokenizer()
    for damaged in ([{"name": "a"}], [{"name": "a", "base": "x", "size": 1}], 3, ["a"]):
        tokenizer.init_kwargs[SPACES_KEY] = damaged
        with pytest.raises(CheckpointError, match="is damaged"):
            Spaces.read(tokenizer)
    with pytest.raises(KeyError, match="no space 'svg'; there are: none"):
        Spaces()["svg"]
