"""Training a codec on a folder of files."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from hf_tokext.errors import CodecError, VerificationError
from hf_tokext.measure.audio import si_snr
from hf_tokext.measure.images import psnr
from hf_tokext.measure.plots import figure, plot_losses, plot_pairs
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.models.codec_report import CURVES, REPORT, SAMPLES
from hf_tokext.training.codec_files import find_files
from hf_tokext.training.heal import processes
from hf_tokext.training.modalities import Modality
from hf_tokext.training.stopped_run import forget, last_checkpoint, work_folder
from hf_tokext.transplant.folder import output_folder, refuse_existing, refuse_overlap

HELD_OUT = 10  # one file of so many is not learned from
MOST_HELD = 256  # files that are measured on
SHOWN = 8
BEST = 100.0  # decibels: of what comes back as it was, and below 0 of what does not come back at all


@dataclass
class CodecReport:
    """What a training did.

    Attributes:
        modality: "image", "audio" or "depth".
        files: that were learned from.
        held_out: files that were not, and that the rest was measured on.
        left_out: why files could not be read, by their paths in the folder; in the JSON only how many.
        steps: optimizer steps.
        losses: (step, loss) on what is learned from.
        held_out_losses: (step, loss) on held-out files.
        quality: on held-out files: `psnr` (decibels; images and depth, of values in 0 to 1) or `si_snr` (decibels; audio),
            a mean over those of which it can be told: silence has none.
        usage: of each codebook on held-out files: `used`, a share of its codes, and `perplexity`.
        codebook_sizes: number of codes of each codebook.
        seconds: wall time of this run.
    """

    modality: str
    files: int
    held_out: int
    steps: int
    left_out: dict[str, str] = field(default_factory=dict)
    losses: list[tuple[int, float]] = field(default_factory=list)
    held_out_losses: list[tuple[int, float]] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)
    usage: list[dict[str, float]] = field(default_factory=list)
    codebook_sizes: list[int] = field(default_factory=list)
    seconds: float = 0.0


class _Files(Dataset):
    """Files, read when they are asked for: whole, or with a seed pieces of them, others in every epoch.

    In the place of a file that cannot be read stands the next one that can.
    """

    def __init__(self, paths: Sequence[Path], modality: Modality, processor: Any, seed: int | None = None) -> None:
        self.paths, self.modality, self.processor, self.seed, self.epoch = paths, modality, processor, seed, 0
        self.left_out: dict[Path, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, path: Path) -> Any:
        """What is in a file; None if it cannot be read."""
        if path in self.left_out:
            return None
        try:
            return self.modality.read(path)
        except CodecError as error:
            self.left_out[path] = str(error)
            return None

    def __getitem__(self, number: int) -> Any:
        turned = (self.paths[place % len(self)] for place in range(number, number + len(self)))
        whole = next((found for path in turned if (found := self.read(path)) is not None), None)
        if whole is None:
            raise CodecError(f"none of {len(self)} files can be read; {self.left_out[self.paths[number]]}")
        if self.seed is None:
            return whole
        chance = torch.Generator()  # of its own: a resumed run must cut what it would have cut
        chance.manual_seed(hash((self.seed, self.epoch, number)) % 2**63)  # numbers hash alike everywhere
        return self.modality.piece(whole, self.processor, chance)


class _Epochs(TrainerCallback):
    """Tells the files of each new epoch; `set_epoch` is not told when a resumed run goes on within one."""

    def __init__(self, files: _Files) -> None:
        self.files = files

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell them."""
        self.files.epoch = int(state.epoch + 1e-6)


class _Trainer(Trainer):
    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """As upstream, but for codes that are learned: decay would draw those that are seldom used to nothing."""
        return [name for name in super().get_decay_parameter_names(model) if "quantizer" not in name.split(".")]


class _Bar(ProgressCallback):
    """The trainer's progress bar without printed lines; the losses are in the report."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Say nothing."""


def train_codec(
    data: str | PathLike[str],
    output_dir: str | PathLike[str],
    *,
    modality: str | None = None,
    options: dict[str, Any] | None = None,
    steps: int = 1000,
    batch: int = 16,
    learning_rate: float = 1e-3,
    eval_every: int | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Path, CodecReport]:
    """Train a new codec on a folder of images, recordings or depth maps, with transformers' Trainer.

    One file in ten is held out; files that cannot be read are left out and named in the report. The result holds the codec
    with its processor, a report as JSON, its curves, and held-out files beside what comes back of them, as pictures. While
    it runs, the hidden folder `.<output>.tokext-training` beside the result holds what a stopped run is resumed from.

    Args:
        data: the folder; all folders in it are searched.
        output_dir: the result.
        modality: "image", "audio" or "depth"; None is that of which there are files.
        options: of the codec's config, such as {"image_size": 32, "quantizer": "fsq"}.
        steps: optimizer steps.
        batch: pieces of files a step (a device).
        learning_rate: the peak, after a warm-up over a twentieth of the steps; it falls to 0 as a cosine does.
        eval_every: steps between two measurements on held-out files, and between checkpoints; None is a fifth of the steps.
        seed: seed of everything random.
        resume: go on from the last checkpoint of a stopped run.
        overwrite: replace the result, and forget a stopped run that is not resumed.
        progress: show a progress bar.

    Returns:
        The result's folder, and the report.

    Raises:
        CodecError: there are fewer than two files, all to learn from or all held out cannot be read, or the options are
            impossible.
        OutputExistsError: the result exists and `overwrite` is off, or a stopped run or something else is in the way.
        CheckpointError: the stopped run had other settings.
        VerificationError: the loss did not stay finite.
    """
    if min(steps, batch) < 1 or not learning_rate > 0 or (eval_every is not None and eval_every < 1):
        raise CodecError("steps, batch, learning_rate and eval_every must be positive")
    figure()  # what is missing for pictures is said before the work, not after it
    target = Path(output_dir)
    refuse_existing(target, overwrite)
    kind, files = find_files(Path(data), modality)
    refuse_overlap(target, Path(data))
    learned, held = [each for number, each in enumerate(files) if number % HELD_OUT], files[::HELD_OUT][:MOST_HELD]
    if not learned:
        raise CodecError(f"{data} has one file of {kind.name}; at least two are needed, one of them to measure on")
    set_seed(seed)
    pieces, whole = _Files(learned, kind, None, seed), _Files(held, kind, None)
    readable = next((path for path in learned if pieces.read(path) is not None), learned[0])
    codec, processor = kind.make(readable, options or {})
    pieces.processor = whole.processor = processor
    state, work = processes(), work_folder(target)
    settings = {
        "data": [str(each.relative_to(data)) for each in files], "options": json.loads(json.dumps(options or {})),
        "modality": kind.name, "steps": steps, "batch": batch, "learning_rate": learning_rate, "seed": seed,
        "processes": state.num_processes,
    }  # fmt: skip
    state.wait_for_everyone()
    if overwrite and not resume and state.is_main_process:
        forget(work)
    state.wait_for_everyone()
    last = last_checkpoint(work, resume, settings)
    started = time.perf_counter()
    every = eval_every or max(steps // 5, 1)
    arguments = TrainingArguments(
        output_dir=str(work), max_steps=steps, per_device_train_batch_size=batch, per_device_eval_batch_size=batch,
        learning_rate=learning_rate, lr_scheduler_type="cosine", warmup_steps=max(steps // 20, 1), weight_decay=0.01,
        seed=seed, data_seed=seed, use_cpu=state.device.type == "cpu", save_strategy="steps", save_steps=every,
        save_total_limit=2, eval_strategy="steps", eval_steps=every, logging_steps=max(steps // 100, 1),
        report_to="none", remove_unused_columns=False, prediction_loss_only=True, disable_tqdm=not progress,
        dataloader_pin_memory=state.device.type == "cuda", logging_nan_inf_filter=False,
    )  # fmt: skip
    trainer = _Trainer(
        model=codec,
        args=arguments,
        train_dataset=pieces,
        eval_dataset=whole,
        data_collator=lambda read: dict(kind.features(processor, read)),
    )
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    trainer.add_callback(_Epochs(pieces))
    if progress:
        trainer.add_callback(_Bar)
    try:
        trainer.train(resume_from_checkpoint=last)
    except BaseException:
        if state.is_main_process and not any(work.glob("checkpoint-*")):
            forget(work)  # there is nothing to resume from
        raise
    history = trainer.state.log_history
    bad = {path: said for each in gather_object([pieces.left_out, whole.left_out]) for path, said in each.items()}
    whole.left_out = bad
    report = CodecReport(
        kind.name, len(set(learned) - bad.keys()), len(set(held) - bad.keys()), int(trainer.state.global_step)
    )
    report.left_out = {path.relative_to(data).as_posix(): bad[path] for path in sorted(bad)}
    report.losses = [(int(entry["step"]), float(entry["loss"])) for entry in history if "loss" in entry]
    report.held_out_losses = [
        (int(entry["step"]), float(entry["eval_loss"])) for entry in history if "eval_loss" in entry
    ]
    if not all(math.isfinite(loss) for _, loss in (*report.losses, *report.held_out_losses)):
        raise VerificationError(f"the loss is not finite any more: try a learning rate below {learning_rate:g}")
    codec = trainer.accelerator.unwrap_model(codec).eval()
    if state.is_main_process:
        pairs = _measure(codec, whole, batch, report)
        report.seconds = time.perf_counter() - started
        with output_folder(target, overwrite=overwrite) as scratch:
            codec.save_pretrained(scratch)
            processor.save_pretrained(scratch)
            noted = asdict(report) | {"left_out": len(report.left_out)}  # it may be pushed, and names are the user's
            (scratch / REPORT).write_text(json.dumps(noted, indent=1), encoding="utf-8")
            plot_losses(scratch / CURVES, {"learned from": report.losses, "held out": report.held_out_losses})
            plot_pairs(scratch / SAMPLES, [(kind.picture(one), kind.picture(other)) for one, other in pairs])
        forget(work)
    state.wait_for_everyone()
    return target, report


@torch.no_grad()
def _measure(codec: ModalityCodec, held: _Files, batch: int, report: CodecReport) -> list[tuple[Tensor, Tensor]]:
    """Fill in what held-out files tell; gives some of them beside what comes back."""
    found: list[tuple[Tensor, Tensor]] = []
    scores: list[float] = []
    kind, paths = held.modality, [path for path in held.paths if path not in held.left_out]
    codec.quantizer.reset_usage()
    for start in range(0, len(paths), batch):
        features = kind.features(held.processor, [kind.read(path) for path in paths[start : start + batch]])
        output = codec(**features.to(codec.device))
        for number, (one, other) in enumerate(
            zip(features[codec.main_input_name].cpu(), output.reconstruction.float().cpu(), strict=True)
        ):
            if kind.name == "audio":
                length = int(features["padding_mask"][number].sum())
                one, other = one[..., :length], other[..., :length]
                if bool((one != one[..., :1]).any()):
                    scores.append(si_snr(other.reshape(-1), one.reshape(-1)))
            elif kind.name == "image":
                scores.append(float(psnr((other / 2 + 0.5).clamp(0, 1)[None], (one / 2 + 0.5)[None])[0]))
            else:
                apart = (other.clamp(0, 1) - one)[0][features["pixel_mask"][number].cpu()]
                scores += [-10 * math.log10(max(float(apart.square().mean()), 1e-10))] if len(apart) else []
            found += [(one, other)] if len(found) < SHOWN else []
    name = "si_snr" if kind.name == "audio" else "psnr"
    report.quality = {name: sum(min(max(each, -BEST), BEST) for each in scores) / len(scores)} if scores else {}
    report.usage = [{"used": each.used, "perplexity": each.perplexity} for each in codec.quantizer.usage()]
    report.codebook_sizes = list(codec.codebook_sizes)
    return found
