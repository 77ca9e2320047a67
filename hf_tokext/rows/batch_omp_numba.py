"""The search for the best atom as a compiled kernel: products, largest value and its place in one pass over a tile.

numba has no vector types and does not keep an array of 64 sums in registers, so the innermost loop is written in LLVM's
own terms: eight vectors of eight floats (on processors with shorter vectors LLVM splits them).
"""

from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor

from hf_tokext.rows.omp_gram import WIDTH

_LANES = 8
_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, _LANES)


@intrinsic
def _scores(typing: Any, tile: Any, start: Any, support: Any, gamma: Any, size: Any, out: Any) -> Any:
    """Write |start - gamma tile[support]| over 64 columns to `out` and return the largest; all arrays contiguous."""
    signature = types.float32(tile, start, support, gamma, types.intp, out)

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        def data(position: int, kind: ir.Type) -> Any:
            array = context.make_array(signature.args[position])(context, builder, values[position])
            return builder.bitcast(array.data, kind.as_pointer())

        tile_at, start_at, out_at = data(0, _FLOAT), data(1, _FLOAT), data(5, _FLOAT)
        support_at, gamma_at, length = data(2, ir.IntType(32)), data(3, _FLOAT), values[4]
        declare = cgutils.get_or_insert_function
        fused = declare(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), "llvm.fmuladd.v8f32")
        absolute = declare(builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), "llvm.fabs.v8f32")
        groups = WIDTH // _LANES

        def vector(base: Any, group: int) -> Any:
            place = builder.gep(base, [_INT(group * _LANES)])
            return builder.bitcast(place, _VECTOR.as_pointer())

        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(groups)]  # become registers
        for group, total in enumerate(sums):
            builder.store(builder.load(vector(start_at, group), align=4), total)
        with cgutils.for_range(builder, length) as loop:
            atom = builder.zext(builder.load(builder.gep(support_at, [loop.index])), _INT)
            line = builder.gep(tile_at, [builder.mul(atom, _INT(WIDTH))])
            weight = builder.fneg(builder.load(builder.gep(gamma_at, [loop.index])))
            lane = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), weight, ir.IntType(32)(0))
            order = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
            spread = builder.shuffle_vector(lane, lane, order)
            for group, total in enumerate(sums):
                part = builder.load(vector(line, group), align=4)
                builder.store(builder.call(fused, [part, spread, builder.load(total)]), total)
        largest: Any = None
        for group, total in enumerate(sums):
            size_of = builder.call(absolute, [builder.load(total)])
            builder.store(size_of, vector(out_at, group), align=4)
            if largest is None:
                largest = size_of
            else:
                largest = builder.select(builder.fcmp_ordered(">", size_of, largest), size_of, largest)
        best = builder.extract_element(largest, ir.IntType(32)(0))
        for index in range(1, _LANES):
            value = builder.extract_element(largest, ir.IntType(32)(index))
            best = builder.select(builder.fcmp_ordered(">", value, best), value, best)
        return best

    return signature, build


@numba.njit(nogil=True)
def _kernel(
    tiles: np.ndarray, start: np.ndarray, support: np.ndarray, gamma: np.ndarray, peak: np.ndarray, best: np.ndarray
) -> None:
    size = support.shape[1]
    values = np.empty(WIDTH, np.float32)
    for index in range(start.shape[0]):
        tile = tiles[index]
        for row in range(start.shape[1]):
            largest = _scores(tile, start[index, row], support[row], gamma[row], size, values)  # type: ignore[call-arg]
            if largest > peak[row]:
                peak[row] = largest
                for i in range(WIDTH):
                    if values[i] == largest:
                        best[row] = index * WIDTH + i
                        break


def search(tiles: Tensor, start: Tensor, support: Tensor, gamma: Tensor) -> Tensor:
    """Find the best atoms on a CPU; what is given and returned is as for `omp_gram.search`."""
    batch = len(support)
    best, peak = np.zeros(batch, np.int64), np.full(batch, -1.0, np.float32)
    arrays = (tiles, start, support, gamma)
    _kernel(*(array.contiguous().numpy() for array in arrays), peak, best)  # type: ignore[call-arg]
    return torch.from_numpy(best)
