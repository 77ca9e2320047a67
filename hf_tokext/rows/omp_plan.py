"""How an OMP problem is cut up: with or without a Gram matrix, and how many targets at a time."""

from dataclasses import dataclass

from hf_tokext.errors import RowMethodError
from hf_tokext.rows.omp_gram import WIDTH, gram_bytes
from hf_tokext.rows.omp_state import SupportState

GATHER_COST = 4.0
"""Time of a flop on gathered Gram rows over that of a flop in a matrix product (12 and 50 Gflop/s a core, measured)."""
DEFAULT_MEMORY = 8 << 30
_SCRATCH = 1 << 27
_CHUNK = 512


@dataclass(frozen=True)
class OmpPlan:
    """How a problem is solved.

    Attributes:
        gram: whether the Gram matrix is made and kept.
        block: targets that one worker holds at once.
        chunk: targets in one matrix product of the path without a Gram matrix.
        workers: blocks worked on at the same time.
        memory: bytes that this is expected to take beyond dictionary and targets as given.
    """

    gram: bool
    block: int
    chunk: int
    workers: int
    memory: int


def flop_bound(atoms: int, width: int, targets: int, k: int) -> float:
    """Flops of Batch-OMP: N^2 D + 2MND + MNk^2 + 4Mk^3/3, the last for factors kept as inverses."""
    return atoms**2 * width + 2.0 * targets * atoms * width + float(targets) * atoms * k**2 + 4 / 3 * targets * k**3


def plan_omp(
    atoms: int, width: int, targets: int, k: int, max_memory: int | None, workers: int, gram: bool | None = None
) -> OmpPlan:
    """Choose the path and the block sizes.

    The Gram path costs N^2 D + MNk^2 flops, the latter `GATHER_COST` times as slow, the other one 2MNDk. The Gram path
    is taken where it is cheaper and its matrix fits in the memory given.

    Args:
        atoms: N, atoms in the dictionary.
        width: D.
        targets: M.
        k: atoms a target.
        max_memory: bytes of work space, or None for 8 GiB.
        workers: threads.
        gram: force a path, or None to choose.

    Returns:
        The plan.

    Raises:
        RowMethodError: the memory does not hold the dictionary and one target, or not the Gram matrix that is asked.
    """
    budget = DEFAULT_MEMORY if max_memory is None else max_memory
    fixed = 4 * width * (atoms + targets) + 8 * atoms + 20 * targets * k + _SCRATCH
    dense_row = 4 * atoms * 2 + 12 * width
    tiles = -(-atoms // WIDTH)
    state = SupportState.bytes_per_target(k) + 24 * width
    gram_row = 2 * 4 * tiles * WIDTH + 4 * tiles + state
    cheaper = atoms * width + GATHER_COST * targets * k**2 < 2.0 * targets * width * k
    wish = cheaper if gram is None else gram
    if wish:
        rest = budget - fixed - gram_bytes(atoms)
        plan = _fit(rest, targets, workers, gram_row, dense_row, small=64)
        if plan is not None:
            block, chunk, workers, used = plan
            return OmpPlan(True, block, chunk, workers, fixed + gram_bytes(atoms) + used)
        if gram:
            raise RowMethodError(
                f"the Gram matrix of {atoms} atoms does not fit in max_memory = {budget:,} bytes; "
                f"give {fixed + gram_bytes(atoms) + 64 * gram_row + 32 * dense_row:,} or leave the path to be chosen"
            )
    plan = _fit(budget - fixed, targets, workers, state, dense_row, small=1)
    if plan is None:
        need = fixed + state + dense_row
        raise RowMethodError(f"omp needs {need:,} bytes for {atoms} atoms but max_memory is {budget:,}; raise it")
    block, chunk, workers, used = plan
    return OmpPlan(False, block, chunk, workers, fixed + used)


def _fit(
    rest: int, targets: int, workers: int, row: int, dense_row: int, small: int
) -> tuple[int, int, int, int] | None:
    """Block, chunk, workers and bytes that fit in `rest` bytes, or None; `small` is the least block worth having."""
    least = min(small, max(1, targets))
    for count in range(min(workers, max(1, targets)), 0, -1):
        share = rest // count
        chunk = min(_CHUNK, max(1, share // (4 * dense_row)), max(1, targets))
        block = (share - chunk * dense_row) // row
        if block >= least:
            block = min(block, -(-targets // count) or 1)
            rounds = -(-targets // (block * count)) or 1
            block = -(-targets // (rounds * count)) or 1  # equal blocks, so that no worker ends late
            return block, min(chunk, block), count, count * (block * row + chunk * dense_row)
    return None
