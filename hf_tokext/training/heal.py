"""Healing: a short fine-tuning after a change of vocabulary."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import is_torch_bf16_gpu_available

from hf_tokext.errors import TextError, UnsupportedModelError, VerificationError
from hf_tokext.measure.causal import check_causal, check_vocabulary, check_window
from hf_tokext.training.adapters import attach, detach, is_tied, reloads_tied
from hf_tokext.training.packing import collate, pack
from hf_tokext.training.recovery import HealReport, Recovery, curve_of
from hf_tokext.training.stopped_run import last_checkpoint

LEARNING_RATES = {"rows": 3e-3, "lora": 5e-4, "all": 1e-4}
LOGITS_AT_ONCE = 2**27  # numbers in the logits of a forward pass: 512 MiB of float32


class _Bar(ProgressCallback):
    """The trainer's progress bar without a printed line at every step."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Say nothing; the losses are in the report."""


def heal_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    steps: int,
    tokens_per_step: int = 1024,
    window: int = 512,
    train: str = "rows",
    learning_rate: float | None = None,
    new_ids: Sequence[int] | None = None,
    eval_texts: Sequence[str] | None = None,
    eval_every: int | None = None,
    output_dir: str | PathLike[str] | None = None,
    save_every: int | None = None,
    resume: bool = False,
    merge: bool = True,
    bf16: bool | None = None,
    seed: int = 0,
    progress: bool = True,
) -> tuple[Any, HealReport]:
    """Fine-tune a causal model for a few steps with transformers' Trainer, where accelerate places it.

    Weights and optimizer are float32; products are bfloat16 where the hardware computes in it (3.2 times the tokens a
    second on a CPU with AVX512-BF16). The recovery curve is measured in the same precision.

    The texts are packed into windows, each opened by bos; AdamW without weight decay, warm-up over a tenth of the
    steps, then cosine decay. Learning single rows follows PEFT's trainable tokens, LoRA is Hu et al. 2021.

    Args:
        model: a causal language model; it is changed in place, and gets its dtypes back afterwards.
        tokenizer: its tokenizer.
        texts: what to learn from.
        steps: optimizer steps.
        tokens_per_step: ids in a step, rounded up to whole windows (and to whole windows a device).
        window: ids in a window, the opening one included.
        train: "rows" (rows of `new_ids` only), "lora" (LoRA on linear layers, both matrices whole) or "all".
        learning_rate: the peak; None is 3e-3 for rows, 5e-4 for lora, 1e-4 for all.
        new_ids: ids whose rows are learned with "rows"; None is every id.
        eval_texts: held-out texts for the recovery curve; None draws none.
        eval_every: steps between two points of the curve; None is a fifth of the steps.
        output_dir: folder for checkpoints to resume from; None keeps none.
        save_every: steps between checkpoints; None is a fifth of the steps.
        resume: go on from the last checkpoint in `output_dir`, if there is one.
        merge: merge the adapter back; without it the PEFT model is returned.
        bf16: compute in bfloat16; None where the hardware does so natively.
        seed: seed of everything random.
        progress: show the trainer's progress bar.

    Returns:
        The healed model in eval mode, and the report with its recovery curve.

    Raises:
        TextError: no text, an empty one, or a window that does not fit.
        UnsupportedModelError: not a causal model, or `train` cannot be done with it.
        VocabularyError: tokenizer and model do not belong together, or a new id has no row.
        OutputExistsError: `output_dir` holds checkpoints and `resume` is off.
        VerificationError: the loss did not stay finite.
        CheckpointError: the checkpoints are those of a run with other settings.
    """
    if steps < 1 or tokens_per_step < 1:
        raise TextError(f"healing needs at least one step and one token a step, not {steps} and {tokens_per_step}")
    check_causal(model, "healing")
    rows = check_vocabulary(model, tokenizer)
    if train == "lora" and not merge and is_tied(model) and not reloads_tied(model):
        raise UnsupportedModelError(
            "PEFT would load this adapter without the tie of the two matrices: merge it, or train rows or all"
        )
    data = pack(tokenizer, texts, window)
    check_window(model, max(map(len, data.windows)))
    rate = LEARNING_RATES.get(train, 0.0) if learning_rate is None else learning_rate
    settings: dict[str, Any] = {
        "steps": steps,
        "tokens_per_step": tokens_per_step,
        "window": window,
        "train": train,
        "rate": rate,
    }
    settings |= {
        "seed": seed,
        "bf16": native_bf16() if bf16 is None else bf16,
        "new_ids": None if new_ids is None else _hash(sorted(new_ids)),
        "data": _hash(data.windows),
    }

    set_seed(seed)
    tied, dtypes = is_tied(model), {name: each.dtype for name, each in _tensors(model)}
    learnable = {name: each.requires_grad for name, each in model.named_parameters()}
    started = time.perf_counter()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch if output_dir is None else output_dir)
        last = last_checkpoint(folder, resume, settings)
        trained = attach(model, train, new_ids).float()
        arguments = _arguments(
            folder, steps, tokens_per_step, window, rows, rate, seed, progress, settings["bf16"],
            save_every=None if output_dir is None else save_every or max(1, steps // 5),
        )  # fmt: skip
        trainer = Trainer(model=trained, args=arguments, train_dataset=data, data_collator=collate)
        for printing in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(printing)
        if progress:
            trainer.add_callback(_Bar)
        if eval_texts:
            trainer.add_callback(Recovery(trained, tokenizer, eval_texts, eval_every or max(1, steps // 5), window))
        trainer.train(resume_from_checkpoint=last)
        trainer.accelerator.unwrap_model(trained, keep_fp32_wrapper=False)  # gives the model its own forward back

    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    if not all(map(math.isfinite, losses)):
        raise VerificationError(f"the loss is not finite any more: try a learning rate below {rate:g}")
    report = HealReport(
        train=train,
        steps=int(trainer.state.global_step),
        tokens_seen=int(trainer.state.num_input_tokens_seen),
        passes=int(trainer.state.num_input_tokens_seen) / sum(map(len, data.windows)),
        learning_rate=rate,
        seed=seed,
        trained_parameters=sum(each.numel() for each in trained.parameters() if each.requires_grad),
        parameters=sum(each.numel() for each in trained.parameters()),
        seconds=time.perf_counter() - started,
        resumed_from=None if last is None else int(last.rpartition("-")[2]),
        losses=losses,
        curve=curve_of(trainer.state),
    )
    if not merge:
        return trained.eval(), report
    healed = detach(trained, tied)
    for name, tensor in _tensors(healed):
        tensor.data = tensor.data.to(dtypes[name])
    for name, parameter in healed.named_parameters():
        parameter.requires_grad_(learnable[name])
        parameter.grad = None
    return healed.eval(), report


def processes() -> PartialState:
    """The processes that learn together, and where this one stands among them."""
    # told where there is nothing but CPUs: only then does it count the processes that were launched on them
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


def native_bf16() -> bool:
    """Whether the hardware that training would run on multiplies bfloat16 natively."""
    if torch.accelerator.is_available():
        return bool(is_torch_bf16_gpu_available())
    return bool(torch.cpu._is_avx512_bf16_supported())


def _tensors(model: PreTrainedModel) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _arguments(
    folder: Path,
    steps: int,
    tokens_per_step: int,
    window: int,
    rows: int,
    rate: float,
    seed: int,
    progress: bool,
    bf16: bool,
    save_every: int | None,
) -> TrainingArguments:
    """Batch sizes that keep the logits within bounds, and everything that makes a run repeatable."""
    state = processes()
    devices = state.num_processes
    if devices == 1 and state.device.type == "cuda":
        devices = max(1, torch.cuda.device_count())  # the trainer splits a batch over them
    windows = -(-tokens_per_step // window)
    share = -(-windows // devices)
    at_once = max(
        size
        for size in range(1, share + 1)
        if share % size == 0 and size * rows * window <= max(LOGITS_AT_ONCE, rows * window)
    )
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=share // at_once,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=steps // 10,
        weight_decay=0.0,
        seed=seed,
        data_seed=seed,
        bf16=bf16,
        use_cpu=state.device.type == "cpu",
        include_num_input_tokens_seen="non_padding",
        save_strategy="no" if save_every is None else "steps",
        save_steps=save_every or steps,
        save_total_limit=2,
        logging_steps=1,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=state.device.type == "cuda",
        disable_tqdm=not progress,
    )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
