"""The search for the best atom as a compiled kernel: products, largest value and its place in one pass over a tile."""

import numba
import numpy as np
import torch
from torch import Tensor

from hf_tokext.rows.omp_gram import WIDTH

_UNROLL = 8


@numba.njit(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy", nogil=True)
def _kernel(
    tiles: np.ndarray, start: np.ndarray, support: np.ndarray, gamma: np.ndarray, peak: np.ndarray, best: np.ndarray
) -> None:
    count, batch = start.shape[0], start.shape[1]
    rounds = support.shape[1] // _UNROLL
    values = np.empty(WIDTH, np.float32)
    for index in range(count):
        tile = tiles[index]
        for row in range(batch):
            for i in range(WIDTH):
                values[i] = start[index, row, i]
            for turn in range(rounds):
                j = turn * _UNROLL
                s0, s1, s2, s3 = support[row, j], support[row, j + 1], support[row, j + 2], support[row, j + 3]
                s4, s5, s6, s7 = support[row, j + 4], support[row, j + 5], support[row, j + 6], support[row, j + 7]
                g0, g1, g2, g3 = gamma[row, j], gamma[row, j + 1], gamma[row, j + 2], gamma[row, j + 3]
                g4, g5, g6, g7 = gamma[row, j + 4], gamma[row, j + 5], gamma[row, j + 6], gamma[row, j + 7]
                for i in range(WIDTH):
                    values[i] -= (
                        (g0 * tile[s0, i] + g1 * tile[s1, i])
                        + (g2 * tile[s2, i] + g3 * tile[s3, i])
                        + (g4 * tile[s4, i] + g5 * tile[s5, i])
                        + (g6 * tile[s6, i] + g7 * tile[s7, i])
                    )
            largest = np.float32(-1.0)
            for i in range(WIDTH):
                largest = max(largest, abs(values[i]))
            if largest > peak[row]:
                peak[row] = largest
                for i in range(WIDTH):
                    if abs(values[i]) == largest:
                        best[row] = index * WIDTH + i
                        break


def search(tiles: Tensor, start: Tensor, support: Tensor, gamma: Tensor) -> Tensor:
    """Find the best atoms as `omp_gram.search` does.

    Args:
        tiles: Gram matrix, [tiles, N, 64], float32.
        start: correlations with the targets themselves, [tiles, B, 64], float32.
        support: atoms chosen so far, [B, t], int32.
        gamma: their coefficients, [B, t], float32.

    Returns:
        The atoms, [B], int64.
    """
    batch, size = support.shape
    padded = -(-size // _UNROLL) * _UNROLL
    atoms = np.zeros((batch, padded), np.uint32)
    weights = np.zeros((batch, padded), np.float32)
    if size:
        atoms[:, :size], atoms[:, size:] = support.numpy(), support[:, :1].numpy()
        weights[:, :size] = gamma.numpy()
    best = np.zeros(batch, np.int64)
    _kernel(tiles.numpy(), start.numpy(), atoms, weights, np.full(batch, -1.0, np.float32), best)
    return torch.from_numpy(best)
