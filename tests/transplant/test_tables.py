from math import log

import pytest
import torch

from hf_tokext.rows import RowProblem, Rows, row_method
from hf_tokext.rows import registry as house
from hf_tokext.transplant.plan import make_plan
from hf_tokext.transplant.tables import (
    MADE_SHIFT,
    QUIET_SHIFT,
    SILENT_SHIFT,
    TableOptions,
    Tables,
    is_calibrated,
    needs_direction,
    new_tables,
    shared_shifts,
)
from hf_tokext.transplant.vocabulary_tensors import vocabulary_tensors_of_model
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.handmade import bpe
from tests.tiny_models import tiny

BASE = read_vocabulary(bpe(["a", "b", "c"], eos_token="</s>"))
TARGET = read_vocabulary(bpe(["c", "a", "b", "ab", "bc"], merges=[("a", "b")], eos_token="</s>"))
PLAN = make_plan(BASE, TARGET, base_rows=6, rows=7)  # 0 role, 1 2 3 anchors, 4 ab made, 5 bc and 6 padding quiet
COPIED = {0: 0, 1: 3, 2: 1, 3: 2}
MADE, QUIET = 4, [5, 6]
DIRECTION = torch.tensor([0.5, -0.25])
ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, -6.0], [7.0, 8.0], [900.0, 900.0], [-900.0, -900.0]])
MEAN = torch.tensor([4.0, 2.0])  # of the four ids that have tokens; the two rows of padding do not count
HEAD = torch.tensor([[0.5, 1.0], [2.0, -4.0], [6.0, 8.0], [-0.5, 3.0], [70.0, 70.0], [70.0, 70.0]])
HEAD_MEAN = torch.tensor([2.0, 2.0])


def made(tables, plan=PLAN, **options):
    return new_tables(plan, tables, TableOptions(**options))


def test_the_plan_is_as_the_numbers_below_expect():
    assert (PLAN.copied, PLAN.spelled, PLAN.quiet) == (COPIED, {MADE: (1, 2)}, QUIET)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("direction", [None, DIRECTION])
def test_copied_rows_are_bit_equal_and_the_base_is_left_alone(dtype, direction):
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base = Tables(noise.to(dtype), noise.flip(0).to(dtype), {"bias": noise[:, 0].to(dtype)})
    before = [base.input.clone(), base.output.clone(), base.biases["bias"].clone()]
    found, _ = made(base, direction=direction)
    parts = list(zip((base.input, base.output, base.biases["bias"]), before, strict=True))
    for new, (old, kept) in zip((found.input, found.output, found.biases["bias"]), parts, strict=True):
        assert new.dtype == dtype and len(new) == 7 and torch.equal(old, kept)
        assert torch.equal(new[list(COPIED)], old[list(COPIED.values())])


def test_tied_made_rows_are_the_mean_of_their_pieces_shifted_and_quiet_rows_the_mean_shifted_far():
    found, residual = made(Tables(ROWS), direction=DIRECTION)
    assert (MADE_SHIFT, QUIET_SHIFT) == (-3.0, -30.0)
    assert torch.equal(found.input[MADE], torch.tensor([4.0 - 1.5, -1.0 + 0.75]))
    assert torch.equal(found.input[QUIET], torch.tensor([[4.0 - 15.0, 2.0 + 7.5]] * 2))
    assert found.output is None and residual == {}


def test_untied_the_head_is_shifted_and_the_input_is_not():
    found, _ = made(Tables(ROWS, HEAD), direction=DIRECTION)
    assert torch.equal(found.input[MADE], torch.tensor([4.0, -1.0]))
    assert torch.equal(found.input[QUIET], MEAN.expand(2, 2))
    assert torch.equal(found.output[MADE], torch.tensor([4.0 - 1.5, 2.0 + 0.75]))
    assert torch.equal(found.output[QUIET], (HEAD_MEAN - 30.0 * DIRECTION).expand(2, 2))


def test_without_a_direction_nothing_is_shifted():
    found, _ = made(Tables(ROWS, HEAD))
    assert torch.equal(found.input[[MADE, *QUIET]], torch.stack([torch.tensor([4.0, -1.0]), MEAN, MEAN]))
    assert torch.equal(found.output[[MADE, *QUIET]], torch.stack([torch.tensor([4.0, 2.0]), HEAD_MEAN, HEAD_MEAN]))


def test_a_model_without_a_head_is_not_shifted():
    found, _ = made(Tables(ROWS, has_head=False), direction=DIRECTION)
    assert torch.equal(found.input[[MADE, 5]], torch.stack([torch.tensor([4.0, -1.0]), MEAN]))
    assert not found.has_head


@pytest.mark.parametrize("shape", [(6,), (1, 6)])
def test_where_there_is_a_bias_it_takes_the_whole_shift_and_the_rows_none(shape):
    bias = torch.tensor([1.0, 0.5, -2.5, 3.0, 99.0, -99.0]).reshape(shape)
    found, _ = made(Tables(ROWS, HEAD, {"lm_head.bias": bias}), direction=DIRECTION)
    expected = torch.tensor([1.0, 3.0, 0.5, -2.5, -1.0 - 3.0, -2.5 - 30.0, -2.5 - 30.0])
    assert torch.equal(found.biases["lm_head.bias"], expected.reshape(*shape[:-1], 7))
    assert torch.equal(found.output[[MADE, 5]], torch.stack([torch.tensor([4.0, 2.0]), HEAD_MEAN]))
    assert torch.equal(found.input[MADE], torch.tensor([4.0, -1.0]))


@pytest.mark.parametrize("shape", [(6,), (1, 6)])
def test_uncalibrated_neither_biases_nor_rows_are_shifted(shape):
    bias = torch.tensor([1.0, 0.5, -2.5, 3.0, 99.0, -99.0]).reshape(shape)
    found, _ = made(Tables(ROWS, HEAD, {"bias": bias}), direction=DIRECTION, calibrate=False)
    expected = torch.tensor([1.0, 3.0, 0.5, -2.5, -1.0, 0.5, 0.5])  # the mean of a and b; the mean of the four ids
    assert torch.equal(found.biases["bias"], expected.reshape(*shape[:-1], 7))
    assert torch.equal(found.output[[MADE, 5]], torch.stack([torch.tensor([4.0, 2.0]), HEAD_MEAN]))
    for tables in (Tables(ROWS), Tables(ROWS, HEAD)):
        (one, _), (other, _) = made(tables, direction=DIRECTION, calibrate=False), made(tables)
        assert torch.equal(one.input, other.input) and (one.output is None or torch.equal(one.output, other.output))


def test_only_a_head_without_a_bias_needs_the_direction():
    assert needs_direction(Tables(ROWS)) and needs_direction(Tables(ROWS, HEAD))
    assert not needs_direction(Tables(ROWS, has_head=False))
    assert not needs_direction(Tables(ROWS, HEAD, {"bias": ROWS[:, 0]}))
    names = ("llama", "gpt2", "gpt_neox", "bert", "roberta", "bart", "t5")
    needing = [name for name in names if needs_direction(vocabulary_tensors_of_model(tiny(name)))]
    assert needing == ["llama", "gpt2", "gpt_neox", "t5"]


def test_calibrated_is_what_has_a_bias_or_a_direction_and_was_not_told_otherwise():
    biased, plain, headless = Tables(ROWS, HEAD, {"bias": ROWS[:, 0]}), Tables(ROWS), Tables(ROWS, has_head=False)
    for direction in (None, DIRECTION):
        options = TableOptions(direction=direction)
        assert is_calibrated(biased, options)
        assert is_calibrated(plain, options) is (direction is not None)
        assert not is_calibrated(headless, options)
        told = TableOptions(direction=direction, calibrate=False)
        assert not any(is_calibrated(tables, told) for tables in (biased, plain, headless))


def test_ids_that_the_base_cannot_spell_get_the_mean():
    target = read_vocabulary(bpe(["a", "d"], special=("<|odd|>",)))
    found, _ = made(Tables(ROWS), make_plan(BASE, target, base_rows=6))
    assert torch.equal(found.input, torch.stack([MEAN, ROWS[1], MEAN]))
    found, _ = made(Tables(ROWS), make_plan(BASE, target, base_rows=6), direction=DIRECTION)
    lowered = MEAN - 3.0 * DIRECTION
    assert torch.equal(found.input, torch.stack([lowered, ROWS[1], lowered]))


@pytest.mark.parametrize("method", ["mean", "normal"])
def test_padding_does_not_count_for_a_method(method):
    found, _ = made(Tables(ROWS), make_plan(BASE, TARGET, base_rows=6, method=method))
    assert torch.allclose(found.input[MADE], MEAN, atol=1e-3)


def test_an_override_of_several_pieces_is_composed_whatever_the_method():
    plan = make_plan(BASE, TARGET, base_rows=6, method="zero", overrides={"b": "cca", "c": "b"})
    found, _ = made(Tables(ROWS), plan)
    assert torch.allclose(found.input[3], (2 * ROWS[3] + ROWS[1]) / 3)
    assert torch.equal(found.input[1], ROWS[2])
    assert not found.input[MADE].any()


END = "<|endoftext|>"
ONE_END = read_vocabulary(bpe(["a", "b"], special=(END,), eos_token=END, bos_token=END, unk_token=END))
LLAMA = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def shared(*special, base=ONE_END, tokens=("a", "b"), roles=LLAMA, **options):
    target = read_vocabulary(bpe(tokens, special=special, **{k: v for k, v in roles.items() if v in special}))
    return make_plan(base, target, base_rows=len(base), **options)


def test_of_ids_that_share_an_end_of_sequence_eos_keeps_the_whole_and_what_text_never_produces_falls_far():
    assert SILENT_SHIFT == -5.0
    plan = shared("<unk>", "<s>", "</s>")
    assert plan.copied == {0: 0, 1: 0, 2: 0, 3: 1, 4: 2}
    assert shared_shifts(plan) == {0: -5.0, 1: -5.0}
    tables = Tables(ROWS[:3], HEAD[:3])
    found, _ = made(tables, plan, direction=DIRECTION)
    assert torch.equal(found.input, ROWS[[0, 0, 0, 1, 2]])
    low = torch.tensor([0.5 - 2.5, 1.0 + 1.25])
    assert torch.equal(found.output, torch.stack([low, low, *HEAD[:3]]))
    tied, _ = made(Tables(HEAD[:3]), plan, direction=DIRECTION)
    assert torch.equal(tied.input, found.output)
    for options in ({}, {"direction": DIRECTION, "calibrate": False}):
        assert torch.equal(made(tables, plan, **options)[0].output, HEAD[[0, 0, 0, 1, 2]])


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_where_there_is_a_bias_shared_ids_are_lowered_on_it(shape):
    bias = torch.tensor([1.0, 0.5, -2.5]).reshape(shape)
    plan = shared("<unk>", "<s>", "</s>")
    found, _ = made(Tables(ROWS[:3], HEAD[:3], {"bias": bias}), plan)
    assert torch.equal(found.biases["bias"], torch.tensor([-4.0, -4.0, 1.0, 0.5, -2.5]).reshape(*shape[:-1], 5))
    assert torch.equal(found.output, HEAD[[0, 0, 0, 1, 2]])
    told, _ = made(Tables(ROWS[:3], HEAD[:3], {"bias": bias}), plan, calibrate=False)
    assert torch.equal(told.biases["bias"], bias[..., [0, 0, 0, 1, 2]])


def test_the_end_of_a_turn_that_shares_the_row_of_eos_gets_half_of_it():
    plan = shared("<s>", "</s>", "<|im_end|>")
    assert plan.copied == {0: 0, 1: 0, 2: 0, 3: 1, 4: 2}
    assert shared_shifts(plan) == {0: -5.0, 2: -log(2)}


def test_the_end_of_a_bert_keeps_the_whole_though_it_is_no_eos():
    plan = shared("[PAD]", "[CLS]", "[SEP]", roles={})
    assert plan.copied == {0: 0, 1: 0, 2: 0, 3: 1, 4: 2}
    assert shared_shifts(plan) == {0: -5.0, 1: -5.0}


def test_an_eos_that_is_pad_too_keeps_the_whole():
    assert shared_shifts(shared("<s>", "</s>", roles=LLAMA | {"pad_token": "</s>"})) == {0: -5.0}


def test_k_ids_of_one_row_have_together_the_probability_that_it_had():
    base = read_vocabulary(bpe(["a", "b", "c"], special=()))
    plan = shared(base=base, tokens=("a", "b", "x", "y"), overrides={"x": "a", "y": "a"})
    assert plan.copied == {0: 0, 1: 1, 2: 0, 3: 0}
    assert shared_shifts(plan) == {index: -log(3) for index in (0, 2, 3)}
    head, hidden = HEAD[:3], DIRECTION / DIRECTION.square().sum()  # so that hidden.DIRECTION = 1
    found, _ = made(Tables(ROWS[:3], head), plan, direction=DIRECTION)
    odds = (found.output @ hidden).exp()
    assert torch.equal(found.output[1], head[1])
    assert float(odds[[0, 2, 3]].sum()) == pytest.approx(float((head[0] @ hidden).exp()), rel=1e-5)


def test_a_token_that_the_user_maps_to_the_end_shares_it_with_eos_and_is_not_silenced():
    plan = shared("<s>", "</s>", overrides={"<s>": END})
    assert plan.source[0] == "override"
    assert shared_shifts(plan) == {0: -log(2)}


def test_ids_of_their_own_rows_are_shifted_nowhere():
    assert shared_shifts(PLAN) == {}
    assert shared_shifts(make_plan(BASE, BASE, base_rows=6)) == {}


@pytest.fixture
def seen(monkeypatch):
    """Problems that a row method of two options is given, with the options."""
    calls: list[tuple[RowProblem, dict]] = []

    def method(problem, **options):
        calls.append((problem, options))
        count = len(problem.wanted)
        return Rows(torch.zeros(count, 2), torch.full((count,), len(calls) / 4))

    monkeypatch.setitem(house._METHODS, "watched", house.RowMethod("watched", method, ("donor",)))
    assert row_method("watched").function is method
    return calls


def donor(rows, untied=True):
    values = torch.arange(2.0 * rows).reshape(rows, 2).half()
    return Tables(values, values + 100 if untied else None)


@pytest.mark.parametrize("untied", [True, False])
def test_a_method_sees_each_matrix_with_its_own_side_and_the_donors_of_that_side(seen, untied):
    plan = make_plan(BASE, TARGET, base_rows=6, method="watched", overrides={"c": "a"})
    given = donor(6, untied)
    _, residual = made(Tables(ROWS.half(), HEAD.half()), plan, donor=given, method_options={"k": 3}, seed=5)
    (first, options), (second, _) = seen
    assert (first.side, second.side, options) == ("input", "output", {"k": 3})
    assert torch.equal(first.base, ROWS[:4].half().float()) and torch.equal(second.base, HEAD[:4].half().float())
    assert torch.equal(first.donor, given.input.float())
    assert torch.equal(second.donor, (given.output if untied else given.input).float())
    assert first.anchors.tolist() == [[2, 1], [3, 2]]  # neither roles nor overrides are pairs of equal bytes
    assert first.anchor_pieces == [b"a", b"b"]
    assert (first.wanted.tolist(), first.pieces, first.spellings, first.seed) == ([MADE], [b"ab"], [(1, 2)], 5)
    assert residual == {MADE: 0.25}  # of the input


def test_one_matrix_for_both_is_one_problem(seen):
    plan = make_plan(BASE, TARGET, base_rows=6, method="watched")
    made(Tables(ROWS), plan, donor=donor(6))
    assert [problem.side for problem, _ in seen] == ["tied"]


def test_nothing_to_make_runs_no_method(seen):
    plan = make_plan(BASE, BASE, base_rows=6, method="watched")
    found, residual = made(Tables(ROWS, HEAD), plan, direction=DIRECTION)
    assert seen == [] and residual == {}
    assert torch.equal(found.input, ROWS) and torch.equal(found.output, HEAD)
