"""Transplanting a tokenizer onto a checkpoint on disk, shard by shard, into a new folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PreTrainedTokenizerBase

from hf_tokext.errors import RowMethodError, UnsupportedModelError, VocabularyError
from hf_tokext.rows import row_method
from hf_tokext.transplant.checkpoint import Checkpoint, open_checkpoint
from hf_tokext.transplant.cost import estimate_cost
from hf_tokext.transplant.deployment import deployment_warnings
from hf_tokext.transplant.direction import head_direction
from hf_tokext.transplant.folder import output_folder, refuse_existing, refuse_overlap
from hf_tokext.transplant.identifiers import lost_ids
from hf_tokext.transplant.method import choose_method
from hf_tokext.transplant.model_files import read_generation_config, write_model
from hf_tokext.transplant.origin import origins
from hf_tokext.transplant.plan import Overrides, Plan, make_plan
from hf_tokext.transplant.report import Report, token_counts
from hf_tokext.transplant.tables import (
    TableOptions,
    Tables,
    is_calibrated,
    needs_direction,
    new_tables,
    shared_shifts,
)
from hf_tokext.transplant.tokenizer_files import (
    load_tokenizer,
    tokenizer_folder,
    with_digit_scheme,
    with_named_tokens,
    write_tokenizer,
)
from hf_tokext.transplant.train_tokenizer import train_tokenizer
from hf_tokext.transplant.verify import QUIET_MASS, verify_checkpoint
from hf_tokext.transplant.vocabulary_tensors import VocabularyTensors, vocabulary_tensors
from hf_tokext.transplant.word_vectors import word_vectors_for
from hf_tokext.vocabulary.pieces import Vocabulary, read_vocabulary

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
    overrides: Overrides | None = None,
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
    donor_revision: str | None = None,
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
        overrides: text of a new token to the base token or text whose rows it shall have, or to base ids, of whose rows
            it shall have the mean.
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
        donor_revision: branch, tag or commit of a donor on the Hub.
        **hub: revision (the base's), token, cache_dir, for Hub ids.

    Returns:
        The report, which is also in the folder.

    Raises:
        TokextError: one of its kinds; see `hf_tokext.errors`.
    """
    tell = progress or (lambda stage, done, total: None)
    donor_hub = {name: value for name, value in hub.items() if name != "revision"} | {"revision": donor_revision}
    checkpoint = open_checkpoint(base, **hub)
    refuse_overlap(output_dir, checkpoint.path, *([donor] if isinstance(donor, str | Path) else []))
    if not dry_run:
        refuse_existing(output_dir, overwrite)  # before any work; asked again when the folder is made
    with tokenizer_folder(checkpoint.path, **hub) as base_folder:
        base_tokenizer = load_tokenizer(base_folder, checkpoint.source)
        own = base_folder if donor is None and train_on is None and digits else None
        chosen_donor = own or _donor(donor, train_on, vocab_size, base_tokenizer)
        with (
            tokenizer_folder(chosen_donor, **donor_hub) as source,
            with_digit_scheme(source, digits) as cut,
            with_named_tokens(cut) as donor_folder,
        ):
            tell("plan", 0, 1)
            generation = read_generation_config(checkpoint)
            found = vocabulary_tensors(checkpoint)
            donor_name = donor if isinstance(donor, str | Path) else "the new tokenizer"
            donor_tokenizer = load_tokenizer(donor_folder, str(donor_name))
            old = _vocabulary(base_folder, checkpoint.source, base_tokenizer)
            new = _vocabulary(donor_folder, donor_name, donor_tokenizer)
            chosen = choose_method(method)
            needs_donor = "donor" in row_method(chosen).needs
            weights = _donor_weights(chosen, donor, len(new), donor_hub) if needs_donor else None
            plan = make_plan(
                old,
                new,
                base_rows=found.rows,
                method=chosen,
                overrides=overrides,
                rows=_donor_rows(donor, source, len(new)) if match_rows else None,
                multiple=pad_to_multiple_of,
            )
            tell("plan", 1, 1)
            plain_tokenizer = (
                donor_tokenizer  # which nothing below asks then
                if plan.keeps_ids and not texts
                else transformers.PreTrainedTokenizerFast.from_pretrained(donor_folder)
            )
            counts = token_counts(base_tokenizer, plain_tokenizer, texts)
            runs_base = calibrate and needs_direction(found) and _moves(plan)
            cost = estimate_cost(
                plan,
                checkpoint,
                found,
                donor=weights,
                dtype=dtype,
                calibrates=runs_base,
                calibration_dtype=_calibration_dtype(),
                tokenizer_folder=donor_folder,
                method_options=method_options,
                max_memory=max_memory,
            )
            named = origins(base, donor, trained=train_on is not None, **hub)
            notes = deployment_warnings(donor_folder, trained=train_on is not None, digits=bool(digits))
            notes += lost_ids(checkpoint.config, plan, generation, base_tokenizer, plain_tokenizer)
            if dry_run:
                report = Report.of(
                    plan, {}, tied=found.tied, calibrated=calibrate and found.has_head, text=counts, cost=cost, **named
                )
                report.warnings.extend(notes)
                return report
            with output_folder(output_dir, overwrite=overwrite, needed=cost.disk) as folder:
                options = TableOptions(
                    donor=_tables(*weights) if weights else None,
                    direction=_direction(checkpoint, base_tokenizer, texts) if runs_base else None,
                    word_vectors=word_vectors_for(chosen, plain_tokenizer, texts, seed),
                    method_options=method_options or {},
                    seed=seed,
                    max_memory=max_memory,
                    calibrate=calibrate,
                    progress=lambda done, total: tell("rows", done, total),
                )
                tables, residual = new_tables(plan, _tables(checkpoint, found), options)
                calibrated = is_calibrated(found, options)
                report = Report.of(plan, residual, tied=found.tied, calibrated=calibrated, text=counts, **named)
                write_model(
                    checkpoint,
                    found,
                    tables,
                    plan,
                    folder,
                    generation=generation,
                    dtype=dtype,
                    progress=lambda done, total: tell("weights", done, total),
                )
                notes += write_tokenizer(donor_folder, checkpoint.path, old, new, folder, base_tokenizer)
                report.warnings.extend(notes)
                tell("verify", 0, 1)
                proofs = verify_checkpoint(
                    folder,
                    donor_folder,
                    plan,
                    tied=found.tied,
                    texts=texts,
                    dtype=_calibration_dtype() if runs_base else None,  # whoever had room for that has room for this
                )
                report.verification.update(proofs)
                if proofs.get("quiet mass", 0.0) > QUIET_MASS:
                    report.warnings.append(
                        f"ids that are never used hold {proofs['quiet mass']:.1e} of the probability; generation "
                        "suppresses them, likelihoods do not"
                    )
                report.save(folder)
                tell("verify", 1, 1)
    return report


def _vocabulary(folder: Path, source: str | Path, tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    vocabulary = read_vocabulary(folder, named_by=tokenizer)
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


def _donor_rows(donor: Any, folder: Path, ids: int) -> int:
    """Rows that the donor's config states; its weights are not fetched."""
    if not isinstance(donor, str | Path) or not (folder / "config.json").is_file():
        raise RowMethodError(
            "--match-rows needs a donor that is a checkpoint: its config.json says how many rows it has"
        )
    try:
        rows = int(AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config().vocab_size)
    except Exception as error:  # strict configs raise a class of their own for every kind of bad value
        raise RowMethodError(f"the donor's config.json does not say how many rows it has: {error}") from error
    if rows < ids:
        raise RowMethodError(f"{donor} has {rows} rows but its tokenizer {ids} ids")
    return rows


def _donor_weights(method: str, donor: Any, ids: int, hub: dict[str, Any]) -> tuple[Checkpoint, VocabularyTensors]:
    """Where the donor's tables lie; nothing but headers is read."""
    if not isinstance(donor, str | Path):
        raise RowMethodError(f"row method {method!r} needs a donor checkpoint with weights")
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
    return bool(plan.made or plan.quiet or shared_shifts(plan))


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
