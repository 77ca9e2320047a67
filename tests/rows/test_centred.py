import pytest
import torch

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import RowProblem, make_rows


def problem(base, spellings):
    return RowProblem(
        base=base,
        wanted=torch.arange(len(spellings)),
        anchors=torch.zeros((0, 2), dtype=torch.int64),
        pieces=[b"x"] * len(spellings),
        spellings=spellings,
    )


def test_what_all_rows_share_is_left_out_by_hand():
    """Rows lie around (1, 1, 1); they vary most along the first axis, then along the second."""
    base = torch.tensor([[9.0, 2, 1], [9, 0, 1], [-7, 2, 1], [-7, 0, 1]])
    given = problem(base, [(0,), (0, 1), (2, 1), ()])
    assert torch.allclose(
        make_rows("centred", given).values, torch.tensor([[1.0, 2, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]])
    )
    assert torch.allclose(make_rows("centred", given, directions=2).values, torch.ones(4, 3))
    plain = make_rows("compose", given).values
    assert torch.allclose(make_rows("centred", given, directions=0).values, plain)
    assert torch.allclose(make_rows("centred", problem(base, [(1,)]), directions=9).values, torch.ones(1, 3), atol=1e-6)


def test_large_tables_are_sampled_evenly():
    base = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 1, 1, 1])
    made = make_rows("centred", problem(base, [(7,), (8, 9)])).values
    assert torch.allclose(made[:, 0], base[:, 0].mean().expand(2), atol=0.3)
    assert torch.allclose(made[0, 1:], base[7, 1:], atol=0.3)


def test_a_number_of_directions_below_zero_is_refused():
    with pytest.raises(RowMethodError, match="directions"):
        make_rows("centred", problem(torch.ones(3, 2), [(1,)]), directions=-1)
