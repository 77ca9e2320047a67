"""Transplanting a tokenizer onto a checkpoint on disk, shard by shard, into a new folder."""

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from hf_tokext.errors import RowMethodError, UnsupportedModelError, VocabularyError
from hf_tokext.rows import row_method
from hf_tokext.transplant.checkpoint import Checkpoint, open_checkpoint
from hf_tokext.transplant.checkpoint_source import checked_file
from hf_tokext.transplant.cost import estimate_cost
from hf_tokext.transplant.direction import head_direction
from hf_tokext.transplant.folder import output_folder, refuse_existing, refuse_overlap
from hf_tokext.transplant.identifiers import new_generation_config, update_config, updated_json
from hf_tokext.transplant.method import choose_method
from hf_tokext.transplant.origin import origins
from hf_tokext.transplant.plan import Plan, make_plan
from hf_tokext.transplant.report import Report
from hf_tokext.transplant.safetensors_writer import write_checkpoint_tensors
from hf_tokext.transplant.tables import TableOptions, Tables, new_tables
from hf_tokext.transplant.tokenizer_files import tokenizer_folder, with_digit_scheme, write_tokenizer
from hf_tokext.transplant.train_tokenizer import train_tokenizer
from hf_tokext.transplant.verify import QUIET_MASS, verify_checkpoint
from hf_tokext.transplant.vocabulary_tensors import VocabularyTensors, vocabulary_tensors
from hf_tokext.transplant.words import word_vectors_for
from hf_tokext.vocabulary.pieces import Vocabulary, read_vocabulary

# said of a tokenizer that was trained or rewritten here; donors' own tokenizers are known or not as they are
DEPLOYMENT = (
    "llama.cpp's converter knows pre-tokenizers by a hash of what they make of one text: it refuses a newly made "
    "tokenizer until that hash is added to it; transformers, vLLM and others read tokenizer.json"
)
KEPT_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
Progress = Callable[[str, int, int], None]


def transplant_checkpoint(
    base: str | Path,
    donor: str | Path | PreTrainedTokenizerBase | None,
    output_dir: str | Path,
    *,
    train_on: Sequence[str] | None = None,
    vocab_size: int | None = None,
    digits: str | None = None,
    method: str = "auto",
    method_options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, str] | None = None,
    texts: Sequence[str] | None = None,
    match_rows: bool = False,
    pad_to_multiple_of: int | None = None,
    calibrate: bool = True,
    dtype: torch.dtype | None = None,
    max_memory: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    **hub: Any,
) -> Report:
    """Put another tokenizer on a checkpoint and write the result as an ordinary checkpoint.

    The output folder appears whole and proved, or not at all; the base is never touched.

    Args:
        base: folder or Hub id of a causal, masked or encoder-decoder LM in safetensors.
        donor: folder or Hub id with a tokenizer, with or without weights; a tokenizer object; or None with `train_on`
            or `digits`.
        output_dir: the folder to make.
        train_on: texts to train a new tokenizer on, with the base tokenizer's own pipeline.
        vocab_size: ids of the new tokenizer; needed with `train_on`.
        digits: the scheme ("single", "left3", "right3") by which the new tokenizer, or without one the base's own, is
            rewritten to cut numbers; see `rewrite_digits`.
        method: a row method, or "auto" (see `choose_method`).
        method_options: options of the row method.
        overrides: text of a new token to the base token or text whose rows it shall have.
        texts: the user's own text, for word vectors, calibration and the counts in the report.
        match_rows: as many rows as the donor's weights have, as speculative decoding asks of a draft model.
        pad_to_multiple_of: rounds the rows up.
        calibrate: run the base once over a few thousand tokens (see `transplant_tokenizer`); needs the model in memory.
        dtype: what all float tensors become; None keeps every dtype.
        max_memory: bytes of work space that a row method may take.
        overwrite: replace an existing checkpoint folder.
        dry_run: stop after the plan and its cost; nothing is written, and no weights are read except to compare two
            stored copies of one matrix.
        seed: seed of everything random.
        progress: takes (stage, done, total).
        **hub: revision, token, cache_dir, for Hub ids.

    Returns:
        The report, which is also in the folder.

    Raises:
        TokextError: one of its kinds; see `hf_tokext.errors`.
    """
    tell = progress or (lambda stage, done, total: None)
    checkpoint = open_checkpoint(base, **hub)
    refuse_overlap(output_dir, checkpoint.path, *([donor] if isinstance(donor, str | Path) else []))
    if not dry_run:
        refuse_existing(output_dir, overwrite)  # before any work; asked again when the folder is made
    with tokenizer_folder(checkpoint.path, **hub) as base_folder:
        base_tokenizer = _tokenizer(base_folder, checkpoint.source)
        own = base_folder if donor is None and train_on is None and digits else None
        chosen_donor = own or _donor(donor, train_on, vocab_size, base_tokenizer)
        with tokenizer_folder(chosen_donor, **hub) as source, with_digit_scheme(source, digits) as donor_folder:
            tell("plan", 0, 1)
            found = vocabulary_tensors(checkpoint)
            donor_name = donor if isinstance(donor, str | Path) else "the new tokenizer"
            old, new = _vocabulary(base_folder, checkpoint.source), _vocabulary(donor_folder, donor_name)
            chosen = choose_method(method)
            needs_donor = "donor" in row_method(chosen).needs
            weights = _donor_weights(chosen, donor, len(new), hub) if needs_donor or match_rows else None
            plan = make_plan(
                old,
                new,
                base_rows=found.rows,
                method=chosen,
                overrides=overrides,
                rows=weights[1].rows if match_rows and weights else None,
                multiple=pad_to_multiple_of,
            )
            tell("plan", 1, 1)
            donor_tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(donor_folder)
            counts = _token_counts(base_tokenizer, donor_tokenizer, texts)
            runs_base = calibrate and _moves(plan)
            cost = estimate_cost(
                plan,
                checkpoint,
                found,
                donor=weights if needs_donor else None,
                dtype=dtype,
                calibrates=runs_base,
                calibration_dtype=_calibration_dtype(),
                tokenizer_folder=donor_folder,
                method_options=method_options,
                max_memory=max_memory,
            )
            named = origins(base, donor, trained=train_on is not None, **hub)
            deployment = [DEPLOYMENT] if train_on is not None or digits else []
            if dry_run:
                report = Report.of(plan, {}, tied=found.tied, calibrated=calibrate, text=counts, cost=cost, **named)
                report.warnings.extend(deployment)
                return report
            with output_folder(output_dir, overwrite=overwrite, needed=cost.disk) as folder:
                options = TableOptions(
                    donor=_tables(*weights) if weights and needs_donor else None,
                    direction=_direction(checkpoint, base_tokenizer, texts) if runs_base else None,
                    word_vectors=word_vectors_for(chosen, donor_tokenizer, texts, seed),
                    method_options=method_options or {},
                    seed=seed,
                    max_memory=max_memory,
                    progress=lambda done, total: tell("rows", done, total),
                )
                tables, residual = new_tables(plan, _tables(checkpoint, found), options)
                calibrated = options.direction is not None or bool(found.biases)
                report = Report.of(plan, residual, tied=found.tied, calibrated=calibrated, text=counts, **named)
                _write(checkpoint, found, tables, plan, folder, dtype, lambda d, t: tell("weights", d, t))
                report.warnings.extend(write_tokenizer(donor_folder, checkpoint.path, old, new, folder) + deployment)
                tell("verify", 0, 1)
                proofs = verify_checkpoint(folder, donor_folder, plan, tied=found.tied, texts=texts)
                report.verification.update(proofs)
                if proofs.get("quiet mass", 0.0) > QUIET_MASS:
                    report.warnings.append(
                        f"ids that are never used hold {proofs['quiet mass']:.1e} of the probability; generation "
                        "suppresses them, likelihoods do not"
                    )
                report.save(folder)
                tell("verify", 1, 1)
    return report


def _tokenizer(folder: Path, source: str) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # transformers raises many kinds
        raise VocabularyError(f"{source} holds no tokenizer that transformers can load: {error}") from error


def _vocabulary(folder: Path, source: str | Path) -> Vocabulary:
    vocabulary = read_vocabulary(folder)
    if len(vocabulary.ids) - len(vocabulary.special) < 2:
        # from a folder that has only config.json, AutoTokenizer makes one with special tokens alone
        raise VocabularyError(f"{source} holds no tokenizer, or an empty one: put its tokenizer.json into the folder")
    return vocabulary


def _donor(
    donor: str | Path | PreTrainedTokenizerBase | None,
    train_on: Sequence[str] | None,
    vocab_size: int | None,
    base_tokenizer: PreTrainedTokenizerBase,
) -> str | Path | PreTrainedTokenizerBase:
    if (donor is None) == (train_on is None):
        raise RowMethodError("give a donor, or text to train a new tokenizer on (not both), or a digit scheme")
    if donor is not None:
        return donor
    if vocab_size is None:
        raise RowMethodError("say how many ids the new tokenizer shall have (vocab_size, --vocab-size N)")
    return train_tokenizer(base_tokenizer, train_on or (), vocab_size)


def _donor_weights(method: str, donor: Any, ids: int, hub: dict[str, Any]) -> tuple[Checkpoint, VocabularyTensors]:
    """Where the donor's tables lie; nothing but headers is read."""
    if not isinstance(donor, str | Path):
        raise RowMethodError(f"row method {method!r} or --match-rows needs a donor checkpoint with weights")
    checkpoint = open_checkpoint(donor, **hub)
    found = vocabulary_tensors(checkpoint)
    if found.rows < ids:
        raise RowMethodError(f"{donor} has {found.rows} rows but its tokenizer {ids} ids")
    return checkpoint, found


def _tables(checkpoint: Checkpoint, found: VocabularyTensors) -> Tables:
    output = None if found.tied or not found.output else checkpoint.read(found.output[0])
    biases = {name: checkpoint.read(name) for name in found.biases}
    return Tables(checkpoint.read(found.input[0]), output, biases, found.has_head)


def _moves(plan: Plan) -> bool:
    return bool(plan.made or plan.quiet)


def _direction(
    checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str] | None
) -> Tensor | None:
    model_class = getattr(transformers, checkpoint.architecture)
    try:
        model = model_class.from_pretrained(
            checkpoint.path, use_safetensors=True, device_map="auto", dtype=_calibration_dtype() or "auto"
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UnsupportedModelError(
            f"the base cannot be loaded to calibrate the new rows ({error}); pass calibrate=False (--no-calibrate)"
        ) from error
    return head_direction(model, tokenizer, texts)


def _calibration_dtype() -> torch.dtype | None:
    """None, as stored, on an accelerator; float32 on a CPU, where halves are many times slower."""
    return None if torch.accelerator.is_available() else torch.float32


def _write(
    checkpoint: Checkpoint,
    found: VocabularyTensors,
    tables: Tables,
    plan: Plan,
    folder: Path,
    dtype: torch.dtype | None,
    progress: Callable[[int, int], None],
) -> None:
    replace: dict[str, Tensor] = dict.fromkeys(found.input, tables.input)
    if tables.output is not None:
        replace |= dict.fromkeys(found.output, tables.output)
    write_checkpoint_tensors(checkpoint, folder, replace=replace | dict(tables.biases), dtype=dtype, progress=progress)
    generation_file = checkpoint.path / "generation_config.json"
    generation = GenerationConfig.from_pretrained(checkpoint.path) if generation_file.is_file() else None
    config = copy.deepcopy(checkpoint.config)
    if found.has_head:
        new_generation_config(config, plan, generation).save_pretrained(folder)
    update_config(config, plan, generation)
    content = updated_json(checkpoint.config_json, config, plan)
    for stale in ("_name_or_path", "tokenizer_class"):
        content.pop(stale, None)
    if dtype is not None:
        content["dtype"] = str(dtype).removeprefix("torch.")
        content.pop("torch_dtype", None)
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for path in checkpoint.path.iterdir():
        if path.is_file() and (path.name in KEPT_FILES or path.name.upper().startswith(("LICENSE", "NOTICE"))):
            shutil.copyfile(checked_file(checkpoint.path, path.name), folder / path.name)


def _token_counts(
    old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, texts: Sequence[str] | None
) -> dict[str, Any]:
    if not texts:
        return {}
    before, after = (sum(len(t(text, add_special_tokens=False)["input_ids"]) for text in texts) for t in (old, new))
    return {"bytes": sum(len(text.encode()) for text in texts), "tokens_before": before, "tokens_after": after}
