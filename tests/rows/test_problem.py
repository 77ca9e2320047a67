import dataclasses

import pytest
import torch

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import RowProblem, Rows

GIVEN = {
    "base": torch.zeros(4, 3),
    "wanted": torch.tensor([5, 6]),
    "anchors": torch.tensor([[0, 3], [1, 0]]),
    "pieces": [b"a", b"b"],
    "spellings": [(1, 2), ()],
    "donor": torch.zeros(7, 2),
}


def test_what_fits_together_is_taken_as_it_is():
    problem = RowProblem(**GIVEN)
    assert all(getattr(problem, name) is value for name, value in GIVEN.items())
    assert (problem.side, problem.seed, problem.max_memory) == ("tied", 0, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": "both"}, "side must be input, output or tied, not 'both'"),
        ({"base": torch.zeros(4, 3).bfloat16()}, r"float32 matrix \[ids, D\], not torch.bfloat16 \[4, 3\]"),
        ({"base": torch.zeros(4)}, r"float32 matrix \[ids, D\], not torch.float32 \[4\]"),
        ({"pieces": [b"a"]}, "2 ids are wanted but 1 pieces and 2 spellings"),
        ({"spellings": [(1,)] * 3}, "2 ids are wanted but 2 pieces and 3 spellings"),
        ({"anchors": torch.tensor([0, 3])}, r"anchors must be \[A, 2\], not \[2\]"),
        ({"anchors": torch.zeros(2, 3).long()}, r"anchors must be \[A, 2\], not \[2, 3\]"),
        ({"anchors": torch.tensor([[0, 4]])}, "past the base's matrix"),
        ({"donor": torch.zeros(6, 2)}, "new id 6 has no row among the donor's 6"),
        ({"anchors": torch.tensor([[7, 0]])}, "anchor 7 has no row among the donor's 7"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(RowMethodError, match=message):
        RowProblem(**GIVEN | change)


def test_without_a_donor_new_ids_may_be_any():
    problem = RowProblem(**GIVEN | {"donor": None, "anchors": torch.tensor([[70, 3]]), "wanted": torch.tensor([8, 9])})
    assert problem.wanted.tolist() == [8, 9]


def test_nothing_wanted_and_no_anchor_is_a_problem_too():
    empty = {"wanted": torch.empty(0).long(), "anchors": torch.empty(0, 2).long(), "pieces": [], "spellings": []}
    assert len(RowProblem(**GIVEN | empty).wanted) == 0


def test_neither_problem_nor_rows_can_be_changed():
    for frozen, name in ((RowProblem(**GIVEN), "base"), (Rows(torch.zeros(2, 3)), "values")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, name, torch.ones(1))
