import pytest

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import registry as house
from hf_tokext.rows import row_methods
from hf_tokext.transplant.method import choose_method


def test_auto_is_a_method_that_needs_neither_donor_nor_text():
    assert choose_method("auto") == "compose"
    assert house.row_method(choose_method("auto")).needs == ()


@pytest.mark.parametrize("name", house.BUILT_IN)
def test_a_registered_name_stays(name):
    assert choose_method(name) == name


def test_a_users_own_method_stays(monkeypatch):
    monkeypatch.setitem(house._METHODS, "own", house.RowMethod("own", lambda problem: None))
    assert choose_method("own") == "own"


@pytest.mark.parametrize("name", ["", "Auto", "stb"])
def test_any_other_name_is_refused_with_the_known_ones(name):
    with pytest.raises(RowMethodError, match=f"unknown row method {name!r}; known: {', '.join(row_methods())}"):
        choose_method(name)
