"""Trainer on models with side tables: in one process and in two, evaluated, stopped and gone on with."""

import copy
import multiprocessing
import os
import socket

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from tests.models.side_channel.conftest import batch, inputs_of, make

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning")


def rows_of(name, count=4):
    inputs = inputs_of(name, *batch(rows=count))
    return [{key: value[row] for key, value in inputs.items()} for row in range(count)]


def trainer(model, folder, rows, **options):
    arguments = {
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "save_strategy": "no",
    } | options
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "logging_strategy": "no"}
    return Trainer(model, TrainingArguments(folder, **arguments, **quiet), train_dataset=rows, eval_dataset=rows)


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bart"])
def test_the_loss_is_lowered_and_the_tables_move(name, checkpointing, tmp_path):
    model = make(name, dtype=torch.float32)
    inputs = inputs_of(name, *batch(rows=4))
    before = model(**inputs).loss.item()
    kept = copy.deepcopy(model.side)
    run = trainer(model, tmp_path, rows_of(name), activation_checkpointing=checkpointing)
    run.train()
    model.eval()
    found = model(**inputs)
    assert found.loss.item() < before
    assert run.evaluate()["eval_loss"] == pytest.approx(found.loss.item(), abs=1e-5)
    predicted = run.predict(rows_of(name)).predictions
    predicted = predicted[0] if isinstance(predicted, tuple) else predicted  # encoder-decoders give more
    torch.testing.assert_close(torch.from_numpy(predicted), found.logits, rtol=0, atol=1e-5)
    for name_of, table in model.side.tables.items():
        old, new = kept.tables[name_of].rows.weight, table.rows.weight
        assert not torch.equal(old, new) and not new[0].any()
    assert not torch.equal(kept.tables["tags"].weights, model.side.tables["tags"].weights)


def test_places_that_the_data_names_reach_the_backbone(tmp_path):
    """Trainer drops the columns that forward does not name."""
    seen = []
    model = make("gpt2", dtype=torch.float32)
    model.backbone.register_forward_pre_hook(lambda _, __, given: seen.append(given["position_ids"]), with_kwargs=True)
    places = torch.tensor([0, 1, 0, 1, 2, 3])
    trainer(model, tmp_path, [row | {"position_ids": places} for row in rows_of("gpt2")], max_steps=1).train()
    assert torch.equal(seen[0], places.expand(4, 6))


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_stopped_and_gone_on_with_it_learns_the_same(name, tmp_path):
    whole, broken = (make(name, dtype=torch.float32) for _ in range(2))
    options = {
        "per_device_train_batch_size": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "lr_scheduler_type": "constant",
    }
    torch.manual_seed(0)
    trainer(whole, tmp_path / "whole", rows_of(name), max_steps=4, **options).train()
    torch.manual_seed(0)
    trainer(broken, tmp_path / "broken", rows_of(name), max_steps=2, **options).train()
    fresh = make(name, dtype=torch.float32)
    trainer(fresh, tmp_path / "broken", rows_of(name), max_steps=4, **options).train(
        resume_from_checkpoint=str(tmp_path / "broken" / "checkpoint-2")
    )
    for key, value in fresh.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[key], rtol=0, atol=1e-6, msg=key)


def _child(rank, port, folder):
    torch.set_num_threads(1)  # the parent's threads did not come along
    os.environ |= {
        "ACCELERATE_USE_CPU": "true",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
    }
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    AcceleratorState._reset_state(reset_partial_state=True)
    run = trainer(make("llama", dtype=torch.float32), folder, uneven(), per_device_train_batch_size=2)
    run.train()
    run.save_model()


def uneven():
    """Side ids in the rows of one process only: the other's tables must still take part."""
    rows = rows_of("llama")
    for row in rows[::2]:
        row["side_ids"] = torch.full_like(row["side_ids"], -1)
    return rows


def test_two_processes_learn_what_one_does(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_child, args=(rank, port, tmp_path / "two")) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0, 0]
    alone = make("llama", dtype=torch.float32)
    before = copy.deepcopy(alone.state_dict())
    trainer(alone, tmp_path / "one", uneven()).train()
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "two").state_dict()
    moved = 0
    for key, value in alone.state_dict().items():
        way, apart = (value - before[key]).norm(), (found[key] - value).norm()
        moved += bool(way > 0)
        assert apart <= 0.05 * way + 1e-6, key  # Adam makes whole steps of the rounding of a gradient near zero
    assert moved > 20
