"""`centred`: a new row from the base's own pieces, without the direction that all rows share."""

import torch
from torch import Tensor

from hf_tokext.errors import RowMethodError
from hf_tokext.rows.compose import compose
from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method

SAMPLE = 8_192  # rows from which the direction is found


@register_row_method("centred")
def centred(problem: RowProblem, *, directions: int = 1) -> Rows:
    """Make each row the mean of the rows of its spelling, but average along the directions in which rows vary most.

    Means of rows resemble each other along the first principal direction, which goes with how frequent tokens are; that
    share of them is left out (after "all but the top", Mu and Viswanath 2018, arXiv 1702.01417). The mean row itself is
    kept. `scripts/bench_rows.py` says what it does for known words.

    Args:
        problem: the matrix [ids, D] and the spellings, M of them.
        directions: how many principal directions are left out; 0 is `compose`.

    Returns:
        Rows [M, D]; ids without a spelling get the mean row.

    Raises:
        RowMethodError: there are fewer than 0 directions.
    """
    if directions < 0:
        raise RowMethodError(f"centred leaves out 0 directions or more, not {directions}; 1 is the usual number")
    mean = problem.base.mean(0)
    made = compose(problem).values - mean
    common = common_directions(problem.base, directions)
    return Rows(mean + made - made @ common.T @ common)


def common_directions(base: Tensor, count: int) -> Tensor:
    """Find the directions in which rows vary most.

    Args:
        base: rows, [ids, D].
        count: how many directions.

    Returns:
        [count, D], orthonormal; fewer where the rows vary in fewer.
    """
    step = -(-len(base) // SAMPLE)
    rows = (base[::step] - base.mean(0)).double()
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    kept = values > values.max() * 1e-9
    return vectors[:, kept].flip(1)[:, :count].T.to(base)
