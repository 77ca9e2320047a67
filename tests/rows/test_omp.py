"""The row method `omp`: the donor's combination, carried over to the base's rows."""

import pytest
import torch

from hf_tokext.errors import RowMethodError
from hf_tokext.rows import RowProblem, make_rows
from hf_tokext.rows.omp import distinct


def problem(donor, anchors, wanted, base, **more):
    count = len(wanted)
    return RowProblem(
        base=base,
        wanted=torch.tensor(wanted, dtype=torch.int64),
        anchors=torch.tensor(anchors, dtype=torch.int64).reshape(-1, 2),
        pieces=[b"x"] * count,
        spellings=[()] * count,
        donor=donor,
        **more,
    )


def tables(seed=0, new=60, width=12, base_width=7):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(new, width, generator=random), torch.randn(80, base_width, generator=random)


def test_row_is_the_same_combination_of_the_bases_rows():
    donor, base = tables()
    donor[50] = 2 * donor[4] - 0.5 * donor[9]
    anchors = [(new, (new * 7 + 3) % 80) for new in range(40)]
    rows = make_rows("omp", problem(donor, anchors, [50, 55], base), k=40)
    expected = 2 * base[31] - 0.5 * base[66]
    torch.testing.assert_close(rows.values[0], expected, rtol=0, atol=1e-4)
    assert rows.values.dtype == rows.residual.dtype == torch.float32
    assert float(rows.residual[0]) < 1e-5
    few = make_rows("omp", problem(donor, anchors, [55], base), k=3)
    assert 0 < float(few.residual[0]) < 1
    chosen = torch.tensor([new for new, _ in anchors])
    score, support = donor[55].double(), []
    for _ in range(3):
        support.append(int((donor[chosen].double() @ score).abs().argmax()))
        code = torch.linalg.lstsq(donor[support].double().T, donor[55].double().unsqueeze(1)).solution[:, 0]
        score = donor[55].double() - code @ donor[support].double()
    made = code @ base[[anchors[at][1] for at in support]].double()
    torch.testing.assert_close(few.values[0].double(), made, rtol=0, atol=1e-5)
    assert abs(float(few.residual[0]) - float(score.norm() / donor[55].double().norm())) < 1e-6


def test_equal_donor_rows_are_one_atom_and_the_first_counts():
    donor, base = tables(1)
    donor[3] = donor[2]
    donor[5] = 0.0
    donor[6] = -0.0
    ids, partners = distinct(donor, torch.tensor([3, 5, 2, 6, 8]), torch.tensor([10, 11, 12, 13, 14]))
    assert ids.tolist() == [3, 8]
    assert partners.tolist() == [10, 14]
    donor[40] = 3 * donor[2]
    rows = make_rows("omp", problem(donor, [(3, 10), (2, 12), (8, 14)], [40], base), k=3)
    torch.testing.assert_close(rows.values[0], 3 * base[10], rtol=0, atol=1e-4)


def test_zero_donor_row_no_anchor_and_nothing_wanted():
    donor, base = tables(2)
    donor[41] = 0
    rows = make_rows("omp", problem(donor, [(1, 2), (2, 3)], [41], base))
    assert not rows.values.any()
    assert float(rows.residual[0]) == 0
    rows = make_rows("omp", problem(donor, [], [40], base))
    assert not rows.values.any()
    assert float(rows.residual[0]) == 1
    assert make_rows("omp", problem(donor, [(1, 2)], [], base)).values.shape == (0, 7)


def test_options_memory_and_progress_reach_the_solver():
    donor, base = tables(3)
    seen = []
    anchors = [(new, new) for new in range(40)]
    given = problem(donor, anchors, [50, 51], base, progress=lambda at, of: seen.append((at, of)))
    loose = make_rows("omp", given, k=12, tolerance=0.6)
    assert (loose.residual <= 0.6).all()
    assert seen[-1] == (2, 2)
    with pytest.raises(RowMethodError, match="k must be"):
        make_rows("omp", given, k=0)
    with pytest.raises(RowMethodError, match="max_memory"):
        make_rows("omp", problem(donor, anchors, [50], base, max_memory=10))


def test_donor_that_is_missing_short_or_broken_is_an_error():
    donor, base = tables(4)
    with pytest.raises(RowMethodError, match="needs donor"):
        make_rows("omp", problem(None, [(1, 2)], [3], base))
    with pytest.raises(RowMethodError, match="anchor 60 has no row"):
        make_rows("omp", problem(donor, [(60, 2)], [3], base))
    donor[3, 0] = float("nan")
    with pytest.raises(RowMethodError, match="not finite"):
        make_rows("omp", problem(donor, [(1, 2)], [3], base))
