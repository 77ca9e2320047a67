"""Which numbers of a model are learned, and how they come back into it."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, TrainableTokensConfig, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.measure.causal import weight_of

TRAIN = ("rows", "lora", "all")
LORA_RANK = 16


def is_tied(model: PreTrainedModel) -> bool:
    """Whether head and input embedding are one matrix.

    Args:
        model: a model with a head.

    Returns:
        True for one matrix.
    """
    return weight_of(model.get_output_embeddings()) is weight_of(model.get_input_embeddings())


def attach(model: PreTrainedModel, train: str, new_ids: Sequence[int] | None) -> Any:
    """Make exactly the wanted numbers learnable.

    Args:
        model: a causal language model.
        train: "rows": the rows of `new_ids` in both matrices, through PEFT; "lora": LoRA on the linear layers
            of the decoder, and both matrices whole; "all": everything.
        new_ids: ids whose rows are learned; None is every id. Used by "rows" only.

    Returns:
        The PEFT model around `model`, or `model` itself for "all".

    Raises:
        UnsupportedModelError: `train` is unknown, or the model's head is of a kind that PEFT would change.
        VocabularyError: a new id has no row.
    """
    if train not in TRAIN:
        raise UnsupportedModelError(f"train must be one of {', '.join(TRAIN)}, not {train!r}")
    tied = is_tied(model)
    if tied != bool(model.config.tie_word_embeddings):
        raise UnsupportedModelError(
            f"config.tie_word_embeddings is {model.config.tie_word_embeddings} but the matrices are "
            f"{'one' if tied else 'two'}; set it right before healing, or the saved model would differ"
        )
    if train == "all":
        return model.requires_grad_(True)
    matrices = [_name_of(model, model.get_input_embeddings())]
    if not tied:
        matrices.append(_name_of(model, model.get_output_embeddings()))
    if train == "lora":
        config: Any = LoraConfig(
            r=LORA_RANK,
            lora_alpha=2 * LORA_RANK,
            target_modules=_linear_layers(model),
            modules_to_save=matrices,
            ensure_weight_tying=tied,
        )
        return get_peft_model(model, config)
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        raise UnsupportedModelError(
            "the model's head has a bias, which PEFT leaves out when it learns single rows; use train='lora' or 'all'"
        )
    config = TrainableTokensConfig(token_indices=_checked(model, new_ids), target_modules=matrices)
    return get_peft_model(model, config)


def detach(trained: Any, tied: bool) -> PreTrainedModel:
    """Merge what was learned into the model and take the adapter off.

    Args:
        trained: what `attach` returned.
        tied: whether head and input embedding were one matrix before.

    Returns:
        The plain model, tied as before.
    """
    model = trained.merge_and_unload(safe_merge=True) if hasattr(trained, "merge_and_unload") else trained
    if tied and not is_tied(model):
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    return model


def _checked(model: PreTrainedModel, new_ids: Sequence[int] | None) -> list[int]:
    rows = len(weight_of(model.get_input_embeddings()))
    if new_ids is None:
        return list(range(rows))
    ids = sorted({int(token_id) for token_id in new_ids})
    if not ids:
        raise VocabularyError("no id is new, so there is no row to learn; use train='lora' or 'all'")
    if ids[0] < 0 or ids[-1] >= rows:
        raise VocabularyError(f"new id {ids[0] if ids[0] < 0 else ids[-1]} has no row; the model has {rows}")
    return ids


def _name_of(model: PreTrainedModel, wanted: torch.nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """Full names of the decoder's linear layers; towers of other modalities are left alone."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    inside = set(map(id, (decoder if isinstance(decoder, torch.nn.Module) else model).modules()))
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head and id(module) in inside
    ]
