"""`normal`: new rows drawn as transformers draws them when it resizes embeddings."""

import torch

from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method

SPREAD = 1e-9


@register_row_method("normal")
def normal(problem: RowProblem) -> Rows:
    """Draw rows from N(mean, 1e-9 covariance) of the base's rows (`resize_token_embeddings(mean_resizing=True)`).

    Args:
        problem: the matrix, [ids, D], M wanted ids and the seed.

    Returns:
        Rows [M, D]; the mean itself along directions in which the base does not vary.
    """
    base = problem.base.double()
    centre = base.mean(0)
    covariance = (base - centre).T @ (base - centre) / len(base)
    # the eigenvalue form needs no positive definite covariance, where a Cholesky factor does
    values, vectors = torch.linalg.eigh(covariance)
    scale = (SPREAD * values.clamp(min=0)).sqrt()
    generator = torch.Generator().manual_seed(problem.seed)
    noise = torch.randn(len(problem.wanted), len(scale), generator=generator, dtype=torch.float64)
    return Rows((centre + noise * scale @ vectors.T).float())
