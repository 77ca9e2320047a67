"""Is a model one whose logits at a position depend on earlier positions only?"""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_tokext.errors import TextError, UnsupportedModelError, VocabularyError
from hf_tokext.evaluating import evaluating


def weight_of(module: torch.nn.Module) -> torch.Tensor:
    """The matrix of an embedding or a head, [ids, D], also where PEFT wraps it."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def text_stack(model: PreTrainedModel) -> torch.nn.Module:
    """The part of a model that reads text; towers of other modalities lie outside.

    Args:
        model: any model of transformers.

    Returns:
        The decoder where the model names one, else the model.
    """
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    inner = getattr(decoder, "language_model", decoder)
    return inner if isinstance(inner, torch.nn.Module) else model


def input_device(model: PreTrainedModel) -> torch.device:
    """Device that the model takes its ids on.

    Args:
        model: any model of transformers, wherever accelerate placed it.

    Returns:
        The device of its input embedding, or the CPU where that is offloaded.
    """
    device: torch.device = weight_of(model.get_input_embeddings()).device
    return torch.device("cpu") if device.type == "meta" else device  # offloaded: accelerate moves the ids itself


def check_causal(model: PreTrainedModel, what: str) -> None:
    """Refuse a model that is not a causal language model, by its kind and by trying it.

    Args:
        model: any model of transformers.
        what: what it is refused for, as the subject of a sentence.

    Raises:
        UnsupportedModelError: an encoder-decoder, a model without a head, or one that looks ahead.
    """
    name = type(model).__name__
    possible = "use a causal language model (AutoModelForCausalLM); a tokenizer alone is measured by vocabulary_use"
    if getattr(model.config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"{what} needs a causal language model, and {name} is an encoder-decoder; {possible}"
        )
    if model.get_output_embeddings() is None:
        raise UnsupportedModelError(f"{what} needs logits over the vocabulary, and {name} has no head; {possible}")
    # Two inputs that differ in the last id only: a causal model cannot tell them apart before it.
    last = weight_of(model.get_input_embeddings()).shape[0] - 1
    probe = torch.tensor([[0, 1, 2, 0], [0, 1, 2, last]], device=input_device(model))
    with evaluating(model), torch.no_grad():
        logits = model(input_ids=probe, attention_mask=torch.ones_like(probe)).logits.float()
    early = logits[:, :-1]
    tolerance = 1e-4 if next(model.parameters()).dtype == torch.float32 else 3e-2
    if float((early[0] - early[1]).abs().max()) > tolerance * float(early.abs().max()):
        raise UnsupportedModelError(f"{what} needs a causal language model, and {name} looks ahead; {possible}")


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Check that every id of the tokenizer has a row in the model.

    Args:
        model: any model of transformers.
        tokenizer: the tokenizer that is used with it.

    Returns:
        The number of rows that both matrices have.

    Raises:
        VocabularyError: an id has no row.
    """
    rows = min(len(weight_of(model.get_input_embeddings())), len(weight_of(model.get_output_embeddings())))
    ids = tokenizer.get_vocab()
    token, largest = max(ids.items(), key=lambda item: item[1])
    if largest >= rows:
        raise VocabularyError(
            f"the tokenizer's token {token!r} has id {largest}, but the model has {rows} rows: "
            "they do not belong together; use the model's own tokenizer, or transplant this one first"
        )
    return rows


def check_window(model: PreTrainedModel, window: int) -> None:
    """Check that the model has a learned position for every place of a window; rotary positions have no such end.

    Args:
        model: any model of transformers.
        window: ids in a window.

    Raises:
        TextError: the window is longer than the model's table of positions.
    """
    for name, module in text_stack(model).named_modules():
        last = name.rpartition(".")[2]
        positions = isinstance(module, torch.nn.Embedding) and (last == "wpe" or "position" in last)
        if positions and module.num_embeddings < window:
            raise TextError(
                f"a window of {window} ids does not fit the model's {module.num_embeddings} positions; "
                f"choose a window of at most {module.num_embeddings}"
            )
