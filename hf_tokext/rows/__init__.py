"""How a new embedding row is made: one strategy a file, in a registry that a user can add to."""

from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import RowMethod, make_rows, register_row_method, row_method, row_methods

__all__ = ["RowMethod", "RowProblem", "Rows", "make_rows", "register_row_method", "row_method", "row_methods"]
