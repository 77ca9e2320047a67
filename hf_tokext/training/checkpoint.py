"""Healing a checkpoint folder: a folder in, a folder out."""

import json
import shutil
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import transformers
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import CHAT_TEMPLATE_DIR

from hf_tokext.errors import CheckpointError, MissingExtraError, OutputExistsError
from hf_tokext.measure.plots import plot_recovery
from hf_tokext.saved_json import read_json
from hf_tokext.training.heal import heal_model, processes
from hf_tokext.training.recovery import HealReport
from hf_tokext.training.stopped_run import forget, work_folder
from hf_tokext.transplant.checkpoint import open_checkpoint
from hf_tokext.transplant.checkpoint_source import checked_file
from hf_tokext.transplant.folder import output_folder, refuse_overlap
from hf_tokext.transplant.report import REPORT_JSON, REPORT_MARKDOWN
from hf_tokext.transplant.tokenizer_files import check_tokenizer_files, load_tokenizer

PLOT = "hf_tokext_recovery.png"
WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".gguf", ".ggml", ".h5", ".hdf5", ".msgpack", ".onnx",
    ".onnx_data", ".tflite", ".npz", ".npy", ".index", ".index.json",
)  # fmt: skip
KEPT_SOURCES = ("anchor", "role", "quiet")  # copied as they are from the base, or held at no probability


def heal_checkpoint(
    folder: str | PathLike[str],
    texts: Sequence[str],
    output_dir: str | PathLike[str] | None = None,
    *,
    steps: int,
    train: str = "rows",
    merge: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> tuple[Path, HealReport]:
    """Heal a checkpoint and write the result beside it; the checkpoint itself is not touched.

    Weights are learned in float32 and written in the dtypes of the checkpoint; every other file (config, tokenizer,
    chat template, report) is copied as it is. The report gets a "heal" entry for every run, with its recovery curve.
    While it runs, the hidden folder `.<output>.tokext-training` beside the result holds what a stopped run is resumed
    from.

    Args:
        folder: the checkpoint, as `transplant_checkpoint` or `save_pretrained` wrote it.
        texts: what to learn from.
        output_dir: result; None is the folder's name with "-healed".
        steps: optimizer steps.
        train: "rows", "lora" or "all"; "rows" learns the ids that the folder's report calls new, else every id.
        merge: merge the adapter back; without it the result holds the adapter only.
        resume: go on from the last checkpoint of a stopped run.
        overwrite: replace the result, and forget a stopped run that is not resumed.
        **options: further options of `heal_model`.

    Returns:
        The result's folder, and the report.

    Raises:
        CheckpointError: the folder is no checkpoint, or the stopped run had other settings.
        UnsafeCheckpointError: a file of it lies outside the folder, or its weights are pickled.
        VocabularyError: its tokenizer.json is not read (see `read_tokenizer_json`).
        OutputExistsError: the result exists and `overwrite` is off, or a stopped run or something else is in the way.
    """
    source = Path(folder)
    target = source.with_name(f"{source.name}-healed") if output_dir is None else Path(output_dir)
    refuse_overlap(target, source)
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists; choose another --output or pass --overwrite")

    checkpoint = open_checkpoint(source)
    check_tokenizer_files(checkpoint.path)
    state = processes()
    training = work_folder(target)
    state.wait_for_everyone()  # all have looked before one removes
    if overwrite and not resume and state.is_main_process:
        forget(training)
    state.wait_for_everyone()
    model_class = getattr(transformers, checkpoint.architecture)
    model = model_class.from_pretrained(checkpoint.path, dtype="auto", use_safetensors=True)
    tokenizer = load_tokenizer(checkpoint.path, checkpoint.source)
    report_json = _read_report(checkpoint.path)
    options.setdefault("new_ids", new_ids_of(report_json))
    try:
        healed, report = heal_model(
            model,
            tokenizer,
            texts,
            steps=steps,
            train=train,
            merge=merge,
            resume=resume,
            output_dir=training,
            **options,
        )
    except BaseException:
        if state.is_main_process and training.is_dir() and get_last_checkpoint(str(training)) is None:
            forget(training)  # there is nothing to resume from
        raise

    if state.is_main_process:
        report_json.setdefault("heal", []).append(report.to_dict())
        with output_folder(target, overwrite=overwrite) as scratch:
            healed.save_pretrained(scratch)
            if merge:
                _copy_the_rest(checkpoint.path, scratch)
            (scratch / REPORT_JSON).write_text(json.dumps(report_json), encoding="utf-8")
            with (scratch / REPORT_MARKDOWN).open("a", encoding="utf-8") as markdown:
                markdown.write(report.to_markdown())
            if report.curve:
                _draw(report, scratch / PLOT)
        forget(training)
    state.wait_for_everyone()
    return target, report


def new_ids_of(report: dict[str, Any]) -> list[int] | None:
    """Ids whose rows were made rather than copied, by a transplant's report; None where it does not say.

    Args:
        report: the content of `hf_tokext_report.json`; "sources" holds the word of the plan for every id.

    Returns:
        The ids, ascending.
    """
    sources = report.get("sources")
    if not isinstance(sources, list):
        return None
    return [token_id for token_id, source in enumerate(sources) if source not in KEPT_SOURCES]


def _read_report(folder: Path) -> dict[str, Any]:
    path = folder / REPORT_JSON
    try:
        return read_json(path) if path.exists() else {}
    except CheckpointError as error:
        raise CheckpointError(f"{error}, or remove it: then every row counts as new") from error


def _copy_the_rest(source: Path, target: Path) -> None:
    """Copy all files that are not weights, in whatever format: those of the source are the model before it was healed.

    config.json is copied too, since nothing in it changed.
    """
    for path in sorted([*source.iterdir(), *(source / CHAT_TEMPLATE_DIR).glob("*.jinja")]):
        if path.is_file() and not path.name.lower().endswith(WEIGHTS):
            name = path.relative_to(source).as_posix()
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(checked_file(source, name), target / name)


def _draw(report: HealReport, path: Path) -> None:
    try:
        plot_recovery(path, {report.train: [(p.tokens_seen, p.bits_per_byte) for p in report.curve]})
    except MissingExtraError:
        return  # the curve is in the report; the plot is an extra
