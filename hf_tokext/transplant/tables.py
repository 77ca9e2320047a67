"""The new embedding, head and biases, computed from the base's by a plan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

import torch
from torch import Tensor

from hf_tokext.rows import RowProblem, make_rows
from hf_tokext.transplant.plan import Plan
from hf_tokext.transplant.vocabulary_tensors import VocabularyTensors
from hf_tokext.vocabulary.roles import roles

# Nats that the logit of every made row is lowered by. Measured on SmolLM2-135M with Llama-2's tokenizer: bits per
# byte on dev texts fall with the shift until about -3 and hardly change from there to -5 (docs/transplant.md).
MADE_SHIFT = -3.0
# Nats for ids that must not be produced: e^-30 of an average row's probability.
QUIET_SHIFT = -30.0
# Nats for ids that text never produces and whose row is that of an end of sequence too. No more than needed: where the
# head is tied the input row moves as well, and nats per token after Gemma 3 270M's own <bos>, moved so, are 2.73 at 0
# and -5, 2.78 at -10, 2.96 at -30.
SILENT_SHIFT = -5.0
SILENT_ROLES = ("bos", "unk", "pad", "cls", "mask")
END_ROLES = ("eos", "turn_end", "sep")


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
        word_vectors: function from pieces to vectors, or None.
        method_options: options of the row method.
        seed: seed of everything random.
        max_memory: bytes of work space a method may take, or None.
        progress: takes (done, total).
        calibrate: whether made and quiet rows are shifted at all, by the direction or on the biases.
    """

    donor: Tables | None = None
    direction: Tensor | None = None
    word_vectors: Callable[..., Tensor] | None = None
    method_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    max_memory: int | None = None
    progress: Callable[[int, int], None] | None = None
    calibrate: bool = True


def needs_direction(found: Tables | VocabularyTensors) -> bool:
    """Whether rows can only be shifted by the head's direction: there is a head, and no bias that takes the shift."""
    return found.has_head and not found.biases


def is_calibrated(found: Tables | VocabularyTensors, options: TableOptions) -> bool:
    """Whether `new_tables` shifts the rows that it makes."""
    return options.calibrate and (bool(found.biases) or (needs_direction(found) and options.direction is not None))


def shared_shifts(plan: Plan) -> dict[int, float]:
    """Say how far the logits of ids that are copied from one base id must fall, lest their sum exceed the base's own.

    k ids that share a base id get 1/k of its probability each, ln k less. Where one of them is an end of sequence
    (GPT-2's `<|endoftext|>` becomes `<unk>`, `<s>` and `</s>` of Llama 2), the new tokenizer's eos keeps the whole: its
    probability is that of stopping, and it must not fall to a third. Of the others, bos, unk, pad, cls and mask, which
    text never produces, fall by `SILENT_SHIFT`; the rest (ends of turns, tokens mapped by the user) by the logarithm
    of how many ids are left that text may produce, eos included.

    Args:
        plan: where every row comes from.

    Returns:
        New id to nats, below zero; ids whose rows stay bit-equal are not in it.
    """
    groups: dict[int, list[int]] = {}
    for index, partner in sorted(plan.copied.items()):
        if plan.source[index] != "quiet":
            groups.setdefault(partner, []).append(index)
    known = roles(plan.target)
    ends = {index for role in END_ROLES for index in known.get(role, ())}
    silent = {index for role in SILENT_ROLES for index in known.get(role, ()) if plan.source[index] == "role"} - ends
    eos = known.get("eos", (None,))[0]
    found: dict[int, float] = {}
    for group in groups.values():
        never = silent if ends & set(group) else set()
        share = -log(sum(index not in never for index in group))
        shifts = {index: SILENT_SHIFT if index in never else share for index in group if index != eos}
        found |= {index: shift for index, shift in shifts.items() if shift}
    return found


def new_tables(plan: Plan, tables: Tables, options: TableOptions) -> tuple[Tables, dict[int, float]]:
    """Make the new tables.

    Args:
        plan: where every row comes from.
        tables: the base's tables, in any float dtype; never changed.
        options: donor, direction of the head, seed.

    Returns:
        The new tables in the base's dtypes (copied rows bit-equal, but for `shared_shifts` in the head), and the residual of each made id where the
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
    if direction is not None:
        for index, shift in shared_shifts(plan).items():
            new[index] = (floats[plan.copied[index]] + shift * direction).to(base.dtype)
    residual: dict[int, float] = {}
    # overrides of several pieces are composed whatever the method, since the user said from what
    by_method = [i for i in plan.made if plan.source[i] in ("approximate", "compose")]
    by_pieces = [i for i in plan.made if plan.source[i] == "override"]
    for method, wanted in ((plan.method, by_method), ("compose", by_pieces)):
        if not wanted:
            continue
        anchors = [(i, plan.copied[i]) for i in plan.target.ids if plan.source[i] == "anchor"]  # padding is none
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
        rows = make_rows(method, problem, **(options.method_options if method == plan.method else {}))
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
    if shifts:
        for index, shift in shared_shifts(plan).items():
            new[..., index] = (floats[..., plan.copied[index]] + shift).to(bias.dtype)
    return new
