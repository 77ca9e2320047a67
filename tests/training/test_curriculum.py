"""A curriculum keeps its shares and its order, whoever reads it; and a model learns from it."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from hf_tokext import (
    ByteTokenizer,
    Curriculum,
    CurriculumError,
    DepthCodecConfig,
    DepthCodecImageProcessor,
    DepthCodecModel,
    ModalityError,
    MultimodalCollator,
    Stage,
    annealed,
    extend_with_codecs,
)

SETS = {"draw": [f"d{n}" for n in range(7)], "reason": [f"r{n}" for n in range(5)]}
PLAN = [Stage(10, {"draw": 1}), Stage(9, {"draw": 2, "reason": 1}), Stage(12, {"reason": 3.0})]


def whole(curriculum):
    return [curriculum[n] for n in range(len(curriculum))]


def test_every_stage_has_its_shares_exactly():
    data = Curriculum(SETS, PLAN)
    assert len(data) == 31
    rows = whole(data)
    assert [Counter(row[0] for row in part) for part in (rows[:10], rows[10:19], rows[19:])] == [
        {"d": 10}, {"d": 6, "r": 3}, {"r": 12},
    ]  # fmt: skip


def test_what_is_left_over_goes_to_the_largest_remainder():
    assert Stage(10, {"a": 1, "b": 1, "c": 1.5}).counts() == {"a": 3, "b": 3, "c": 4}
    assert Stage(7, {"a": 0.1, "b": 0.2, "c": 0.4}).counts() == {"a": 1, "b": 2, "c": 4}  # whatever floats make of it
    chance = np.random.default_rng(0)
    for _ in range(200):
        shares = {f"s{n}": float(chance.random()) for n in range(chance.integers(1, 6))}
        stage = Stage(int(chance.integers(1, 100)), shares)
        counts = stage.counts()
        assert sum(counts.values()) == stage.rows
        assert all(abs(counts[n] - stage.rows * shares[n] / sum(shares.values())) < 1 for n in shares)


def test_stretches_of_a_stage_are_mixed_evenly():
    rows = whole(Curriculum(SETS, [Stage(400, {"draw": 3, "reason": 1})]))
    assert all(abs(Counter(row[0] for row in rows[at : at + 40])["r"] - 10) <= 1 for at in range(0, 400, 40))


def test_every_row_comes_once_before_any_comes_again():
    data = Curriculum(SETS, PLAN)
    drawn = [row for row in whole(data) if row[0] == "d"]
    assert sorted(drawn[:7]) == sorted(SETS["draw"]) and sorted(drawn[7:14]) == sorted(SETS["draw"])
    assert drawn[:7] != drawn[7:14] and drawn[:7] != SETS["draw"]
    assert data.source(0) == ("draw", int(drawn[0][1])) and data[-1] == data[30]
    with pytest.raises(IndexError):
        data[31]


def test_the_order_is_of_the_seed():
    assert whole(Curriculum(SETS, PLAN)) == whole(Curriculum(dict(reversed(SETS.items())), PLAN))
    assert whole(Curriculum(SETS, PLAN)) != whole(Curriculum(SETS, PLAN, seed=1))


def test_shares_go_from_one_mixture_to_another():
    stages = annealed(103, {"draw": 2}, {"draw": 1, "reason": 1}, stages=5)
    assert sum(stage.rows for stage in stages) == 103 and {stage.rows for stage in stages} == {20, 21}
    assert [stage.shares["reason"] for stage in stages] == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    assert [stage.shares["draw"] for stage in stages] == pytest.approx([1, 0.875, 0.75, 0.625, 0.5])
    assert len(Curriculum(SETS, stages)) == 103
    for wrong in ({"stages": 1}, {"rows": 4}, {"first": {}}, {"last": {"draw": -1}}):
        with pytest.raises(CurriculumError):
            annealed(**{"rows": 103, "first": {"draw": 1}, "last": {"reason": 1}, "stages": 5, **wrong})


@pytest.mark.parametrize(
    ("sets", "stages", "words"),
    [
        (SETS, [], "at least one stage"),
        (SETS, [Stage(1, {"none": 1})], "no data set 'none'; there are: draw, reason"),
        ({**SETS, "draw": []}, PLAN, "'draw' is empty"),
    ],
)
def test_an_impossible_plan_is_refused(sets, stages, words):
    with pytest.raises(CurriculumError, match=words):
        Curriculum(sets, stages)


@pytest.mark.parametrize(
    ("rows", "shares"), [(0, {"a": 1}), (3, {}), (3, {"a": 0}), (3, {"a": -1, "b": 2}), (3, {"a": float("nan")})]
)
def test_an_impossible_stage_is_refused(rows, shares):
    with pytest.raises(CurriculumError):
        Stage(rows, shares)


def test_a_set_without_a_share_need_not_be_there():
    assert len(Curriculum({"draw": SETS["draw"], "reason": []}, [Stage(3, {"draw": 1, "reason": 0, "other": 0})])) == 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", [1, 4])
def test_loaders_read_it_as_it_stands_over_and_over(workers, size):
    data = Curriculum(SETS, PLAN)
    loader = DataLoader(data, batch_size=size, num_workers=workers, persistent_workers=workers > 0)
    for _ in range(3):
        assert [row for batch in loader for row in batch] == whole(data)


def test_processes_read_it_as_it_stands():
    from accelerate.data_loader import BatchSamplerShard

    data = Curriculum(SETS, PLAN)
    for size in (1, 4):
        for split in (False, True) if size == 4 else (False,):
            for process in range(2):
                batches = BatchSampler(range(len(data)), size, drop_last=False)
                shard = BatchSamplerShard(batches, 2, process, split_batches=split)
                loader = DataLoader(data, batch_sampler=shard)
                for _ in range(3):
                    assert len([row for batch in loader for row in batch]) >= len(data) // 2


@pytest.mark.parametrize("size", [1, 2, 4])
def test_shuffling_is_refused(size):
    for seed in range(20):
        data = Curriculum(SETS, PLAN)
        chance = torch.Generator().manual_seed(seed)
        with pytest.raises(CurriculumError, match="sequential"):
            list(DataLoader(data, batch_size=size, sampler=RandomSampler(data, generator=chance)))


def test_a_part_in_order_may_be_read_and_others_not():
    data = Curriculum(SETS, PLAN)
    assert [row for batch in DataLoader(Subset(data, range(5, 20)), batch_size=4) for row in batch] == whole(data)[5:20]
    with pytest.raises(CurriculumError):
        list(DataLoader(Subset(data, [3, 1, 2]), batch_size=3))


def test_a_curriculum_of_one_row():
    data = Curriculum({"draw": ["d"]}, [Stage(1, {"draw": 1})])
    assert list(DataLoader(data, batch_size=4)) == [["d"]]


# with a model


CODES = torch.arange(4)[None]


@pytest.fixture(scope="module")
def parts():
    """A tiny LM that reads pictures of one channel and writes depth, and its processor."""
    torch.manual_seed(0)
    tokenizer = ByteTokenizer(add_bos_token=True)
    ids = {"bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256}
    lm = GPT2LMHeadModel(GPT2Config(vocab_size=260, n_positions=64, n_embd=32, n_layer=2, n_head=2, **ids))
    codec = DepthCodecModel(
        DepthCodecConfig(image_size=8, hidden_sizes=[8, 8], latent_dim=8, quantizer_options={"size": 8})
    )
    codec(torch.rand(8, 1, 8, 8))  # so that its codes begin somewhere
    codec.eval()
    return extend_with_codecs(lm, tokenizer, {"depth": (codec, DepthCodecImageProcessor(size=8))}, calibrate=False)


def depth(seed):
    return np.random.default_rng(seed).random((8, 8)) + 0.5


def rows(kind):
    if kind == "draw":
        return [{"text": "draw", "answer": "<|depth|>", "depth": depth(n)} for n in range(6)]
    return [{"text": f"<|depth|>{n % 2}", "answer": "xy"[n % 2], "depth": [depth(n)]} for n in range(6)]


def arguments(folder, data, **more):
    usual = {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "use_cpu": True, "report_to": "none",
             "disable_tqdm": True, "logging_steps": 1, "save_strategy": "no"}  # fmt: skip
    return TrainingArguments(str(folder), **{**usual, **data.arguments, **more})


class Seen(TrainerCallback):
    """What a collator was given."""

    def __init__(self, processor):
        self.collate, self.rows = MultimodalCollator(processor), []

    def __call__(self, rows):
        self.rows += [row.get("text") for row in rows]
        return self.collate(rows)


def trained(parts, data, folder, resume=None, **more):
    model, processor = parts
    seen = Seen(processor)
    trainer = Trainer(model, arguments(folder, data, **more), train_dataset=data, data_collator=seen)
    trainer.train(resume_from_checkpoint=resume)
    return seen.rows, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_trainer_learns_and_resumes_where_it_was(parts, tmp_path):
    plan = [Stage(60, {"draw": 1}), Stage(40, {"draw": 1, "reason": 3})]
    data = Curriculum({"draw": rows("draw"), "reason": rows("reason")}, plan)
    seen, losses = trained(parts, data, tmp_path, save_strategy="steps", save_steps=10)
    assert seen == [data[n]["text"] for n in range(100)] and len(losses) == 25
    assert np.mean(losses[10:15]) < 0.8 * np.mean(losses[:5])  # within the first stage
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    again, _ = trained(parts, data, tmp_path, str(tmp_path / "checkpoint-10"))
    assert again == seen[40:]


def test_trainer_that_shuffles_is_refused(parts, tmp_path):
    data = Curriculum({"draw": rows("draw")}, [Stage(40, {"draw": 1})])
    for size in (1, 4):
        with pytest.raises(CurriculumError, match="sequential"):
            trained(parts, data, tmp_path, train_sampling_strategy="random", per_device_train_batch_size=size)


def test_trainer_that_takes_columns_away_is_told(parts, tmp_path):
    data = Curriculum({"draw": rows("draw")}, [Stage(8, {"draw": 1})])
    with pytest.raises(CurriculumError, match="remove_unused_columns"):
        trained(parts, data, tmp_path, remove_unused_columns=True)


def test_collator_gives_what_the_processor_gives(parts):
    _, processor = parts
    found = MultimodalCollator(processor, max_length=40)([*rows("draw")[:1], *rows("reason")[:2]])
    texts, answers = ["draw", "<|depth|>0", "<|depth|>1"], ["<|depth|>", "x", "y"]
    wanted = processor(texts, answers=answers, depth=[depth(0), depth(0), depth(1)], max_length=40)
    assert set(found) == set(wanted) and all(torch.equal(found[key], wanted[key]) for key in wanted)
    with pytest.raises(ModalityError, match="max_length"):
        MultimodalCollator(processor, max_length=3)(rows("draw"))


def test_collator_takes_codes_and_rows_without_answers(parts):
    model, processor = parts
    found = MultimodalCollator(processor)([{"text": "<|depth|>?", "codes": {"depth": CODES}}, {"text": "nothing"}])
    assert "labels" not in found
    assert torch.equal(processor.parts(found["input_ids"][0]).codes["depth"][0], CODES)


@pytest.mark.parametrize(
    ("batch", "error", "words"),
    [
        ([{"text": "a", "answer": "b"}, {"text": "a"}], CurriculumError, "1 of 2 rows of a batch have an 'answer'"),
        ([{"text": "a"}, {"answer": "b"}], CurriculumError, "row 1 of a batch has no 'text' but has 'answer'"),
        ([{}], CurriculumError, "is empty; .*remove_unused_columns=False"),
        # as many in the batch, but not in each row
        ([{"text": "<|depth|>", "depth": [depth(0)] * 2}, {"text": "<|depth|>"}], ModalityError, r"lists of \[2, 0\]"),
        ([{"text": "<|depth|>", "codes": {"depth": [CODES] * 2}}, {"text": "<|depth|>"}], ModalityError, r"lists of \[2, 0\]"),
        ([{"text": "a", "codes": {"sound": CODES}}], ModalityError, "no modality 'sound'"),
        ([{"text": "a", "label": 3}], ModalityError, "'label'"),
    ],
)  # fmt: skip
def test_collator_refuses_rows_that_do_not_fit(parts, batch, error, words):
    with pytest.raises(error, match=words):
        MultimodalCollator(parts[1])(batch)
