"""The steps of OMP that work on the vectors themselves, not on the Gram matrix.

They serve where no Gram matrix is kept, where rounding of the Gram matrix could decide (residuals nearly zero, atoms
nearly dependent), and for the last least squares of every target.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_tokext.rows.omp_state import SupportState

DEPENDENT = 1e-7
"""An atom whose squared norm outside the span of the support is below this share is dropped."""
NOISE = 5e-7
"""Relative residuals and cosines below this are rounding of float32 inputs: the target is finished."""
_GATHER = 1 << 24
_FINE = 1e-5


@dataclass(frozen=True, eq=False)
class Vectors:
    """A dictionary and a block of targets.

    Attributes:
        atoms: the dictionary, [N, D], float32.
        squares: squared norms of the atoms, [N], float64.
        targets: the targets, [B, D], float32.
        target_squares: squared norms of the targets, [B], float64.
    """

    atoms: Tensor
    squares: Tensor
    targets: Tensor
    target_squares: Tensor

    def keep(self, rows: Tensor) -> "Vectors":
        """The same dictionary with the targets `rows` only."""
        return Vectors(self.atoms, self.squares, self.targets[rows], self.target_squares[rows])


@dataclass(frozen=True, eq=False)
class Step:
    """The next atoms of R targets, and what is needed to append them.

    Attributes:
        atoms: [R], int64.
        shadow: coefficients of each atom in the support, [R, t], float64.
        perpendicular: squared norm of each atom outside the span of the support, [R], float64.
        alpha: inner products of atoms and residuals, [R], float64.
        finished: targets that no atom can improve, [R], bool; the other fields mean nothing there.
    """

    atoms: Tensor
    shadow: Tensor
    perpendicular: Tensor
    alpha: Tensor
    finished: Tensor


def square_norms(vectors: Tensor) -> Tensor:
    """Squared norms of the rows of [N, D], in float64, [N]."""
    parts = vectors.split(max(1, _GATHER // (8 * max(1, vectors.shape[1]))))
    return torch.cat([part.double().square_().sum(1) for part in parts])


def gathered(vectors: Tensor, support: Tensor) -> Tensor:
    """Atoms of every support in float64, [R, t, D]."""
    return vectors[support].double()


def pieces(rows: Tensor, size: int, width: int) -> tuple[Tensor, ...]:
    """Split `rows` so that the gathered atoms of a part stay near 16 MB."""
    return rows.split(max(1, _GATHER // (8 * max(1, size) * width))) if len(rows) else ()


def residuals(vectors: Vectors, state: SupportState, rows: Tensor) -> Tensor:
    """Residuals of the targets `rows` at unit length, [R, D], float32; writes their true squares into `state`."""
    support, gamma = state.chosen()[rows], state.coefficients()[rows]
    out = vectors.targets[rows]
    if state.size:
        out = out - F.embedding_bag(support, vectors.atoms, mode="sum", per_sample_weights=gamma.float())
    squares = square_norms(out)
    # What is left of a float32 difference is rounding once the residual is small: those are done again in float64.
    fine = (squares < _FINE * vectors.target_squares[rows]).nonzero()[:, 0] if state.size else rows[:0]
    for part in pieces(fine, state.size, vectors.atoms.shape[1]):
        exact = refine(vectors, state, rows[part])
        squares[part] = exact.square().sum(1)
        out[part] = (exact / exact.norm(dim=1, keepdim=True).clamp_(min=1e-300)).float()
    state.squares[rows] = squares
    length = squares.sqrt()
    length[fine] = 1.0
    return out.div_(length.clamp_(min=1e-300).to(out.dtype).clamp_(min=1e-38).unsqueeze(1))


def refine(vectors: Vectors, state: SupportState, rows: Tensor, rounds: int = 6) -> Tensor:
    """Bring coefficients to float64 least squares by iterative refinement; returns the residuals, [R, D], float64."""
    support = state.chosen()[rows]
    atoms, targets = gathered(vectors.atoms, support), vectors.targets[rows].double()
    gamma = state.coefficients()[rows]
    settled = False
    for _ in range(rounds):
        rest = targets - torch.bmm(gamma.unsqueeze(1), atoms).squeeze(1)
        change, _ = state.solve(torch.bmm(atoms, rest.unsqueeze(2)).squeeze(2), rows)
        gamma = gamma + change
        # Every round multiplies the error by about the size of the first step.
        settled = bool((change.abs().amax(1) <= 1e-6 * gamma.abs().amax(1)).all())
        if settled:
            break
    if not settled:  # too ill-conditioned for float32 factors
        gamma = torch.linalg.lstsq(atoms.mT.contiguous(), targets.unsqueeze(2)).solution.squeeze(2)
    state.gamma[rows, : state.size] = gamma
    return targets - torch.bmm(gamma.unsqueeze(1), atoms).squeeze(1)


def shadows(vectors: Vectors, state: SupportState, rows: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients of new atoms in the supports, [R, t], and the squared norms of what is outside, [R]."""
    shadow = torch.zeros(len(rows), state.size, dtype=torch.float64, device=rows.device)
    perpendicular = vectors.squares[atoms].clone()
    if not state.size:
        return shadow, perpendicular
    width = vectors.atoms.shape[1]
    for part in pieces(torch.arange(len(rows), device=rows.device), state.size, width):
        here, new = rows[part], vectors.atoms[atoms[part]]
        cross = torch.bmm(vectors.atoms[state.chosen()[here]], new.unsqueeze(2)).squeeze(2).double()
        shadow[part], explained = state.solve(cross, here)
        perpendicular[part] -= explained
    doubtful = (perpendicular < 1e-4 * vectors.squares[atoms]).nonzero()[:, 0]
    for part in pieces(doubtful, state.size, width):
        here, new = rows[part], vectors.atoms[atoms[part]].double()
        basis, coefficients = gathered(vectors.atoms, state.chosen()[here]), shadow[part]
        for _ in range(3):
            rest = new - torch.bmm(coefficients.unsqueeze(1), basis).squeeze(1)
            coefficients = coefficients + state.solve(torch.bmm(basis, rest.unsqueeze(2)).squeeze(2), here)[0]
        rest = new - torch.bmm(coefficients.unsqueeze(1), basis).squeeze(1)
        shadow[part], perpendicular[part] = coefficients, rest.square().sum(1)
    return shadow, perpendicular


def exact_step(vectors: Vectors, state: SupportState, rows: Tensor, limit: float) -> Step:
    """Choose the next atom of some targets from their explicit residuals.

    Args:
        vectors: dictionary and targets.
        state: supports so far; true squared residuals and dropped atoms are written into it.
        rows: the targets to serve, [R], int64.
        limit: relative residual at which a target is finished.

    Returns:
        One `Step` for the targets, in the order of `rows`.
    """
    device, count = rows.device, len(rows)
    unit = residuals(vectors, state, rows)
    finished = state.squares[rows] <= max(limit, NOISE) ** 2 * vectors.target_squares[rows]
    scores = (unit @ vectors.atoms.T).abs_()
    scores.scatter_(1, state.chosen()[rows], -1.0)
    if len(state.dropped):
        place = torch.full((len(state.squares),), -1, dtype=torch.int64, device=device)
        place[rows] = torch.arange(count, device=device)
        at = place[state.dropped[:, 0]]
        scores[at[at >= 0], state.dropped[at >= 0, 1]] = -1.0
    atoms = torch.zeros(count, dtype=torch.int64, device=device)
    shadow = torch.zeros(count, state.size, dtype=torch.float64, device=device)
    perpendicular = torch.ones(count, dtype=torch.float64, device=device)
    open_ = (~finished).nonzero()[:, 0]
    while len(open_):
        best, found = (scores if len(open_) == count else scores[open_]).max(1)
        stuck = best.double() <= NOISE * vectors.squares[found].sqrt()
        finished[open_[stuck]] = True
        open_, found = open_[~stuck], found[~stuck]
        shadow[open_], perpendicular[open_] = shadows(vectors, state, rows[open_], found)
        atoms[open_] = found
        bad = perpendicular[open_] < DEPENDENT * vectors.squares[found]
        open_, found = open_[bad], found[bad]
        scores[open_, found] = -1.0
        state.drop(rows[open_], found)
    alpha = (unit * vectors.atoms[atoms]).sum(1, dtype=torch.float64) * state.squares[rows].sqrt()
    return Step(atoms, shadow, perpendicular, alpha, finished)
