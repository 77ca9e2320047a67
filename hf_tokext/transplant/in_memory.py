"""Transplanting a tokenizer onto a model that is in memory."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_tokext.errors import QuantizedCheckpointError, RowMethodError
from hf_tokext.transplant.auto_tokenizer import keep_ids_when_saved
from hf_tokext.transplant.direction import head_direction
from hf_tokext.transplant.identifiers import lost_ids, new_generation_config, update_config
from hf_tokext.transplant.method import choose_method
from hf_tokext.transplant.origin import object_origin
from hf_tokext.transplant.plan import Overrides, make_plan
from hf_tokext.transplant.positions import move_positions, put_positions
from hf_tokext.transplant.report import Report, token_counts
from hf_tokext.transplant.tables import (
    TableOptions,
    Tables,
    is_calibrated,
    needs_direction,
    new_tables,
    shared_shifts,
)
from hf_tokext.transplant.tokenizer_files import missing_markers
from hf_tokext.transplant.vocabulary_tensors import VocabularyTensors, vocabulary_tensors_of_model
from hf_tokext.transplant.vocabulary_twin import named_tensors
from hf_tokext.transplant.word_vectors import word_vectors_for
from hf_tokext.vocabulary.pieces import read_vocabulary


def transplant_tokenizer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    donor: PreTrainedTokenizerBase,
    *,
    donor_model: PreTrainedModel | None = None,
    method: str = "auto",
    method_options: Mapping[str, Any] | None = None,
    overrides: Overrides | None = None,
    texts: Sequence[str] | None = None,
    rows: int | None = None,
    pad_to_multiple_of: int | None = None,
    calibrate: bool = True,
    seed: int = 0,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Report]:
    """Put another tokenizer on a model: every new id gets rows made from the model's own.

    Args:
        model: any causal, masked or encoder-decoder LM; changed in place once everything is computed.
        tokenizer: the tokenizer that the model was trained with.
        donor: the tokenizer to put on.
        donor_model: a model of the donor's tokenizer, for methods that use its rows.
        method: a row method, or "auto" (see `choose_method`).
        method_options: options of the row method.
        overrides: text of a new token to the base token or text whose rows it shall have, or to base ids, of whose rows
            it shall have the mean.
        texts: the user's own text: word vectors and the head's direction are learnt from it.
        rows: rows of the new tables, at least as many as there are ids.
        pad_to_multiple_of: rounds the rows up.
        calibrate: run the model once over a few thousand tokens, so that made rows take no more probability than they
            should and ids that are never used take none. Without it both keep that of an average row.
        seed: seed of everything random.

    Returns:
        The model, a copy of the donor's tokenizer, and the report.

    Raises:
        VocabularyError: a tokenizer cannot be read, or does not belong to its model.
        RowMethodError: the method is unknown or lacks what it needs.
        UnsupportedModelError: the model has vocabulary-sized tensors that are not known.
        QuantizedCheckpointError: the model's weights are quantized.
    """
    if getattr(model, "is_quantized", False) or getattr(model.config, "quantization_config", None):
        raise QuantizedCheckpointError(
            "the model is quantized, so new rows cannot be written into it; load the unquantized original"
        )
    found = vocabulary_tensors_of_model(model)
    base, target = read_vocabulary(tokenizer), read_vocabulary(donor)
    chosen = choose_method(method)
    plan = make_plan(
        base, target, base_rows=found.rows, method=chosen, overrides=overrides, rows=rows, multiple=pad_to_multiple_of
    )
    old_generation = getattr(model, "generation_config", None)
    generation = new_generation_config(model.config, plan, old_generation)
    moves = plan.made or plan.quiet or shared_shifts(plan)
    runs_model = bool(calibrate and moves and needs_direction(found))
    options = TableOptions(
        donor=None if donor_model is None else donor_tables(donor_model, len(target)),
        direction=head_direction(model, tokenizer, texts) if runs_model else None,
        word_vectors=word_vectors_for(chosen, donor, texts, seed),
        method_options=method_options or {},
        seed=seed,
        calibrate=calibrate,
    )
    tables, residual = new_tables(plan, model_tables(model, found), options)
    old_config, config = model.config, copy.deepcopy(model.config)
    update_config(config, plan, old_generation)
    positions = move_positions(model, old_config, config)
    notes = lost_ids(old_config, plan, old_generation, tokenizer, donor)
    new_tokenizer = copy.deepcopy(donor)
    new_tokenizer.model_input_names = tokenizer.model_input_names
    if new_tokenizer.chat_template is None:
        missing = missing_markers(tokenizer.chat_template, base, target)
        new_tokenizer.chat_template = None if missing else tokenizer.chat_template
        notes += missing
    new_tokenizer = keep_ids_when_saved(new_tokenizer, config)
    calibrated = is_calibrated(found, options)
    report = Report.of(
        plan,
        residual,
        tied=found.tied,
        calibrated=calibrated,
        text=token_counts(tokenizer, donor, texts),
        base=object_origin(model),
        donor=object_origin(donor),
    )
    report.warnings.extend(notes)
    # nothing above changed the model, and nothing below can fail
    update_config(model.config, plan, old_generation)
    put_tables(model, found, tables)
    put_positions(model, positions, config.pad_token_id)
    if model.can_generate():
        model.generation_config = generation
    if plan.rows == found.rows:
        # PEFT would name the old base in an adapter, and by the equal number of rows believe that they are the old ones
        model.name_or_path = model.config.name_or_path = ""
    return model, new_tokenizer, report


def model_tables(model: PreTrainedModel, found: VocabularyTensors) -> Tables:
    """Read a model's vocabulary tensors, on the CPU."""
    values = named_tensors(model)

    def read(name: str) -> Tensor:
        return values[name].detach().cpu()

    output = None if found.tied or not found.output else read(found.output[0])
    return Tables(read(found.input[0]), output, {name: read(name) for name in found.biases}, found.has_head)


def donor_tables(model: PreTrainedModel, ids: int) -> Tables:
    """Read the donor's tables.

    Args:
        model: the donor.
        ids: how many ids its tokenizer has.

    Returns:
        Its tables.

    Raises:
        RowMethodError: the tables have fewer rows than the tokenizer has ids.
    """
    tables = model_tables(model, vocabulary_tensors_of_model(model))
    if len(tables.input) < ids:
        raise RowMethodError(
            f"the donor model has {len(tables.input)} rows but its tokenizer {ids} ids; they do not belong together"
        )
    return tables


def put_tables(model: PreTrainedModel, found: VocabularyTensors, tables: Tables) -> None:
    """Put new tables into a model, keeping its ties."""
    values: dict[str, Tensor] = dict.fromkeys(found.input, tables.input)
    if tables.output is not None:
        values |= dict.fromkeys(found.output, tables.output)
    values |= dict(tables.biases)
    made: dict[int, nn.Parameter] = {}
    for name, value in values.items():
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        old = getattr(module, attribute)
        if isinstance(old, nn.Parameter):
            # one parameter for all names of one table, so that what was tied stays tied
            parameter = made.setdefault(id(value), nn.Parameter(value.to(old.device), requires_grad=old.requires_grad))
            setattr(module, attribute, parameter)
        else:
            setattr(module, attribute, value.to(old.device))
        _announce_size(module, model, value, found.rows)
    if found.tied:  # transformers would tie two different matrices if the config asks for it
        model.tie_weights()


def _announce_size(module: nn.Module, model: PreTrainedModel, value: Tensor, old_rows: int) -> None:
    if isinstance(module, nn.Embedding):
        module.num_embeddings = len(value)
        if module.padding_idx is not None:
            module.padding_idx = getattr(model.config.get_text_config(), "pad_token_id", None)
    elif isinstance(module, nn.Linear) and value.ndim == 2:
        module.out_features = len(value)
    rows = value.shape[0] if value.ndim == 2 else value.shape[-1]
    for part in model.modules():
        if getattr(part, "vocab_size", None) == old_rows:
            setattr(part, "vocab_size", rows)  # noqa: B010 (modules are typed as holding tensors only)
