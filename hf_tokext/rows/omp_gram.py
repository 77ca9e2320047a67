"""The Gram matrix of a dictionary in column tiles, and the search for the best atom in it.

A step of Batch-OMP adds, for every target, `t` scattered Gram rows of N floats: row by row that is bound by memory.
Here the Gram matrix lies in tiles of 64 columns, [tiles, N, 64], and a tile (5 MB at N = 20,000) stays in cache while
every target of a block uses it, so main memory is read once a step for the whole block.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 64
"""Columns in a tile: 32 to 128 measured alike, narrower and wider ones slower."""
_BLOCK = 2048

Search = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def gram_bytes(atoms: int) -> int:
    """Bytes that the Gram matrix of `atoms` atoms takes, with the work space of its making."""
    return 4 * (-(-atoms // WIDTH) * WIDTH) * atoms + 3 * 4 * _BLOCK * _BLOCK


class TiledGram:
    """Gram matrix of a dictionary, float32, in column tiles.

    Attributes:
        atoms: number of atoms N.
        tiles: [tiles, N, 64]; columns past N are zero.
    """

    def __init__(self, dictionary: Tensor) -> None:
        """Compute the matrix; blocks below the diagonal are transposed copies, so the cost is N^2 D flops."""
        self.atoms = len(dictionary)
        count = -(-self.atoms // WIDTH)
        self.tiles = torch.empty(count, self.atoms, WIDTH, dtype=torch.float32, device=dictionary.device)
        for i in range(0, self.atoms, _BLOCK):
            left = dictionary[i : i + _BLOCK]
            for j in range(i, self.atoms, _BLOCK):
                block = left @ dictionary[j : j + _BLOCK].T
                _store(self.tiles, block, i, j)
                if j > i:
                    _store(self.tiles, block.T.contiguous(), j, i)

    def entries(self, atoms: Tensor, support: Tensor) -> Tensor:
        """Look up G[atoms, support].

        Args:
            atoms: one atom a target, [B], int64.
            support: atoms of every target, [B, t], int64.

        Returns:
            The entries, [B, t], float32.
        """
        return self.tiles[(atoms // WIDTH).unsqueeze(1), support, (atoms % WIDTH).unsqueeze(1)]

    def correlations(self, dictionary: Tensor, targets: Tensor) -> Tensor:
        """Inner products of targets and atoms, laid out as the tiles are.

        Args:
            dictionary: [N, D], float32.
            targets: [B, D], float32.

        Returns:
            The products, [tiles, B, 64], float32; zero in the columns past N.
        """
        out = torch.empty(len(self.tiles), len(targets), WIDTH, dtype=torch.float32, device=targets.device)
        for j in range(0, self.atoms, _BLOCK):
            _store(out, targets @ dictionary[j : j + _BLOCK].T, 0, j)
        return out


def _store(tiles: Tensor, block: Tensor, row: int, column: int) -> None:
    rows, columns = block.shape
    first, full, rest = column // WIDTH, columns // WIDTH, columns % WIDTH
    if full:
        view = block[:, : full * WIDTH].unflatten(1, (full, WIDTH)).transpose(0, 1)
        tiles[first : first + full, row : row + rows] = view
    if rest:
        tiles[first + full, row : row + rows, :rest] = block[:, full * WIDTH :]
        tiles[first + full, row : row + rows, rest:] = 0


def search(tiles: Tensor, start: Tensor, support: Tensor, gamma: Tensor) -> Tensor:
    """Find the atom with the largest |start - gamma G[support]| for every target; the lowest index where equal.

    Args:
        tiles: Gram matrix, [tiles, N, 64], float32.
        start: correlations with the targets themselves, [tiles, B, 64], float32.
        support: atoms chosen so far, [B, t], int32.
        gamma: their coefficients, [B, t], float32.

    Returns:
        The atoms, [B], int64. An atom of the support can come back where nothing else correlates.
    """
    count, atoms, _ = tiles.shape
    batch, size = support.shape
    offsets = torch.arange(0, batch * size, max(size, 1), dtype=torch.int32, device=support.device)[:batch]
    flat, weights = support.reshape(-1), gamma.neg().reshape(-1)
    peaks = torch.empty(count, batch, dtype=torch.float32, device=tiles.device)
    for index in range(count):
        values = start[index]
        if size:
            values = F.embedding_bag(flat, tiles[index], offsets, mode="sum", per_sample_weights=weights).add_(values)
        torch.linalg.vector_norm(values, ord=float("inf"), dim=1, out=peaks[index])
    best = peaks.argmax(0)
    values = start[best, torch.arange(batch, device=best.device)]
    if size:  # the winning tile once more, now for the place in it
        moved = (support + best.unsqueeze(1) * atoms).reshape(-1)
        table = tiles.view(count * atoms, WIDTH)
        values = values + F.embedding_bag(moved, table, offsets.long(), mode="sum", per_sample_weights=weights)
    return best * WIDTH + values.abs().argmax(1)
