"""`mean`: every new row is the mean of the base's rows."""

from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method


@register_row_method("mean")
def mean(problem: RowProblem) -> Rows:
    """Give every wanted id the mean row (Hewitt 2021, without its noise).

    Args:
        problem: the matrix, [ids, D], and M wanted ids.

    Returns:
        Rows [M, D], all alike.
    """
    return Rows(problem.base.mean(0).repeat(len(problem.wanted), 1))
