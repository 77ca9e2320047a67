"""The new embedding, head and biases, computed from the base's by a plan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hf_tokext.rows import RowProblem, init_rows
from hf_tokext.transplant.plan import Plan
from hf_tokext.transplant.vocabulary_tensors import VocabularyTensors

# Nats that the logit of every made row is lowered by. Measured on SmolLM2-135M with Llama-2's tokenizer: bits per
# byte on dev texts fall with the shift until about -3 and hardly change from there to -5 (docs/transplant.md).
MADE_SHIFT = -3.0
# Nats for ids that must not be produced: e^-30 of an average row's probability.
QUIET_SHIFT = -30.0


@dataclass(frozen=True, eq=False)
class Tables:
    """The vocabulary-sized tensors of a model.

    Attributes:
        input: the input embedding, [rows, D]; where head and embedding are tied, both.
        output: the head, [rows, D of the head], or None where tied or absent.
        biases: vectors added to the logits, by name, vocabulary last.
        has_head: whether the model gives logits.
    """

    input: Tensor
    output: Tensor | None = None
    biases: Mapping[str, Tensor] = field(default_factory=dict)
    has_head: bool = True


@dataclass(frozen=True, eq=False)
class TableOptions:
    """What the rows are made from, beyond the base's own tables.

    Attributes:
        donor: the donor's tables in the order of the new ids, or None.
        direction: vector that, added to a row of the head, raises its logit by about 1, [D], or None.
        calibrate: whether made and quiet rows are shifted at all, by the direction or on the biases.
        word_vectors: function from pieces to vectors, or None.
        method_options: options of the row method.
        seed: seed of everything random.
        max_memory: bytes of work space a method may take, or None.
        progress: takes (done, total).
    """

    donor: Tables | None = None
    direction: Tensor | None = None
    calibrate: bool = True
    word_vectors: Callable[..., Tensor] | None = None
    method_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    max_memory: int | None = None
    progress: Callable[[int, int], None] | None = None


def needs_direction(found: Tables | VocabularyTensors) -> bool:
    """Whether rows can only be shifted by the head's direction: there is a head, and no bias that takes the shift."""
    return found.has_head and not found.biases


def is_calibrated(found: Tables | VocabularyTensors, options: TableOptions) -> bool:
    """Whether `new_tables` shifts the rows that it makes."""
    return options.calibrate and (bool(found.biases) or (needs_direction(found) and options.direction is not None))


def new_tables(plan: Plan, tables: Tables, options: TableOptions) -> tuple[Tables, dict[int, float]]:
    """Make the new tables.

    Args:
        plan: where every row comes from.
        tables: the base's tables, in any float dtype; never changed.
        options: donor, direction of the head, seed.

    Returns:
        The new tables in the base's dtypes (copied rows bit-equal), and the residual of each made id where the
        method has one (of the input embedding).
    """
    shifts = is_calibrated(tables, options)
    direction = options.direction if shifts and needs_direction(tables) else None
    side = "tied" if tables.output is None and tables.has_head else "input"
    lowers = direction if side == "tied" else None
    donor = options.donor
    donor_input = donor.input if donor else None
    first, residual = _new_matrix(plan, tables.input, donor_input, side, lowers, options)
    second = None
    if tables.output is not None:
        donor_output = (donor.output if donor.output is not None else donor.input) if donor else None
        second, _ = _new_matrix(plan, tables.output, donor_output, "output", direction, options)
    biases = {name: _new_bias(plan, bias, shifts) for name, bias in tables.biases.items()}
    return Tables(first, second, biases, tables.has_head), residual


def _new_matrix(
    plan: Plan, base: Tensor, donor: Tensor | None, side: str, direction: Tensor | None, options: TableOptions
) -> tuple[Tensor, dict[int, float]]:
    floats = base.float()
    mean = floats[plan.base.ids].mean(0)
    new = mean.to(base.dtype).repeat(plan.rows, 1)
    if direction is not None:
        new[plan.made] = (mean + MADE_SHIFT * direction).to(base.dtype)
        new[plan.quiet] = (mean + QUIET_SHIFT * direction).to(base.dtype)
    if plan.copied:
        new[list(plan.copied)] = base[list(plan.copied.values())]
    residual: dict[int, float] = {}
    # overrides of several pieces are composed whatever the method, since the user said from what
    by_method = [i for i in plan.made if plan.source[i] in ("approximate", "compose")]
    by_pieces = [i for i in plan.made if plan.source[i] == "override"]
    for method, wanted in ((plan.method, by_method), ("compose", by_pieces)):
        if not wanted:
            continue
        anchors = [pair for pair in sorted(plan.copied.items()) if plan.source[pair[0]] == "anchor"]
        problem = RowProblem(
            base=floats[: len(plan.base)],  # padding says nothing of what a row is like
            wanted=torch.tensor(wanted),
            anchors=torch.tensor(anchors, dtype=torch.int64).reshape(-1, 2),
            pieces=[plan.target.piece(i) for i in wanted],
            spellings=[plan.spelled[i] for i in wanted],
            anchor_pieces=[plan.target.piece(i) for i, _ in anchors],
            side=side,
            donor=None if donor is None else donor.float(),
            word_vectors=options.word_vectors,
            seed=options.seed,
            max_memory=options.max_memory,
            progress=options.progress,
        )
        rows = init_rows(method, problem, **(options.method_options if method == plan.method else {}))
        values = rows.values
        if direction is not None:
            values = values + MADE_SHIFT * direction
        new[wanted] = values.to(base.dtype)
        if rows.residual is not None:
            residual |= dict(zip(wanted, rows.residual.tolist(), strict=True))
    return new, residual


def _new_bias(plan: Plan, bias: Tensor, shifts: bool) -> Tensor:
    floats = bias.float()
    known = floats[..., plan.base.ids]
    new = known.mean(-1, keepdim=True).repeat_interleave(plan.rows, -1)
    for index in plan.made:
        spelling = plan.spelled[index]
        value = floats[..., list(spelling)].mean(-1) if spelling else known.mean(-1)
        new[..., index] = value + (MADE_SHIFT if shifts else 0.0)
    if shifts:
        new[..., plan.quiet] = known.min(-1, keepdim=True).values + QUIET_SHIFT
    new = new.to(bias.dtype)
    if plan.copied:
        new[..., list(plan.copied)] = bias[..., list(plan.copied.values())]
    return new
