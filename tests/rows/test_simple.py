import numpy as np
import pytest
import torch

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import RowProblem, Rows, make_rows, register_row_method


def problem(side="tied", donor=None, anchors=0, wanted=3):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(40, 6, generator=generator)
    pairs = torch.stack([torch.arange(anchors), torch.arange(anchors)], 1) if anchors else torch.empty(0, 2).long()
    spellings = [(1, 2), (), (3, 4, 5)][:wanted]
    return RowProblem(
        base=base, wanted=torch.arange(anchors, anchors + wanted), anchors=pairs, pieces=[b"x"] * wanted,
        spellings=spellings, side=side, donor=donor,
    )  # fmt: skip


def test_mean_and_zero():
    given = problem()
    assert torch.allclose(make_rows("mean", given).values, given.base.mean(0).expand(3, 6))
    assert not make_rows("zero", given).values.any()


def test_normal_has_the_covariance_of_the_base():
    base = torch.randn(500, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 10.0, 0.0])
    many = RowProblem(
        base=base, wanted=torch.arange(20_000), anchors=torch.empty(0, 2).long(), pieces=[b""] * 20_000,
        spellings=[()] * 20_000,
    )  # fmt: skip
    rows = make_rows("normal", many).values.double()
    spread = (rows - base.mean(0).double()).pow(2).mean(0).sqrt()
    expected = (1e-9 * base.double().var(0, correction=0)).sqrt()
    assert torch.allclose(spread[:2], expected[:2], rtol=0.05, atol=2e-7)
    assert torch.equal(make_rows("normal", many).values, rows.float())


def test_compose_weighs_input_and_output_separately():
    given = problem("output")
    plain = make_rows("compose", given).values
    assert torch.allclose(plain[0], given.base[[1, 2]].mean(0)) and torch.allclose(plain[1], given.base.mean(0))
    front = make_rows("compose", given, output_decay=0.5).values[2]
    assert torch.allclose(front, (4 * given.base[3] + 2 * given.base[4] + given.base[5]) / 7, atol=1e-6)
    back = make_rows("compose", problem("input"), input_decay=0.5).values[2]
    assert torch.allclose(back, (given.base[3] + 2 * given.base[4] + 4 * given.base[5]) / 7, atol=1e-6)
    with pytest.raises(RowMethodError, match="positive"):
        make_rows("compose", given, output_decay=0)


def test_ridge_recovers_a_linear_map():
    base = problem().base
    donor = torch.from_numpy(np.linalg.pinv(np.random.default_rng(0).normal(size=(6, 6)))).float()
    mapped = (base - 0.5) @ donor
    rows = make_rows("ridge", problem(donor=mapped, anchors=30), strength=1e-9)
    assert torch.allclose(rows.values, base[30:33], atol=1e-3)
    assert float(rows.residual.max()) < 1e-3
    with pytest.raises(RowMethodError, match="anchors"):
        make_rows("ridge", problem(donor=mapped, anchors=3))


def test_registry_refuses_clashes_missing_needs_and_bad_rows():
    @register_row_method("test-own")
    def own(problem, scale=2.0):
        return Rows(problem.base[problem.wanted] * scale)

    assert register_row_method("test-own")(own) is own
    given = problem()
    assert torch.equal(make_rows("test-own", given, scale=3.0).values, given.base[:3] * 3)
    with pytest.raises(RowMethodError, match="already"):
        register_row_method("test-own")(lambda problem: Rows(problem.base))
    with pytest.raises(RowMethodError, match="unknown row method"):
        make_rows("no such", given)
    with pytest.raises(RowMethodError, match="needs donor"):
        make_rows("ridge", given)
    register_row_method("test-wrong-shape")(lambda problem: Rows(problem.base))
    with pytest.raises(RowMethodError, match="expected"):
        make_rows("test-wrong-shape", given)
