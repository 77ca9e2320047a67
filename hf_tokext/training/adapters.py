"""Which numbers of a model are learned, and how they come back into it."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, TrainableTokensConfig, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.measure.causal import text_stack, weight_of

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
    embedding, head = (_name_of(model, each) for each in (model.get_input_embeddings(), model.get_output_embeddings()))
    matrices = [embedding] if tied else [embedding, head]
    if train == "lora":
        linear = _linear_layers(model)
        config: Any = LoraConfig(
            r=LORA_RANK,
            lora_alpha=2 * LORA_RANK,
            target_modules=list(linear),
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in linear.values()),
            modules_to_save=matrices,
            ensure_weight_tying=tied,
        )
        if tied:
            # PEFT finds the head itself only where the embedding is called embed_tokens; GPT-2's would lose its tie.
            config.modules_to_tie = [head]
        return _wrapped(model, config)
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        raise UnsupportedModelError(
            "the model's head has a bias, which PEFT leaves out when it learns single rows; use train='lora' or 'all'"
        )
    config = TrainableTokensConfig(token_indices=_checked(model, new_ids), target_modules=matrices)
    return _wrapped(model, config)


def reloads_tied(model: PreTrainedModel) -> bool:
    """Whether PEFT, loading a LoRA adapter of a tied model, ties the head to the learned embedding again.

    Args:
        model: a tied model.

    Returns:
        True where the embedding has the name that PEFT looks for.
    """
    return _name_of(model, model.get_input_embeddings()).rpartition(".")[2] == "embed_tokens"


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


def _wrapped(model: PreTrainedModel, config: Any) -> Any:
    tied = is_tied(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # PEFT asks for the old name
        warnings.filterwarnings("ignore", ".*tie", UserWarning)  # guesses by name; what holds is checked below
        trained = get_peft_model(model, config)
    if tied:
        learned = [
            dict(each.named_parameters()) for each in (model.get_input_embeddings(), model.get_output_embeddings())
        ]
        pairs = [
            (one, other)
            for one in learned[0].values()
            for other in learned[1].values()
            if one.requires_grad and other.requires_grad
        ]
        if len(pairs) != 1 or pairs[0][0] is not pairs[0][1]:
            raise UnsupportedModelError("PEFT would break the tie of this model's matrices; use train='all'")
    return trained


def _linear_layers(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """Full names of the decoder's linear layers; towers of other modalities are left alone."""
    inside = set(map(id, text_stack(model).modules()))
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head and id(module) in inside
    }
