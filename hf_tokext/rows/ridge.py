"""`ridge`: a linear map from the donor's space to the base's, fitted on the anchors."""

import torch
from torch import Tensor

from hf_tokext.errors import RowMethodError
from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
HELD_OUT = 10


@register_row_method("ridge", needs=("donor",))
def ridge(problem: RowProblem, *, strength: float | None = None) -> Rows:
    """Map donor rows linearly into the base's space (ridge regression with intercept, normal equations in float64).

    Args:
        problem: the base's matrix [ids, D], the donor's [new ids, E], A anchors and M wanted ids.
        strength: ridge term relative to the mean variance of the donor's rows; None chooses the one of the least
            error on every tenth anchor, held out.

    Returns:
        Rows [M, D]; the residual of every id is the relative error on the held-out anchors, NaN-free and equal for all.

    Raises:
        RowMethodError: there are fewer than ten anchors, or the strength is negative.
    """
    if strength is not None and not strength >= 0:
        raise RowMethodError(
            f"the strength of ridge must be at least 0, not {strength}; leave it out to have it chosen"
        )
    if len(problem.anchors) < HELD_OUT or problem.donor is None:
        raise RowMethodError(f"ridge needs at least {HELD_OUT} anchors, not {len(problem.anchors)}; use compose")
    donor = problem.donor[problem.anchors[:, 0]].double()
    rows = problem.base[problem.anchors[:, 1]].double()
    held = torch.arange(len(donor)) % HELD_OUT == 0
    errors = {
        lam: _error(*_fit(donor[~held], rows[~held], lam), donor[held], rows[held])
        for lam in (STRENGTHS if strength is None else (strength,))
    }
    best = min(errors, key=lambda lam: errors[lam])
    weights, intercept = _fit(donor, rows, best)
    values = problem.donor[problem.wanted].double() @ weights + intercept
    return Rows(values.float(), torch.full((len(values),), errors[best]))


def _fit(x: Tensor, y: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    centre, mean = x.mean(0), y.mean(0)
    x = x - centre
    gram = x.T @ x
    # donor rows that do not vary explain nothing: then any positive term gives the mean
    scale = gram.diagonal().mean().clamp(min=1e-12)
    gram += strength * scale * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram, x.T @ (y - mean))
    return weights, mean - centre @ weights


def _error(weights: Tensor, intercept: Tensor, x: Tensor, y: Tensor) -> float:
    return float((x @ weights + intercept - y).norm() / (y - y.mean(0)).norm().clamp(min=1e-12))
