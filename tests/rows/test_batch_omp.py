"""The solver against a brute-force float64 oracle, on every path."""

import sys

import pytest
import torch

from hf_tokext.errors import MissingExtraError, RowMethodError
from hf_tokext.rows import batch_omp, omp_gram
from hf_tokext.rows.batch_omp import solve_omp
from hf_tokext.rows.omp_gram import TiledGram
from hf_tokext.rows.omp_plan import flop_bound, plan_omp

PATHS = [(True, False), (True, True), (False, False)]


def oracle(dictionary, target, k, stop=1e-6):
    """Plain OMP for one target: support, float64 least squares, relative residual."""
    atoms, y = dictionary.double(), target.double()
    support, coefficients, rest = [], torch.zeros(0, dtype=torch.float64), y
    while len(support) < min(k, len(atoms)) and rest.norm() > stop * y.norm():
        score = (atoms @ rest).abs()
        score[support] = -1
        best = int(score.argmax())
        if score[best] <= stop * atoms[best].norm() * rest.norm():
            break
        support.append(best)
        chosen = atoms[support].T
        coefficients = torch.linalg.lstsq(chosen, y.unsqueeze(1), driver="gelsd").solution[:, 0]
        rest = y - chosen @ coefficients
    return support, coefficients, float(rest.norm() / y.norm()) if y.any() else 0.0


def problem(atoms, width, targets, seed=0, rank=None):
    random = torch.Generator().manual_seed(seed)
    inner = rank or width
    turn = torch.randn(inner, width, generator=random) / inner**0.5
    spectrum = torch.arange(1, inner + 1) ** -0.4
    rows = torch.randn(atoms + targets, inner, generator=random) * spectrum @ turn
    rows *= 0.1 * torch.rand(atoms + targets, 1, generator=random) + 0.05
    return rows[:atoms], rows[atoms:]


def assert_is_plain_omp(solution, dictionary, targets, k):
    for row, target in enumerate(targets):
        support, coefficients, residual = oracle(dictionary, target, k)
        size = len(support)
        assert solution.support[row, :size].tolist() == support
        assert (solution.support[row, size:] == -1).all()
        assert (solution.coefficients[row, size:] == 0).all()
        scale = float(coefficients.abs().max()) if size else 1.0
        torch.testing.assert_close(solution.coefficients[row, :size], coefficients, rtol=0, atol=1e-5 * scale)
        assert abs(float(solution.residual[row]) - residual) < 1e-5


@pytest.mark.parametrize(("gram", "fast"), PATHS)
@pytest.mark.parametrize(
    ("atoms", "width", "k"),
    [(300, 48, 16), (130, 16, 8), (64, 32, 5), (65, 7, 3), (1, 9, 4), (2, 5, 2)],
)
def test_selects_and_fits_as_plain_omp(gram, fast, atoms, width, k):
    dictionary, targets = problem(atoms, width, 21)
    solution = solve_omp(dictionary, targets, k, gram=gram, fast=fast)
    assert solution.plan.gram is gram
    assert_is_plain_omp(solution, dictionary, targets, min(k, atoms))


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_more_atoms_asked_than_rank_or_dictionary(gram, fast):
    dictionary, targets = problem(80, 24, 9, seed=1, rank=6)
    targets = targets + torch.randn(9, 24, generator=torch.Generator().manual_seed(5)) * 0.02  # leave the span
    solution = solve_omp(dictionary, targets, 40, gram=gram, fast=fast)
    taken = (solution.support >= 0).sum(1)
    assert (taken == 6).all()
    for row in range(9):
        chosen = dictionary[solution.support[row, :6]].double()
        expected = torch.linalg.lstsq(chosen.T, targets[row].double().unsqueeze(1)).solution[:, 0]
        scale = expected.abs().max()
        torch.testing.assert_close(solution.coefficients[row, :6] / scale, expected / scale, rtol=0, atol=1e-5)
    few, rest = problem(5, 24, 4, seed=2)
    assert_is_plain_omp(solve_omp(few, rest, 64, gram=gram, fast=fast), few, rest, 64)


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_target_inside_the_span_ends_early(gram, fast):
    dictionary = torch.nn.functional.normalize(problem(200, 40, 1, seed=3)[0])
    targets = torch.stack([dictionary[7], 2 * dictionary[3] - dictionary[90], -dictionary[199]])
    solution = solve_omp(dictionary, targets, 30, gram=gram, fast=fast)
    assert solution.support[0].tolist() == [7] + [-1] * 29
    assert solution.support[2].tolist() == [199] + [-1] * 29
    torch.testing.assert_close(solution.coefficients[[0, 2], 0], torch.tensor([1.0, -1.0]).double())
    assert solution.residual.max() < 1e-6


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_duplicates_scaled_copies_and_zero_atoms(gram, fast):
    dictionary, targets = problem(120, 20, 12, seed=4)
    dictionary = torch.cat([dictionary, dictionary[:50], -3 * dictionary[:20], torch.zeros(3, 20)])
    solution = solve_omp(dictionary, targets, 12, gram=gram, fast=fast)
    for row, target in enumerate(targets):
        support = solution.support[row]
        support = support[support >= 0]
        chosen = dictionary[support].double()
        assert torch.linalg.matrix_rank(chosen) == len(support) == 12
        expected = torch.linalg.lstsq(chosen.T, target.double().unsqueeze(1)).solution[:, 0]
        torch.testing.assert_close(
            solution.coefficients[row], expected, rtol=0, atol=1e-5 * float(expected.abs().max())
        )


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_equal_correlation_takes_the_lower_index(gram, fast):
    dictionary = torch.eye(6).repeat(30, 1)
    solution = solve_omp(dictionary, torch.tensor([[0.0, 2.0, 0.0, 0.0, -2.0, 0.5]]), 2, gram=gram, fast=fast)
    assert solution.support.tolist() == [[1, 4]]


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_nearly_dependent_atoms_keep_float64_coefficients(gram, fast):
    dictionary, targets = problem(60, 32, 10, seed=6)
    close = dictionary[:30] + 3e-3 * dictionary[30:].roll(7, 0)
    dictionary = torch.cat([dictionary, close])
    solution = solve_omp(dictionary, targets, 20, gram=gram, fast=fast)
    for row, target in enumerate(targets):
        chosen = dictionary[solution.support[row]].double()
        expected = torch.linalg.lstsq(chosen.T, target.double().unsqueeze(1)).solution[:, 0]
        torch.testing.assert_close(
            solution.coefficients[row], expected, rtol=0, atol=1e-5 * float(expected.abs().max())
        )


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_zero_and_orthogonal_targets(gram, fast):
    dictionary, targets = problem(90, 16, 4, seed=7)
    dictionary[:, 15] = 0
    targets[1] = 0
    targets[2] = torch.eye(16)[15]
    solution = solve_omp(dictionary, targets, 6, gram=gram, fast=fast)
    assert (solution.support[1:3] == -1).all()
    assert (solution.coefficients[1:3] == 0).all()
    assert solution.residual[1] == 0
    assert solution.residual[2] == 1
    assert (solution.support[[0, 3]] >= 0).all()


def test_nothing_to_do():
    dictionary, targets = problem(10, 4, 3)
    assert solve_omp(dictionary, targets[:0], 2).support.shape == (0, 2)
    empty = solve_omp(dictionary[:0], targets, 2)
    assert empty.support.shape == (3, 0)
    assert (empty.residual == 1).all()


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_tolerance_ends_each_target_on_its_own(gram, fast):
    dictionary, targets = problem(400, 32, 40, seed=8)
    whole = solve_omp(dictionary, targets, 24, gram=gram, fast=fast)
    solution = solve_omp(dictionary, targets, 24, tolerance=0.3, gram=gram, fast=fast)
    taken = (solution.support >= 0).sum(1)
    assert len(taken.unique()) > 2
    assert (solution.residual <= 0.3).all()
    for row in range(40):
        size = int(taken[row])
        assert solution.support[row, :size].tolist() == whole.support[row, :size].tolist()
        assert size == 1 or solve_omp(dictionary, targets[[row]], size - 1, gram=gram).residual[0] > 0.3


@pytest.mark.parametrize(("gram", "fast"), PATHS)
def test_blocks_and_threads_do_not_change_the_result(gram, fast, monkeypatch):
    dictionary, targets = problem(200, 24, 50, seed=9)
    whole = solve_omp(dictionary, targets, 10, gram=gram, fast=fast)
    monkeypatch.setattr(
        batch_omp, "plan_omp", lambda *a: type(whole.plan)(gram=gram, block=7, chunk=3, workers=2, memory=0)
    )
    done = []
    cut = solve_omp(dictionary, targets, 10, gram=gram, fast=fast, progress=lambda at, of: done.append((at, of)))
    assert torch.equal(cut.support, whole.support)
    torch.testing.assert_close(cut.coefficients, whole.coefficients)
    assert done[-1] == (50, 50)
    assert done == sorted(done)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_worked_on_in_float32(dtype):
    dictionary, targets = problem(100, 16, 8, seed=10)
    dictionary, targets = dictionary.to(dtype), targets.to(dtype)
    solution = solve_omp(dictionary, targets, 6)
    assert_is_plain_omp(solution, dictionary.float(), targets.float(), 6)


def test_gram_tiles_hold_the_gram_matrix(monkeypatch):
    monkeypatch.setattr(omp_gram, "_BLOCK", 128)  # several blocks, so that transposed copies are read too
    dictionary, targets = problem(333, 12, 5)
    gram = TiledGram(dictionary)
    whole = gram.tiles.transpose(0, 1).reshape(333, -1)
    torch.testing.assert_close(whole[:, :333], dictionary @ dictionary.T)
    assert (whole[:, 333:] == 0).all()
    support = torch.randint(0, 333, (5, 4), generator=torch.Generator().manual_seed(0))
    atoms = torch.tensor([0, 63, 64, 300, 332])
    assert torch.equal(gram.entries(atoms, support), whole[support, atoms.unsqueeze(1)])
    start = gram.correlations(dictionary, targets).transpose(0, 1).reshape(5, -1)
    torch.testing.assert_close(start[:, :333], targets @ dictionary.T)


@pytest.mark.parametrize("sort", [False, True])
def test_search_does_not_care_for_the_order_of_a_support(sort):
    """A sparse product needs sorted columns and silently errs without; here supports come in the order chosen."""
    numba_search = pytest.importorskip("hf_tokext.rows.batch_omp_numba", reason="numba is optional").search
    dictionary, targets = problem(200, 24, 6, seed=11)
    gram = TiledGram(dictionary)
    start = gram.correlations(dictionary, targets)
    random = torch.Generator().manual_seed(1)
    support = torch.stack([torch.randperm(200, generator=random)[:9] for _ in range(6)])
    support = (support.sort(1).values if sort else support.sort(1, descending=True).values).int()
    gamma = torch.randn(6, 9, generator=random)
    rest = targets - torch.einsum("bt,btd->bd", gamma, dictionary[support.long()])
    expected = (rest @ dictionary.T).abs().argmax(1)
    assert torch.equal(omp_gram.search(gram.tiles, start, support, gamma), expected)
    assert torch.equal(numba_search(gram.tiles, start, support, gamma), expected)


def test_path_follows_cost_and_memory():
    big = {"max_memory": None, "workers": 2}
    assert plan_omp(20855, 1024, 11145, 64, **big).gram
    assert not plan_omp(20855, 1024, 1000, 8, **big).gram
    assert not plan_omp(110_000, 2048, 30_000, 64, **big).gram  # 48 GB of Gram matrix
    for memory in (1 << 29, 1 << 30, 4 << 30, 16 << 30):
        plan = plan_omp(20855, 1024, 11145, 64, memory, 2)
        assert plan.memory <= memory
        assert plan.gram == (memory > 3 << 30)
    assert flop_bound(10, 4, 0, 8) == 400


def test_peak_memory_stays_within_the_plan():
    pytest.importorskip("resource", reason="peak memory is read through a POSIX call")
    import subprocess

    code = (
        "import resource, sys, torch\n"
        "from hf_tokext.rows.batch_omp import solve_omp\n"
        "torch.set_num_threads(2); g = torch.Generator().manual_seed(0)\n"
        "p, y = torch.randn(3000, 64, generator=g), torch.randn(3000, 64, generator=g)\n"
        "solve_omp(p[:300], y[:4], 2, gram=True, fast=False)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "s = solve_omp(p, y, 12, max_memory=300 << 20, gram=True, fast=False)\n"
        "unit = 1 if sys.platform == 'darwin' else 1024\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit, s.plan.block)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) <= 300 << 20
    assert int(out[1]) < 3000


def test_too_little_memory_is_said():
    dictionary, targets = problem(500, 64, 5)
    with pytest.raises(RowMethodError, match="raise it"):
        solve_omp(dictionary, targets, 8, max_memory=1000)
    with pytest.raises(RowMethodError, match="Gram matrix of 500 atoms does not fit"):
        solve_omp(dictionary, targets, 8, max_memory=1000, gram=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"tolerance": 1.0}, "tolerance must be in"),
        ({"tolerance": -0.1}, "tolerance must be in"),
        ({"targets": torch.zeros(2, 5)}, "must be"),
        ({"targets": torch.tensor([[0.0] * 4, [float("nan")] * 4])}, "row 1 of targets is not finite"),
        ({"dictionary": torch.full((3, 4), float("inf"))}, "row 0 of dictionary is not finite"),
        ({"dictionary": torch.ones(3, 4, dtype=torch.int64)}, "floating"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"dictionary": torch.eye(4), "targets": torch.ones(2, 4), "k": 2} | change
    with pytest.raises(RowMethodError, match=message):
        solve_omp(given.pop("dictionary"), given.pop("targets"), **given)


def test_missing_numba_is_an_error_only_when_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "hf_tokext.rows.batch_omp_numba", raising=False)
    dictionary, targets = problem(50, 8, 3)
    with pytest.raises(MissingExtraError, match="fast"):
        solve_omp(dictionary, targets, 3, fast=True)
    quiet = solve_omp(dictionary, targets, 3, gram=True)
    assert torch.equal(quiet.support, solve_omp(dictionary, targets, 3, gram=True, fast=False).support)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    dictionary, targets = problem(50, 8, 3)
    solve_omp(dictionary, targets, 3)
    assert torch.get_num_threads() == before
