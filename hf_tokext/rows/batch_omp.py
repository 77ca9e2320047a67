"""Orthogonal matching pursuit for many targets over one dictionary, exact and in bounded memory.

Rubinstein, Zibulevsky and Elad, "Efficient implementation of the K-SVD algorithm using Batch Orthogonal Matching
Pursuit" (2008), with the Gram matrix in cache-sized tiles; where it does not fit or does not pay, the same steps with
explicit residuals.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from hf_tokext.errors import MissingExtraError, RowMethodError
from hf_tokext.rows import omp_gram
from hf_tokext.rows.omp_exact import Vectors, exact_step, pieces, refine, square_norms
from hf_tokext.rows.omp_plan import OmpPlan, plan_omp
from hf_tokext.rows.omp_state import SupportState

_SMALL_RESIDUAL = 1e-5
_SMALL_COSINE = 1e-4
_NEARLY_DEPENDENT = 1e-4
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class OmpSolution:
    """Sparse codes of M targets.

    Attributes:
        support: atoms in the order they were chosen, -1 where a target took fewer than k, [M, k], int64.
        coefficients: float64 least squares on the support, 0 where there is no atom, [M, k], float64.
        residual: norm of the residual over that of the target, recomputed from the vectors; 0 for a zero target, [M].
        plan: how it was solved.
    """

    support: Tensor
    coefficients: Tensor
    residual: Tensor
    plan: OmpPlan


def solve_omp(
    dictionary: Tensor,
    targets: Tensor,
    k: int = 64,
    *,
    tolerance: float = 0.0,
    max_memory: int | None = None,
    fast: bool | None = None,
    gram: bool | None = None,
    progress: Progress | None = None,
) -> OmpSolution:
    """Write every target as a combination of at most k atoms, chosen greedily by |<atom, residual>|.

    Atoms are taken as they are, neither centred nor scaled; where two correlate equally the lower index is taken. An
    atom whose part outside the span of the support is below 1e-7 of its squared norm is passed over. A target ends
    early when its residual is at `tolerance` or is rounding (5e-7), or when no atom is left that correlates with it.

    Args:
        dictionary: atoms, [N, D], any floating type, worked on in float32.
        targets: [M, D], on the same device.
        k: most atoms a target.
        tolerance: relative residual at which a target has enough atoms.
        max_memory: bytes of work space, or None for 8 GiB.
        fast: True to search with the compiled kernel, False to search in torch, None for the kernel where it is
            installed and the vectors are on a CPU.
        gram: force the path with or without a Gram matrix, or None to choose by cost and memory.
        progress: called with (targets done, M).

    Returns:
        The `OmpSolution`.

    Raises:
        RowMethodError: shapes do not fit, an entry is not finite, k or tolerance is out of range, memory is too small.
        MissingExtraError: `fast` is True and numba is not installed.
    """
    _check(dictionary, targets, k, tolerance)
    search = _search(fast, dictionary.device)
    dictionary, targets = dictionary.detach().float().contiguous(), targets.detach().float()
    count, width = targets.shape
    k = min(k, len(dictionary))
    threads = torch.get_num_threads() if dictionary.device.type == "cpu" else 1
    plan = plan_omp(len(dictionary), width, count, k, max_memory, threads, gram)
    support = torch.full((count, k), -1, dtype=torch.int64, device=dictionary.device)
    coefficients = torch.zeros(count, k, dtype=torch.float64, device=dictionary.device)
    residual = torch.zeros(count, dtype=torch.float64, device=dictionary.device)
    if not count or not k:
        residual[square_norms(targets) > 0] = 1.0
        return OmpSolution(support, coefficients, residual.float(), plan)
    squares = square_norms(dictionary)
    tiled = omp_gram.TiledGram(dictionary) if plan.gram else None
    lock, done = Lock(), 0

    def work(start: int) -> None:
        nonlocal done
        here = slice(start, start + plan.block)
        block = targets[here]
        vectors = Vectors(dictionary, squares, block, square_norms(block))

        def report(finished: int) -> None:
            nonlocal done
            with lock:
                done += finished
                if progress is not None:
                    progress(done, count)

        _Block(vectors, tiled, search, plan, tolerance, report).run(support[here], coefficients[here], residual[here])

    with _one_thread_each(plan.workers) as pool:
        list(pool.map(work, range(0, count, plan.block)))
    return OmpSolution(support, coefficients, residual.float(), plan)


class _Block:
    """One block of targets on its way through the steps.

    Targets that are finished stay as idle rows until an eighth of the block is, then the block is made smaller.
    """

    def __init__(
        self,
        vectors: Vectors,
        gram: omp_gram.TiledGram | None,
        search: omp_gram.Search,
        plan: OmpPlan,
        tolerance: float,
        report: Callable[[int], None],
    ) -> None:
        self.vectors, self.gram, self.search, self.plan = vectors, gram, search, plan
        self.tolerance, self.report = tolerance, report
        self.rows = torch.arange(len(vectors.targets), device=vectors.targets.device)
        self.alive = torch.ones_like(self.rows, dtype=torch.bool)
        self.start = None if gram is None else gram.correlations(vectors.atoms, vectors.targets)

    @torch.no_grad()
    def run(self, support: Tensor, coefficients: Tensor, residual: Tensor) -> None:
        """Solve the block and write support, coefficients and relative residuals into the given rows."""
        limit = support.shape[1]
        self.out = (support, coefficients, residual)
        self.state = SupportState(self.vectors.target_squares, limit)
        while True:
            goal = self.tolerance**2 * self.vectors.target_squares
            self._finish((self.state.squares <= goal) if self.state.size < limit else self.alive)
            if not bool(self.alive.any()):
                return
            self._shrink()
            self._step()

    def _step(self) -> None:
        state, vectors = self.state, self.vectors
        batch, t = len(self.rows), state.size
        if self.gram is None or self.start is None:
            atoms = torch.zeros(batch, dtype=torch.int64, device=self.rows.device)
            shadow = torch.zeros(batch, t, dtype=torch.float64, device=self.rows.device)
            perpendicular, alpha = torch.ones_like(state.squares), torch.zeros_like(state.squares)
            doubtful = self.alive
        else:
            chosen, gamma = state.chosen(), state.coefficients()
            atoms = self.search(self.gram.tiles, self.start, chosen.to(torch.int32), gamma.float())
            cross = self.gram.entries(atoms, chosen).double()
            shadow, explained = state.solve(cross)
            perpendicular = vectors.squares[atoms] - explained
            place = torch.arange(batch, device=atoms.device)
            first = self.start[atoms // omp_gram.WIDTH, place, atoms % omp_gram.WIDTH].double()
            alpha = first - (gamma * cross).sum(1)
            # float32 products cannot decide these; the vectors themselves do.
            doubtful = state.holds(atoms) | (perpendicular <= _NEARLY_DEPENDENT * vectors.squares[atoms])
            doubtful |= state.squares <= _SMALL_RESIDUAL * vectors.target_squares
            doubtful |= alpha.square() <= _SMALL_COSINE**2 * vectors.squares[atoms] * vectors.target_squares
            doubtful &= self.alive
        ended = torch.zeros_like(self.alive)
        for part in doubtful.nonzero()[:, 0].split(self.plan.chunk) if bool(doubtful.any()) else ():
            step = exact_step(vectors, state, part, self.tolerance)
            atoms[part], shadow[part], alpha[part] = step.atoms, step.shadow, step.alpha
            perpendicular[part] = step.perpendicular
            ended[part] = step.finished
        self._finish(ended)
        idle = ~self.alive
        shadow[idle], perpendicular[idle], alpha[idle] = 0.0, 1.0, 0.0
        state.append(atoms, shadow, perpendicular, alpha)

    def _finish(self, ended: Tensor) -> None:
        rows = (ended & self.alive).nonzero()[:, 0]
        if not len(rows):
            return
        self.alive[rows] = False
        vectors, state, t = self.vectors, self.state, self.state.size
        support, coefficients, residual = self.out
        for part in pieces(rows, t, vectors.atoms.shape[1]):
            to = self.rows[part]
            whole = vectors.target_squares[part].sqrt()
            rest = refine(vectors, state, part).norm(dim=1) if t else whole
            support[to, :t], coefficients[to, :t] = state.chosen()[part], state.coefficients()[part]
            residual[to] = torch.where(whole > 0, rest / whole.clamp(min=1e-300), 0.0)
        self.report(len(rows))

    def _shrink(self) -> None:
        if 8 * int(self.alive.sum()) > 7 * len(self.alive):
            return
        keep = self.alive.nonzero()[:, 0]
        self.state.keep(keep)
        self.vectors, self.rows, self.alive = self.vectors.keep(keep), self.rows[keep], self.alive[keep]
        if self.start is not None:
            self.start = self.start[:, keep]


@contextmanager
def _one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads run torch on one core each: the steps are many and small, and teams of threads wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        with ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(max(1, before // workers),)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def _search(fast: bool | None, device: torch.device) -> omp_gram.Search:
    if fast is False or (fast is None and device.type != "cpu"):
        return omp_gram.search
    try:
        from hf_tokext.rows.batch_omp_numba import search
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        if fast:
            raise MissingExtraError("numba", "fast", "the compiled search of omp") from error
        return omp_gram.search
    if device.type != "cpu":
        raise RowMethodError(f"the compiled search runs on a CPU, but the vectors are on {device}; leave out fast=True")
    return search


def _check(dictionary: Tensor, targets: Tensor, k: int, tolerance: float) -> None:
    if dictionary.ndim != 2 or targets.ndim != 2 or dictionary.shape[1] != targets.shape[1]:
        raise RowMethodError(
            f"dictionary {list(dictionary.shape)} and targets {list(targets.shape)} must be [N, D] and [M, D]"
        )
    if k < 1:
        raise RowMethodError(f"k must be at least 1, not {k}")
    if not 0.0 <= tolerance < 1.0:
        raise RowMethodError(f"tolerance must be in [0, 1), not {tolerance}")
    for name, tensor in (("dictionary", dictionary), ("targets", targets)):
        if not tensor.is_floating_point():
            raise RowMethodError(f"{name} must be of a floating type, not {tensor.dtype}")
        bad = (~torch.isfinite(tensor).all(1)).nonzero()
        if len(bad):
            raise RowMethodError(f"row {int(bad[0])} of {name} is not finite; omp needs finite rows")
