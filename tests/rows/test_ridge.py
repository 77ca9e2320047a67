import pytest
import torch

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import RowProblem, make_rows


def problem(count=60, wide=5, tall=7, noise=0.0, anchors=50):
    """Base rows are an exact affine image of the donor's, plus noise on the anchors."""
    draw = torch.Generator().manual_seed(0)
    donor = torch.randn(count, wide, generator=draw, dtype=torch.float64) + 3
    truth = donor @ torch.randn(wide, tall, generator=draw, dtype=torch.float64) - 2
    base = truth + noise * torch.randn(count, tall, generator=draw, dtype=torch.float64)
    pairs = torch.arange(anchors).repeat(2, 1).T
    wanted = torch.arange(50, count)
    posed = RowProblem(
        base=base.float(), wanted=wanted, anchors=pairs, pieces=[b"x"] * len(wanted), spellings=[()] * len(wanted),
        donor=donor.float(),
    )  # fmt: skip
    return posed, truth[wanted].float()


def test_an_exact_affine_map_is_recovered():
    posed, truth = problem()
    rows = make_rows("ridge", posed, strength=1e-10)
    assert torch.allclose(rows.values, truth, atol=1e-4)
    assert float(rows.residual.max()) < 1e-5


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_it_is_the_ridge_solution(strength):
    """Oracle: least squares on the data extended by sqrt(penalty) rows, the intercept unpenalised."""
    posed, _ = problem(noise=0.5)
    x, y = posed.donor[:50].double(), posed.base[:50].double()
    inner = x - x.mean(0)
    penalty = strength * len(x) * inner.var(0, correction=0).mean()
    tall = torch.cat([inner, penalty.sqrt() * torch.eye(5, dtype=torch.float64)])
    weights = torch.linalg.lstsq(tall, torch.cat([y - y.mean(0), torch.zeros(5, 7, dtype=torch.float64)])).solution
    expected = (posed.donor[50:].double() - x.mean(0)) @ weights + y.mean(0)
    assert torch.allclose(make_rows("ridge", posed, strength=strength).values, expected.float(), atol=1e-4)


def test_strength_is_chosen_by_the_held_out_anchors():
    from hf_tokext.rows.ridge import STRENGTHS

    for noise, wide in ((0.0, 5), (4.0, 40)):
        posed, _ = problem(noise=noise, wide=wide)
        tried = [make_rows("ridge", posed, strength=strength) for strength in STRENGTHS]
        chosen = make_rows("ridge", posed)
        best = min(tried, key=lambda rows: float(rows.residual[0]))
        assert torch.equal(chosen.values, best.values) and torch.equal(chosen.residual, best.residual)


def test_too_few_anchors_are_refused():
    for anchors in (0, 3):
        with pytest.raises(RowMethodError, match="anchors"):
            make_rows("ridge", problem(anchors=anchors)[0])


def test_a_donor_that_does_not_vary_gives_the_anchors_mean():
    posed, _ = problem()
    posed.donor.fill_(1.0)
    assert torch.allclose(make_rows("ridge", posed).values, posed.base[:50].mean(0).expand(10, 7), atol=1e-4)


def test_an_anchor_past_the_donors_rows_is_refused():
    posed, _ = problem()
    with pytest.raises(RowMethodError, match="anchor 60 has no row"):
        RowProblem(
            base=posed.base, wanted=posed.wanted, anchors=torch.tensor([[60, 0]]), pieces=posed.pieces,
            spellings=posed.spellings, donor=posed.donor,
        )  # fmt: skip


@pytest.mark.parametrize("strength", [-1.0, float("nan")])
def test_a_strength_that_is_no_penalty_is_refused(strength):
    with pytest.raises(RowMethodError, match="at least 0"):
        make_rows("ridge", problem()[0], strength=strength)
