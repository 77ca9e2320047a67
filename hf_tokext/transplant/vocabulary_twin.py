"""Which of a model class's tensors have a vocabulary axis: the class is built twice on the meta device and compared."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import meta_device_safe_creation_ops, no_init_weights

from hf_tokext.errors import UnsupportedModelError

# Larger than any rounding of embedding rows that a class might do, and a multiple of the usual ones.
GROWTH = 1024
TEXT_SECTIONS = ("text_config", "text_encoder", "encoder", "decoder", "generator")


@dataclass(frozen=True)
class VocabularyNames:
    """Names inside a model of everything that has a vocabulary axis.

    Attributes:
        input: weights of input embeddings, the model's own first.
        output: weights of output heads, the model's own first; shares names with `input` where one module is both.
        biases: vectors added to the logits.
        others: everything else, such as per-layer tables.
        tied: whether the class and its config make head and input embedding one matrix.
    """

    input: tuple[str, ...]
    output: tuple[str, ...]
    biases: tuple[str, ...]
    others: tuple[str, ...]
    tied: bool


def vocabulary_size_keys(config: PreTrainedConfig) -> tuple[tuple[str, ...], ...]:
    """Paths of the keys that hold the size of the text vocabulary, such as ("text_config", "vocab_size").

    Args:
        config: a model's config, flat or composite.

    Returns:
        Paths from the root; the text config's own first.

    Raises:
        UnsupportedModelError: the config has no text vocabulary, or more than one text config.
    """
    text, size = _text_config(config)
    own, rest = [], []
    for path, section in _sections(config):
        key = section.attribute_map.get("vocab_size", "vocab_size")
        if section is text:
            own.append((*path, key))
        elif vars(section).get(key) == size and (not path or path[-1] in TEXT_SECTIONS):
            rest.append((*path, key))
    return (*own, *rest)


def set_vocabulary_size(config: PreTrainedConfig, size: int) -> None:
    """Set the size of the text vocabulary wherever the config holds it, nested text configs included.

    Args:
        config: changed in place.
        size: the new number of rows.
    """
    for path in vocabulary_size_keys(config):
        section = config
        for key in path[:-1]:
            section = getattr(section, key)
        setattr(section, path[-1], size)


def meta_model(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """Build a model without weights.

    Args:
        model_class: the class.
        config: its config; a copy is used.

    Returns:
        The model on the meta device, with nothing tied.

    Raises:
        UnsupportedModelError: the class cannot be built from this config.
    """
    try:
        with torch.device("meta"), meta_device_safe_creation_ops(), no_init_weights():
            return model_class(copy.deepcopy(config))
    except Exception as error:  # a constructor may raise anything
        raise UnsupportedModelError(
            f"{model_class.__name__} cannot be built from its config: {type(error).__name__}: {error}"
        ) from error


def named_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by every name that it has."""
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))


def vocabulary_names(model: PreTrainedModel) -> VocabularyNames:
    """Find what has a vocabulary axis, by comparison with a twin of a larger vocabulary.

    Args:
        model: a model, with weights or on the meta device; not changed.

    Returns:
        The names; matrices are [rows, D], biases [rows] or [1, rows].

    Raises:
        UnsupportedModelError: the model has no input embedding, or a tensor depends on the vocabulary in a way that
            is not one row an id.
    """
    _, size = _text_config(model.config)
    changed = _changed(model, size)
    inputs = _weights(model, "get_input_embeddings", changed)
    outputs = _weights(model, "get_output_embeddings", changed)
    if not inputs:
        raise UnsupportedModelError(f"{type(model).__name__} has no input embedding whose rows are the vocabulary")
    ties = [(target, source) for target, source in _ties(model).items() if target in changed and source in changed]
    partners = [*ties, *((source, target) for target, source in ties)]
    outputs += [name for name, other in partners if other in outputs and name not in [*inputs, *outputs]]
    inputs += [name for name, other in partners if other in inputs and name not in [*inputs, *outputs]]
    tensors = named_tensors(model)
    biases = [
        name
        for name in changed
        if name.endswith("bias") and tensors[name].numel() == size and tensors[name].is_floating_point()
    ]
    known = {*inputs, *outputs, *biases}
    for name in sorted(known - set(biases)):
        if tensors[name].ndim != 2 or changed[name] != 0:
            raise UnsupportedModelError(f"{name} of {type(model).__name__} is not a matrix of one row an id")
    source = dict(ties)
    roots = [{source.get(name, name) for name in names} for names in (inputs, outputs)]
    return VocabularyNames(
        input=tuple(inputs),
        output=tuple(outputs),
        biases=tuple(biases),
        others=tuple(name for name in changed if name not in known),
        tied=bool(roots[0] & roots[1]),
    )


def _text_config(config: PreTrainedConfig) -> tuple[PreTrainedConfig, int]:
    """The config that owns the text vocabulary, and its size."""
    try:
        text = config.get_text_config()
    except ValueError as error:
        raise UnsupportedModelError(f"{type(config).__name__} has several text configs: {error}") from error
    size = getattr(text, "vocab_size", None)
    if not isinstance(size, int) or size < 1:
        raise UnsupportedModelError(f"{type(text).__name__} has no vocab_size, so it has no text vocabulary to change")
    return text, size


def _changed(model: PreTrainedModel, size: int) -> dict[str, int]:
    """Names of tensors that grow with the vocabulary, with the axis that grows."""
    larger = copy.deepcopy(model.config)
    set_vocabulary_size(larger, size + GROWTH)
    text = larger.get_text_config()
    if isinstance(getattr(text, "vocab_size_per_layer_input", None), int):
        text.vocab_size_per_layer_input += GROWTH
    before = {name: tuple(tensor.shape) for name, tensor in named_tensors(model).items()}
    after = {name: tuple(tensor.shape) for name, tensor in named_tensors(meta_model(type(model), larger)).items()}
    changed: dict[str, int] = {}
    for name, shape in before.items():
        twin = after.get(name, shape)
        if twin == shape:
            continue
        axes = [axis for axis, (old, new) in enumerate(zip(shape, twin, strict=False)) if old != new]
        if len(shape) != len(twin) or len(axes) != 1 or twin[axes[0]] != shape[axes[0]] + GROWTH:
            raise UnsupportedModelError(
                f"{name} of {type(model).__name__} has shape {list(shape)}, and {list(twin)} with {GROWTH} more ids: "
                "not one row an id, so it cannot be rewritten"
            )
        changed[name] = axes[0]
    return changed


def _weights(model: PreTrainedModel, getter: str, changed: dict[str, int]) -> list[str]:
    """Names of the weights that `getter` of the model and of every model inside it returns."""
    tensors = named_tensors(model)
    found: list[str] = []
    for module in model.modules():
        if not isinstance(module, PreTrainedModel):
            continue
        try:
            weight = getattr(getattr(module, getter)(), "weight", None)
        except (NotImplementedError, AttributeError):  # vision towers and the like have none
            continue
        found += [name for name, tensor in tensors.items() if tensor is weight and name in changed]
    return list(dict.fromkeys(found))


def _ties(model: PreTrainedModel) -> dict[str, str]:
    return dict(getattr(model, "all_tied_weights_keys", None) or {})


def _sections(
    config: PreTrainedConfig, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], PreTrainedConfig]]:
    yield path, config
    for key, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from _sections(value, (*path, key))
