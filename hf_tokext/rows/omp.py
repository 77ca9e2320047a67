"""Row method `omp`: copy to the base's space how the donor's own new rows are made of its anchor rows."""

from hashlib import blake2b

import torch
from torch import Tensor

from hf_tokext.errors import RowMethodError
from hf_tokext.rows.batch_omp import solve_omp
from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method


@register_row_method("omp", needs=("donor",))
def omp(
    problem: RowProblem,
    *,
    k: int = 64,
    tolerance: float = 0.0,
    fast: bool | None = None,
    device: str | torch.device | None = None,
) -> Rows:
    """Make each row from at most k anchors by orthogonal matching pursuit in the donor's space.

    The donor's row of a wanted id is written as a combination of the donor's rows of the anchors; the same combination
    of the base's rows of those anchors is the new row. Goddard and Fernandes Neto, "Training-Free Tokenizer
    Transplantation via Orthogonal Matching Pursuit" (arXiv 2506.06607), section 3; solved exactly by `solve_omp`.

    Args:
        problem: base [base ids, D] and donor [new ids, D of the donor], anchors [A, 2], wanted [M].
        k: most anchors a row.
        tolerance: relative residual at which a row has enough anchors.
        fast: the compiled search: True demands it, False forbids it, None takes it where numba is installed.
        device: where to solve, or None for the donor's own device.

    Returns:
        Rows [M, D] and relative residuals of the donor's rows [M], both float32.

    Raises:
        RowMethodError: the donor lacks a row or holds one that is not finite, or an option is out of range.
        MissingExtraError: `fast` is True and numba is not installed.
    """
    donor = problem.donor
    if donor is None:
        raise RowMethodError("row method 'omp' needs the donor's matrix; choose a method that works without")
    new, base = problem.anchors.unbind(1)
    new, base = distinct(donor, new, base)
    place = donor.device if device is None else torch.device(device)
    solution = solve_omp(
        donor[new].to(place),
        donor[problem.wanted].to(place),
        k,
        tolerance=tolerance,
        max_memory=problem.max_memory,
        fast=fast,
        progress=problem.progress,
    )
    values = torch.zeros(len(problem.wanted), problem.base.shape[1])
    support, coefficients = solution.support.to(base.device), solution.coefficients.to(base.device)
    if support.numel():
        for part in torch.arange(len(values)).split(max(1, (1 << 21) // (support.shape[1] * values.shape[1]))):
            atoms = problem.base[base[support[part].clamp(min=0)]].double()  # coefficients are 0 where there is no atom
            values[part] = torch.bmm(coefficients[part].unsqueeze(1), atoms).squeeze(1).float()
    return Rows(values, solution.residual.to("cpu"))


def distinct(matrix: Tensor, ids: Tensor, partners: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out ids whose rows are bit-equal to an earlier id's, or zero; a row can be used only once in a code.

    Args:
        matrix: rows, [V, D], float32.
        ids: rows to look at, [A], int64.
        partners: what belongs to each of them, [A].

    Returns:
        The ids that stay and their partners, in the given order.
    """
    seen: set[bytes] = set()
    keep = []
    for index, row in enumerate(ids.tolist()):
        values = matrix[row] + 0.0  # -0.0 and 0.0 are the same number
        digest = blake2b(values.cpu().numpy().tobytes(), digest_size=16).digest()
        if digest not in seen and bool(values.any()):
            seen.add(digest)
            keep.append(index)
    chosen = torch.tensor(keep, dtype=torch.int64)
    return ids[chosen], partners[chosen]
