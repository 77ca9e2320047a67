"""Supports and factors of a block of targets, all with equally many atoms chosen."""

import torch
from torch import Tensor


class SupportState:
    """What Batch-OMP keeps for each of B targets.

    The Cholesky factor L of the Gram matrix of the support is kept as its inverse: then a new atom needs two products
    of a matrix and a vector and no triangular solve, and the coefficients grow by one row of it a step.

    Attributes:
        support: atoms in the order they were chosen, [B, k], int64; the first `size` columns count.
        inverse: L^-1, lower triangular, [B, k, k], float64.
        gamma: least-squares coefficients on the support, [B, k], float64.
        squares: squared norm of the residual, [B], float64.
        dropped: pairs (target, atom) that are linearly dependent on the target's support, [P, 2], int64.
        size: number of atoms chosen.
    """

    def __init__(self, squares: Tensor, k: int) -> None:
        """Start with empty supports; `squares` are the squared norms of the targets, [B], float64."""
        batch, device = len(squares), squares.device
        self.support = torch.zeros(batch, k, dtype=torch.int64, device=device)
        self.inverse = torch.zeros(batch, k, k, dtype=torch.float64, device=device)
        self.gamma = torch.zeros(batch, k, dtype=torch.float64, device=device)
        self.squares = squares.clone()
        self.dropped = torch.zeros(0, 2, dtype=torch.int64, device=device)
        self.size = 0

    @staticmethod
    def bytes_per_target(k: int) -> int:
        """Bytes of state for one target, and of the copy that `keep` makes."""
        return 2 * (8 * k * k + 16 * k + 8)

    def chosen(self) -> Tensor:
        """The atoms chosen so far, [B, size]."""
        return self.support[:, : self.size]

    def coefficients(self) -> Tensor:
        """Their coefficients, [B, size]."""
        return self.gamma[:, : self.size]

    def solve(self, cross: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Express a vector in the atoms of the support by least squares.

        Args:
            cross: inner products of the vector with the support, [B, size], float64.
            rows: the targets that `cross` is about, or None for all.

        Returns:
            The coefficients (G_SS)^-1 cross, [B, size], and the squared norm of what they explain, [B].
        """
        factor = self.inverse[:, : self.size, : self.size]
        if rows is not None:
            factor = factor[rows]
        w = torch.bmm(factor, cross.unsqueeze(2)).squeeze(2)
        return torch.bmm(w.unsqueeze(1), factor).squeeze(1), w.square().sum(1)

    def append(self, atoms: Tensor, shadow: Tensor, perpendicular: Tensor, alpha: Tensor) -> None:
        """Add one atom to every support and update coefficients and residual norms.

        Args:
            atoms: the new atoms, [B], int64.
            shadow: coefficients of the new atom in the support, [B, size], as `solve` gives them.
            perpendicular: squared norm of the part of the atom outside the span of the support, [B], positive.
            alpha: inner products of the atoms and the residuals, [B], float64; 0 leaves a target as it is.
        """
        t = self.size
        distance = perpendicular.sqrt()
        row = shadow / -distance.unsqueeze(1)
        self.inverse[:, t, :t] = row
        self.inverse[:, t, t] = distance.reciprocal()
        self.support[:, t] = atoms
        z = alpha / distance
        self.gamma[:, :t].addcmul_(row, z.unsqueeze(1))
        self.gamma[:, t] = z / distance
        self.squares.sub_(z.square()).clamp_(min=0.0)
        self.size = t + 1

    def drop(self, rows: Tensor, atoms: Tensor) -> None:
        """Mark atoms as dependent on the supports of the targets `rows`."""
        self.dropped = torch.cat([self.dropped, torch.stack([rows, atoms], 1)])

    def holds(self, atoms: Tensor) -> Tensor:
        """Whether each target's atom is in its support or dropped already, [B], bool."""
        held = (self.chosen() == atoms.unsqueeze(1)).any(1)
        if len(self.dropped):
            rows, known = self.dropped.unbind(1)
            held[rows[known == atoms[rows]]] = True
        return held

    def keep(self, rows: Tensor) -> None:
        """Forget all targets but `rows`."""
        place = torch.full((len(self.squares),), -1, dtype=torch.int64, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        self.support, self.inverse = self.support[rows], self.inverse[rows]
        self.gamma, self.squares = self.gamma[rows], self.squares[rows]
        moved = torch.stack([place[self.dropped[:, 0]], self.dropped[:, 1]], 1)
        self.dropped = moved[moved[:, 0] >= 0]
