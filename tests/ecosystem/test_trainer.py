"""transformers' own Trainer on transplanted checkpoints and on a model of bytes: learn, stop, go on, save, reload."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    TrainerCallback,
)
from transformers.trainer_utils import get_last_checkpoint

from hf_tokext import transplant_tokenizer
from tests.ecosystem.checkpoints import KINDS, RIVERS, generated, is_tied, logits, losses, small, trainer
from tests.tiny_models import tiny
from tests.tokenizers import byte_level

TEXT = "the rivers and the bees</s>"


@pytest.fixture(params=KINDS)
def checkpoint(request, tmp_path):
    return small(request.param, tmp_path / "base")


def test_full_fine_tune_and_reload(checkpoint, tmp_path):
    model, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = trainer(model, tokenizer, tmp_path / "run")
    run.train()
    found = losses(run)
    assert len(found) == 6 and sum(found[-2:]) < sum(found[:2])
    same = [name for name, value in model.state_dict().items() if torch.equal(value, before[name])]
    assert same == []
    run.save_model(tmp_path / "out")

    loaded, again = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "out"),
        AutoTokenizer.from_pretrained(tmp_path / "out"),
    )
    assert torch.equal(logits(loaded, again), logits(model, tokenizer))
    assert is_tied(model) == is_tied(loaded) == checkpoint.tied
    assert loaded.config.vocab_size == len(loaded.get_input_embeddings().weight) == len(tokenizer)
    assert again(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert generated(loaded, again) == generated(model, tokenizer)


class Checkpointing(TrainerCallback):
    """Counts the forward passes of layers in a step: with gradient checkpointing every layer runs twice."""

    def __init__(self) -> None:
        self.passes = 0

    def on_train_begin(self, args, state, control, model=None, **kwargs) -> None:
        for module in model.modules():
            if type(module).__name__ in ("LlamaMLP", "GPT2MLP", "Qwen2MLP"):
                module.register_forward_pre_hook(self.count)

    def count(self, *_) -> None:
        self.passes += 1


def test_gradient_checkpointing_learns_the_same(checkpoint, tmp_path):
    states, found, passes = [], [], []
    for on in (False, True):
        model, tokenizer, counter = checkpoint.model(), checkpoint.tokenizer(), Checkpointing()
        run = trainer(
            model, tokenizer, tmp_path / str(on), callbacks=[counter], max_steps=3, activation_checkpointing=on,
            activation_checkpointing_kwargs={"use_reentrant": False} if on else None,
        )  # fmt: skip
        run.train()
        states.append(model.state_dict())
        found.append(losses(run))
        passes.append(counter.passes)
    assert passes == [6, 12]  # two layers, three steps
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_equals_an_uninterrupted_one(checkpoint, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "cosine", "warmup_steps": 2}
    tokenizer = checkpoint.tokenizer()
    whole = trainer(checkpoint.model(), tokenizer, tmp_path / "whole", **options)
    whole.train()

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:
            control.should_training_stop = state.global_step == 3

    stopped = trainer(checkpoint.model(), tokenizer, tmp_path / "stopped", callbacks=[Stop()], **options)
    stopped.train()
    assert stopped.state.global_step == 3
    last = tmp_path / "stopped" / "checkpoint-2"
    resumed = trainer(checkpoint.model(), tokenizer, tmp_path / "stopped", **options)
    resumed.train(resume_from_checkpoint=str(last))
    assert resumed.state.global_step == 6 and losses(resumed) == losses(whole)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    # what a trainer leaves behind is itself a checkpoint that stands alone
    final = get_last_checkpoint(str(tmp_path / "stopped"))
    assert final.endswith("checkpoint-6")
    loaded, again = AutoModelForCausalLM.from_pretrained(final), AutoTokenizer.from_pretrained(final)
    assert torch.equal(logits(loaded, again), logits(whole.model, tokenizer)) and is_tied(loaded) == checkpoint.tied


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bf16(checkpoint, dtype, tmp_path):
    """Mixed precision on float32 weights, and weights that are bfloat16 themselves."""
    model, tokenizer = checkpoint.model(dtype=dtype), checkpoint.tokenizer()
    seen = set()
    layer = next(module for module in model.modules() if type(module).__name__ in ("LlamaMLP", "GPT2MLP", "Qwen2MLP"))
    layer.register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    run = trainer(model, tokenizer, tmp_path / "run", bf16=True)
    run.train()
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert sum(losses(run)[-2:]) < sum(losses(run)[:2])
    run.save_model(tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype} and is_tied(loaded) == checkpoint.tied
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_masked_model_learns_with_its_new_mask(tmp_path):
    """BERT with a transplanted tokenizer: the collator masks with the donor's own mask token."""
    old, new = byte_level(300), byte_level(310, text=RIVERS)
    for each in (old, new):
        each.add_special_tokens({"mask_token": "<mask>"})
    model, tokenizer, _ = transplant_tokenizer(tiny("bert", vocab_size=301), old, new, calibrate=False)
    run = trainer(model, tokenizer, tmp_path / "run", max_steps=8)
    run.data_collator = DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=0.3, seed=0)
    run.train()
    assert sum(losses(run)[-3:]) < sum(losses(run)[:3])
    run.save_model(tmp_path / "out")
    loaded, again = (
        AutoModelForMaskedLM.from_pretrained(tmp_path / "out"),
        AutoTokenizer.from_pretrained(tmp_path / "out"),
    )
    text = "the cat <mask> on the log"
    assert again(text)["input_ids"].count(again.mask_token_id) == 1
    assert torch.equal(logits(loaded, again, text), logits(model, tokenizer, text))
