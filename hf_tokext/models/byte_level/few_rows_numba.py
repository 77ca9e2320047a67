"""A matrix times two to eight rows, compiled: each number of the matrix is read once for all of the rows.

Reading the matrix is what one row's product costs too, so that eight rows are hardly dearer than one.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

_MATRIX = numba.float32[:, ::1]
_REORDERED = {"reassoc", "contract"}  # what it takes to sum in vectors; infinity and NaN stay what they are


def product(weight: Tensor, rows: Tensor) -> Tensor:
    """Multiply rows with a matrix.

    Args:
        weight: [out, in] float32 on the CPU, contiguous.
        rows: [n, in] float32 on the CPU, n from 1 to 8.

    Returns:
        [n, out] float32.
    """
    count, width = rows.shape
    made = next(each for each in (2, 4, 8) if each >= count)
    full = rows.contiguous() if count == made else torch.cat([rows, rows.new_zeros(made - count, width)])
    out = full.new_empty(made, len(weight))
    threads = torch.get_num_threads()
    if threads > 1:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    _compiled(made, threads > 1)(weight.detach().numpy(), full.detach().numpy(), out.numpy())
    return out[:count]


@cache
def _compiled(rows: int, parallel: bool) -> Callable[..., None]:
    kernel = {2: _two, 4: _four, 8: _eight}[rows]
    return numba.njit(numba.void(_MATRIX, _MATRIX, _MATRIX), parallel=parallel, nogil=True, fastmath=_REORDERED)(kernel)


def _two(weight: Any, rows: Any, out: Any) -> None:
    for n in numba.prange(weight.shape[0]):
        a = b = np.float32(0)
        for k in range(weight.shape[1]):
            w = weight[n, k]
            a += w * rows[0, k]
            b += w * rows[1, k]
        out[0, n], out[1, n] = a, b


def _four(weight: Any, rows: Any, out: Any) -> None:
    for n in numba.prange(weight.shape[0]):
        a = b = c = d = np.float32(0)
        for k in range(weight.shape[1]):
            w = weight[n, k]
            a += w * rows[0, k]
            b += w * rows[1, k]
            c += w * rows[2, k]
            d += w * rows[3, k]
        out[0, n], out[1, n], out[2, n], out[3, n] = a, b, c, d


def _eight(weight: Any, rows: Any, out: Any) -> None:
    for n in numba.prange(weight.shape[0]):
        a = b = c = d = e = f = g = h = np.float32(0)
        for k in range(weight.shape[1]):
            w = weight[n, k]
            a += w * rows[0, k]
            b += w * rows[1, k]
            c += w * rows[2, k]
            d += w * rows[3, k]
            e += w * rows[4, k]
            f += w * rows[5, k]
            g += w * rows[6, k]
            h += w * rows[7, k]
        out[0, n], out[1, n], out[2, n], out[3, n] = a, b, c, d
        out[4, n], out[5, n], out[6, n], out[7, n] = e, f, g, h
