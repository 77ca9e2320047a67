"""What a transplant will cost, from headers only: bytes on disk and in memory, and the work of `omp`."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from hf_tokext.rows.omp_plan import flop_bound, plan_omp
from hf_tokext.transplant.checkpoint import Checkpoint
from hf_tokext.transplant.direction import WINDOW
from hf_tokext.transplant.folder import readable
from hf_tokext.transplant.plan import Plan
from hf_tokext.transplant.vocabulary_tensors import VocabularyTensors

# What lies beside the weights, as an upper bound: configs, licences and the plot; and an id's share of the JSON report.
SMALL_FILES = 1 << 20
REPORT_BYTES = 40
OMP_ATOMS = 64


@dataclass(frozen=True)
class Cost:
    """What a transplant will read, write and hold.

    Attributes:
        read: bytes of weights read, those that calibration and the proofs read again included.
        written: bytes of weights written, exactly.
        disk: bytes of free disk needed; an overwritten folder is kept until the end, so it frees none of them.
        tables: bytes of memory at most for making rows: old and new vocabulary matrices as stored, the one at work
            and the donor's in float32, and the work space of `omp`; other methods' own work space is not counted.
        calibration: bytes of memory while the base calibrates: its weights, the logits of a window, and the donor's
            matrices; 0 where it does not.
        proof: bytes of memory while the result is proved: its weights, its new matrices once more, the logits of a
            window and their probabilities.
        flops: floating-point operations of `omp`, for all matrices; None for other methods.
        gram: whether `omp` keeps a Gram matrix of the anchors; None for other methods.
    """

    read: int
    written: int
    disk: int
    tables: int
    calibration: int
    proof: int
    flops: float | None = None
    gram: bool | None = None

    @property
    def memory(self) -> int:
        """Bytes of memory at the worst moment, beyond the libraries' own; the three uses follow one another."""
        return max(self.tables, self.calibration, self.proof)

    def lines(self) -> list[str]:
        """The cost for people, one fact a line."""
        calibrates = f"{readable(self.calibration)} to calibrate the base, " if self.calibration else ""
        lines = [
            f"weights: {readable(self.read)} read, {readable(self.written)} written",
            f"free disk: {readable(self.disk)}",
            f"memory: {readable(self.memory)} at the most ({calibrates}{readable(self.tables)} to make the rows, "
            f"{readable(self.proof)} to prove the result, one after another)",
        ]
        if self.flops is not None:
            way = "with a Gram matrix" if self.gram else "without a Gram matrix"
            lines.append(f"omp: {self.flops:.2g} floating-point operations, {way}")
        return lines


def estimate_cost(
    plan: Plan,
    checkpoint: Checkpoint,
    found: VocabularyTensors,
    *,
    donor: tuple[Checkpoint, VocabularyTensors] | None = None,
    dtype: torch.dtype | None = None,
    calibration_dtype: torch.dtype | None = None,
    calibrates: bool = False,
    tokenizer_folder: Path | None = None,
    method_options: Mapping[str, Any] | None = None,
    max_memory: int | None = None,
) -> Cost:
    """Add up what a plan costs; no weights are read.

    Args:
        plan: where every new row comes from.
        checkpoint: the base.
        found: its vocabulary tensors.
        donor: the donor's checkpoint and vocabulary tensors where its rows are read, else None.
        dtype: what all float tensors become; None keeps every dtype.
        calibration_dtype: dtype that the calibrating model is loaded in; None is as stored.
        calibrates: whether the base is loaded and run.
        tokenizer_folder: folder of the new tokenizer, whose files are copied.
        method_options: options of the row method.
        max_memory: bytes of work space that the row method may take.

    Returns:
        The cost.

    Raises:
        RowMethodError: `max_memory` is too little for `omp`.
    """
    own = _matrices(checkpoint, found)
    theirs = [] if donor is None else _matrices(*donor)
    written = sum(_written(name, plan.rows, checkpoint, found, dtype) for name in checkpoint.tensors)
    kept = sum(entry.nbytes for name, entry in checkpoint.tensors.items() if name not in found.names)
    read = kept + written + sum(_stored(checkpoint, found)) + (sum(_stored(*donor)) if donor else 0)
    held = sum(matrix.stored() for matrix in theirs)
    # a bfloat16 result is run as the base was to calibrate
    wider = calibrates and (dtype or checkpoint.tensors[found.input[0]].torch_dtype) == torch.bfloat16
    run_in = (calibration_dtype if wider else None) or dtype
    proved = sum(_written(name, plan.rows, checkpoint, found, run_in) for name in checkpoint.tensors)
    loaded = sum(_in_memory(checkpoint, calibration_dtype)) + held + _logits(found, found.rows, 4)
    new = sum(plan.rows * matrix.width * matrix.itemsize for matrix in own)
    flops, gram, space = _omp(plan, theirs, method_options or {}, max_memory)
    files = (
        sum(path.stat().st_size for path in tokenizer_folder.iterdir() if _is_small(path)) if tokenizer_folder else 0
    )
    return Cost(
        read=read + (checkpoint.total_bytes if calibrates else 0),
        written=written,
        disk=written + files + SMALL_FILES + REPORT_BYTES * plan.rows,
        tables=new + held + _work(plan, own, theirs) + space,
        calibration=loaded if calibrates else 0,
        proof=proved
        + new
        + held
        + _logits(found, plan.rows, own[-1].itemsize + 8)
        + _logits(found, len(plan.quiet), 4),
        flops=flops,
        gram=gram,
    )


@dataclass(frozen=True)
class _Matrix:
    rows: int
    width: int
    itemsize: int

    def stored(self) -> int:
        """Bytes as it is in its file."""
        return self.itemsize * self.rows * self.width

    def as_float(self) -> int:
        """Bytes of a float32 copy; a float32 matrix needs none."""
        return 0 if self.itemsize == 4 else 4 * self.rows * self.width


def _matrices(checkpoint: Checkpoint, found: VocabularyTensors) -> list[_Matrix]:
    """Input embedding and, where it is another one, the head."""
    entries = [checkpoint.tensors[names[0]] for names in (found.input, found.output) if names]
    return [_Matrix(entry.shape[0], entry.shape[1], entry.torch_dtype.itemsize) for entry in entries]


def _stored(checkpoint: Checkpoint, found: VocabularyTensors) -> list[int]:
    """Bytes of the vocabulary tensors that are read: one copy of each matrix, and every bias."""
    return [checkpoint.tensors[name].nbytes for name in (*found.input[:1], *found.output[:1], *found.biases)]


def _written(name: str, rows: int, checkpoint: Checkpoint, found: VocabularyTensors, dtype: torch.dtype | None) -> int:
    entry = checkpoint.tensors[name]
    shape = entry.shape
    if name in found.biases:
        shape = (*shape[:-1], rows)
    elif name in found.names:
        shape = (rows, *shape[1:])
    return prod(shape) * (dtype if dtype is not None and entry.is_float else entry.torch_dtype).itemsize


def _in_memory(checkpoint: Checkpoint, dtype: torch.dtype | None) -> list[int]:
    return [
        prod(entry.shape) * (dtype if dtype is not None and entry.is_float else entry.torch_dtype).itemsize
        for entry in checkpoint.tensors.values()
    ]


def _work(plan: Plan, own: list[_Matrix], theirs: list[_Matrix]) -> int:
    """Peak of making one matrix after the other, beyond the donor's and the new ones."""
    made, donor = len(plan.made), max((matrix.as_float() for matrix in theirs), default=0)
    # the float copy, its rows that have ids (for the mean), and the made rows before and after their shift
    at_work = [matrix.as_float() + 4 * matrix.width * (len(plan.base.ids) + 2 * made) for matrix in own]
    return sum(matrix.stored() for matrix in own) + max(at_work) + donor


def _logits(found: VocabularyTensors, rows: int, itemsize: int) -> int:
    return WINDOW * rows * itemsize if found.has_head else 0


def _omp(
    plan: Plan, theirs: list[_Matrix], options: Mapping[str, Any], max_memory: int | None
) -> tuple[float | None, bool | None, int]:
    """Flops, whether with a Gram matrix, and bytes of work space, dictionary and targets included."""
    if plan.method != "omp":
        return None, None, 0
    atoms = plan.source.count("anchor")
    targets = sum(plan.source[index] == "approximate" for index in plan.made)
    k = min(int(options.get("k", OMP_ATOMS)), atoms)
    flops, gram, space = 0.0, False, 0
    for matrix in theirs:
        chosen = plan_omp(atoms, matrix.width, targets, k, max_memory, torch.get_num_threads())
        gram = gram or chosen.gram
        space = max(space, chosen.memory + 4 * matrix.width * (atoms + targets))
        if chosen.gram:
            flops += flop_bound(atoms, matrix.width, targets, k)
        else:  # correlations with every atom, at every step
            flops += 2.0 * targets * atoms * matrix.width * k + 4 / 3 * targets * k**3
    return flops, gram, space


def _is_small(path: Path) -> bool:
    return path.is_file() and path.suffix in (".json", ".jinja")
