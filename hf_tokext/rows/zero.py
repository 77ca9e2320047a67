"""`zero`: every new row is zero; a baseline."""

from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method


@register_row_method("zero")
def zero(problem: RowProblem) -> Rows:
    """Give every wanted id a zero row.

    Args:
        problem: the matrix, [ids, D], and M wanted ids.

    Returns:
        Rows [M, D] of zeros.
    """
    return Rows(problem.base.new_zeros(len(problem.wanted), problem.base.shape[1]))
