import pytest
import torch

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import RowProblem, Rows, make_rows, register_row_method, row_method, row_methods
from hf_tokext.rows import registry as house
from hf_tokext.rows.registry import BUILT_IN


@pytest.fixture(autouse=True)
def own_methods_go_away(monkeypatch):
    for name in BUILT_IN:  # a module registers its method once, so it must be loaded before the table is copied
        row_method(name)
    monkeypatch.setattr(house, "_METHODS", dict(house._METHODS))


def problem(**more):
    return RowProblem(
        base=torch.arange(8.0).reshape(4, 2), wanted=torch.tensor([0, 1]), anchors=torch.empty(0, 2).long(),
        pieces=[b"a", b"b"], spellings=[(), ()], **more,
    )  # fmt: skip


def test_a_users_method_takes_options_and_is_listed():
    @register_row_method("registry-own")
    def own(problem, *, scale=1.0):
        return Rows(problem.base[problem.wanted] * scale)

    assert "registry-own" in row_methods() and set(BUILT_IN) <= set(row_methods())
    assert row_method("registry-own").function is own
    assert make_rows("registry-own", problem(), scale=2.0).values.tolist() == [[0, 2], [4, 6]]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_method_is_found(name):
    assert row_method(name).name == name


def test_a_clash_is_refused_and_the_first_stays():
    first = register_row_method("registry-clash")(lambda problem: Rows(problem.base[:2]))
    with pytest.raises(RowMethodError, match="registered already"):
        register_row_method("registry-clash")(lambda problem: Rows(problem.base[:2]))
    assert row_method("registry-clash").function is first
    assert register_row_method("registry-clash")(first) is first


def test_needs_are_known_and_met():
    with pytest.raises(RowMethodError, match="unknown things"):
        register_row_method("registry-needs", needs=("luck",))
    register_row_method("registry-needs", needs=("donor", "word_vectors"))(lambda problem: Rows(problem.base[:2]))
    with pytest.raises(RowMethodError, match="needs donor, word_vectors"):
        make_rows("registry-needs", problem())
    with pytest.raises(RowMethodError, match="needs word_vectors"):
        make_rows("registry-needs", problem(donor=torch.ones(2, 3)))
    for name, need in (("ridge", "donor"), ("neighbours", "word_vectors")):
        with pytest.raises(RowMethodError, match=f"needs {need}"):
            make_rows(name, problem())


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2,)])
def test_rows_of_wrong_shape_are_refused(shape):
    register_row_method("registry-shape")(lambda problem: Rows(torch.zeros(shape)))
    with pytest.raises(RowMethodError, match="expected"):
        make_rows("registry-shape", problem())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_that_are_not_finite_are_refused(bad):
    register_row_method("registry-bad")(lambda problem: Rows(torch.full((2, 2), bad)))
    with pytest.raises(RowMethodError, match="not finite"):
        make_rows("registry-bad", problem())


def test_an_unknown_option_names_the_known_ones():
    with pytest.raises(RowMethodError, match="'omp' has no option 'depth'; its options are k, tolerance, fast, device"):
        make_rows("omp", problem(donor=torch.ones(2, 3)), depth=3)
    with pytest.raises(RowMethodError, match="'mean' has no option 'k'; it has none"):
        make_rows("mean", problem(), k=3)


def test_an_option_of_a_wrong_type_is_named():
    with pytest.raises(RowMethodError, match="'compose' cannot work with input_decay='half'"):
        make_rows("compose", problem(), input_decay="half")


def test_a_type_error_without_options_is_the_methods_own():
    register_row_method("registry-broken")(lambda problem: len(3))
    with pytest.raises(TypeError):
        make_rows("registry-broken", problem())


def test_a_method_with_open_options_gets_them_all():
    @register_row_method("registry-open")
    def own(problem, **options):
        return Rows(problem.base[problem.wanted] * options["scale"])

    assert make_rows("registry-open", problem(), scale=2.0).values.tolist() == [[0, 2], [4, 6]]


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(RowMethodError, match="unknown row method 'nothing'.*compose"):
        make_rows("nothing", problem())
