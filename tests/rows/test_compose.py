import pytest
import torch

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import RowProblem, make_rows


def problem(side, spellings):
    return RowProblem(
        base=torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), wanted=torch.arange(len(spellings)),
        anchors=torch.empty(0, 2).long(), pieces=[b"x"] * len(spellings), spellings=spellings, side=side,
    )  # fmt: skip


@pytest.mark.parametrize("side", ["input", "output", "tied"])
def test_the_plain_mean_is_the_default(side):
    given = problem(side, [(3,), (1, 2, 2), ()])
    rows = make_rows("compose", given).values
    expected = torch.stack([given.base[3], given.base[[1, 2, 2]].mean(0), given.base.mean(0)])
    assert torch.allclose(rows, expected, atol=1e-6)


@pytest.mark.parametrize(("side", "shares"), [("input", (1, 2, 4)), ("tied", (1, 2, 4)), ("output", (4, 2, 1))])
def test_each_side_has_its_own_decay(side, shares):
    given = problem(side, [(5, 6, 7)])
    expected = sum(share * given.base[piece] for share, piece in zip(shares, (5, 6, 7), strict=True)) / 7
    own, other = ("output_decay", "input_decay") if side == "output" else ("input_decay", "output_decay")
    assert torch.allclose(make_rows("compose", given, **{own: 0.5}).values[0], expected, atol=1e-6)
    plain = make_rows("compose", given, **{other: 0.5}).values[0]
    assert torch.allclose(plain, given.base[5:8].mean(0), atol=1e-6)


def test_no_wanted_ids_and_bad_decays():
    assert make_rows("compose", problem("input", [])).values.shape == (0, 4)
    for option in ({"input_decay": 0.0}, {"output_decay": -1.0}):
        with pytest.raises(RowMethodError, match="positive"):
            make_rows("compose", problem("input", [(1,)]), **option)


def test_long_spellings_stay_finite():
    for side in ("input", "output"):
        rows = make_rows("compose", problem(side, [tuple([1, 2] * 150)]), input_decay=0.5, output_decay=0.5)
        assert rows.values.isfinite().all()
