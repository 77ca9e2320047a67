"""`compose`: a new row from the base's own pieces of the same bytes."""

import torch
from torch import Tensor

from hf_tokext.errors import RowMethodError
from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method


@register_row_method("compose")
def compose(problem: RowProblem, *, input_decay: float = 1.0, output_decay: float = 1.0) -> Rows:
    """Make each row the weighted mean of the rows of its spelling (FVT; fast vocabulary transfer, Gee et al. 2022).

    Args:
        problem: the matrix and the spellings, M of them.
        input_decay: in an input or tied matrix a piece weighs this times what the piece after it weighs.
        output_decay: in a head a piece weighs this times what the piece before it weighs.

    Returns:
        Rows [M, D]; ids without a spelling get the mean row.

    Raises:
        RowMethodError: a decay is not positive.
    """
    if input_decay <= 0 or output_decay <= 0:
        raise RowMethodError("the decays of compose must be positive; 1.0 is the plain mean")
    rows = problem.base.mean(0).repeat(len(problem.wanted), 1)
    for index, spelling in enumerate(problem.spellings):
        if spelling:
            rows[index] = (
                _weights(len(spelling), problem.side, input_decay, output_decay) @ problem.base[list(spelling)]
            )
    return Rows(rows)


def _weights(count: int, side: str, input_decay: float, output_decay: float) -> Tensor:
    steps = torch.arange(count, dtype=torch.float32)
    weights = output_decay**steps if side == "output" else input_decay ** steps.flip(0)
    return weights / weights.sum()
