import json

import pytest

from hf_tokext.errors import CheckpointError, VocabularyError
from hf_tokext.vocabulary.spaces import SPACES_FILE, Space, Spaces


def test_ids_and_tokens_of_a_space():
    space = Space("svg", 100, 5)
    assert space.ids([0, 4]) == [100, 104]
    assert space.indices([99, 100, 104, 105]) == [0, 4]
    assert 100 in space and 105 not in space and "svg" not in space
    with pytest.raises(VocabularyError, match="has 5 tokens, and no token 5"):
        space.ids([5])


def test_saved_and_loaded_they_are_the_same(tmp_path):
    spaces = Spaces([Space("b", 30, 3), Space("a", 10, 20, {"grid": 512, "mode": "lossless"})])
    spaces.save(tmp_path)
    found = Spaces.load(tmp_path)
    assert dict(found) == dict(spaces) and list(found) == ["a", "b"]
    assert found.of(29) == spaces["a"] and found.of(30) == spaces["b"] and found.of(33) is None


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


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"no {SPACES_FILE}: it was not extended"):
        Spaces.load(tmp_path)
    for damaged in ({}, {"spaces": [{"name": "a"}]}, {"spaces": [{"name": "a", "base": "x", "size": 1}]}):
        (tmp_path / SPACES_FILE).write_text(json.dumps(damaged))
        with pytest.raises(CheckpointError, match="is damaged"):
            Spaces.load(tmp_path)
    with pytest.raises(KeyError, match="no space 'svg'; there are: none"):
        Spaces()["svg"]
