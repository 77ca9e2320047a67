"""The model's files of the new checkpoint: weights, config, generation config, and what else belongs to the model."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig

from hf_tokext.errors import CheckpointError
from hf_tokext.transplant.checkpoint import Checkpoint
from hf_tokext.transplant.checkpoint_source import checked_file
from hf_tokext.transplant.identifiers import new_generation_config, update_config, updated_json
from hf_tokext.transplant.plan import Plan
from hf_tokext.transplant.positions import position_tables, shifted_table
from hf_tokext.transplant.safetensors_writer import write_checkpoint_tensors
from hf_tokext.transplant.tables import Tables
from hf_tokext.transplant.vocabulary_tensors import VocabularyTensors, model_names
from hf_tokext.transplant.vocabulary_twin import meta_model

KEPT_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


def read_generation_config(checkpoint: Checkpoint) -> GenerationConfig | None:
    """Read the base's generation config.

    Args:
        checkpoint: the base.

    Returns:
        It, or None where there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not (checkpoint.path / "generation_config.json").is_file():
        return None
    try:
        return GenerationConfig.from_pretrained(checkpoint.path)
    except Exception as error:  # OSError for what is no JSON, other kinds for bad values
        raise CheckpointError(
            f"generation_config.json of {checkpoint.source} is damaged ({error}); mend or remove it"
        ) from error


def write_model(
    checkpoint: Checkpoint,
    found: VocabularyTensors,
    tables: Tables,
    plan: Plan,
    folder: Path,
    *,
    generation: GenerationConfig | None,
    dtype: torch.dtype | None,
    progress: Callable[[int, int], None],
) -> None:
    """Write everything of the new checkpoint but its tokenizer.

    Args:
        checkpoint: the base.
        found: its vocabulary tensors.
        tables: what replaces them.
        plan: the plan that they were made by.
        folder: where to write.
        generation: the base's generation config.
        dtype: of all float tensors; None keeps every dtype.
        progress: takes (bytes done, bytes in all).

    Raises:
        UnsupportedModelError: the model's positions depend on the pad id and the new one does not fit.
    """
    config = copy.deepcopy(checkpoint.config)
    update_config(config, plan, generation)
    replace: dict[str, Tensor] = dict.fromkeys(found.input, tables.input)
    if tables.output is not None:
        replace |= dict.fromkeys(found.output, tables.output)
    replace |= dict(tables.biases) | _moved_positions(checkpoint, config)
    write_checkpoint_tensors(checkpoint, folder, replace=replace, dtype=dtype, progress=progress)
    if getattr(transformers, checkpoint.architecture).can_generate():
        new_generation_config(checkpoint.config, plan, generation).save_pretrained(folder)
    content = updated_json(checkpoint.config_json, config, plan)
    for stale in ("_name_or_path", "tokenizer_class", "auto_map"):  # code of the base does not come along
        content.pop(stale, None)
    if dtype is not None:
        content["dtype"] = str(dtype).removeprefix("torch.")
        content.pop("torch_dtype", None)
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for path in checkpoint.path.iterdir():
        if path.is_file() and (path.name in KEPT_FILES or path.name.upper().startswith(("LICENSE", "NOTICE"))):
            shutil.copyfile(checked_file(checkpoint.path, path.name), folder / path.name)


def _moved_positions(checkpoint: Checkpoint, config: PreTrainedConfig) -> dict[str, Tensor]:
    model: Any = meta_model(getattr(transformers, checkpoint.architecture), checkpoint.config)
    wanted = {f"{name}.weight" for name in position_tables(model)}
    if not wanted or config.pad_token_id == checkpoint.config.pad_token_id:
        return {}
    stored = [name for name, inside in model_names(checkpoint, model).items() if inside in wanted]
    return {name: shifted_table(checkpoint.read(name), checkpoint.config, config) for name in stored}
