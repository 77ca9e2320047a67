"""The tensors of a checkpoint, or of a loaded model, that have a vocabulary axis; of any architecture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from hf_tokext.errors import CheckpointError, QuantizedCheckpointError, UnsupportedModelError
from hf_tokext.transplant.checkpoint import Checkpoint
from hf_tokext.transplant.vocabulary_twin import (
    VocabularyNames,
    meta_model,
    named_tensors,
    vocabulary_names,
    vocabulary_size_keys,
)

CHUNK = 1 << 24


@dataclass(frozen=True)
class VocabularyTensors:
    """What has to be rewritten when the vocabulary changes; names as the checkpoint (or the model) has them.

    Attributes:
        input: every stored copy of the input embedding, [rows, D]; where `tied`, also every stored copy of the head,
            so that it is never empty. All are equal: one new matrix is written under all these names.
        output: every stored copy of the head, [rows, D of the head]; empty where `tied`, and where there is no head.
        biases: vectors added to the logits, [rows] or [1, rows]: the vocabulary is the last axis. Each has values
            of its own.
        tied: whether head and input embedding are one matrix.
        rows: how many ids the matrices have.
        has_head: whether the model gives logits.
        config_tied: what the class and its config say of ties; where it is True and `tied` is not, the two stored
            matrices differ, and transformers loads them untied because of that.
        size_keys: paths of the config's keys that hold the vocabulary size, such as ("text_config", "vocab_size").
    """

    input: tuple[str, ...]
    output: tuple[str, ...]
    biases: tuple[str, ...]
    tied: bool
    rows: int
    has_head: bool
    config_tied: bool
    size_keys: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.input, *self.output, *self.biases)


def vocabulary_tensors(checkpoint: Checkpoint) -> VocabularyTensors:
    """Find the vocabulary tensors that a checkpoint stores; reads no weights unless two of them must be compared.

    Args:
        checkpoint: an open checkpoint.

    Returns:
        Their names in the checkpoint.

    Raises:
        UnsupportedModelError: a tensor with a vocabulary axis is neither embedding, head, bias nor a copy of these.
        CheckpointError: the embedding or head is missing, or contradicts the config.
    """
    model = meta_model(getattr(transformers, checkpoint.architecture), checkpoint.config)
    names = vocabulary_names(model)
    stored: dict[str, list[str]] = {}
    for name, inside in model_names(checkpoint, model).items():
        stored.setdefault(inside, []).append(name)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for inside in (*names.input, *names.output, *names.biases):
        for name in stored.get(inside, []):
            if checkpoint.tensors[name].shape != shapes[inside]:
                raise CheckpointError(
                    f"{name} of {checkpoint.source} has shape {list(checkpoint.tensors[name].shape)}, but config.json "
                    f"asks for {list(shapes[inside])}"
                )
            if not checkpoint.tensors[name].is_float:
                raise QuantizedCheckpointError(f"{name} of {checkpoint.source} is {checkpoint.tensors[name].dtype}")
    rows = checkpoint.config.get_text_config().vocab_size
    unknown = [name for inside in names.others for name in stored.get(inside, [])]
    known = {name for group in stored.values() for name in group}
    unknown += [name for name, entry in checkpoint.tensors.items() if name not in known and rows in entry.shape]
    found = _classify(
        names,
        stored,
        unknown,
        lambda one, other: _stored_equal(checkpoint, one, other),
        checkpoint.source,
    )
    return VocabularyTensors(
        **found,
        rows=rows,
        has_head=bool(names.output),
        config_tied=names.tied,
        size_keys=vocabulary_size_keys(checkpoint.config),
    )


def vocabulary_tensors_of_model(model: PreTrainedModel) -> VocabularyTensors:
    """Find the vocabulary tensors of a loaded model.

    Args:
        model: a transformers model with its weights in memory.

    Returns:
        Names as `named_parameters(remove_duplicate=False)` and `named_buffers` give them: every name of a shared
        parameter is there.

    Raises:
        UnsupportedModelError: the model is not transformers' own kind, is offloaded, or has a tensor with a
            vocabulary axis that is neither embedding, head, bias nor a copy of these.
        QuantizedCheckpointError: the model is quantized.
    """
    if not isinstance(model, PreTrainedModel):
        raise UnsupportedModelError(
            f"a transformers PreTrainedModel is needed, not {type(model).__name__}; merge adapters first"
        )
    if getattr(model, "is_quantized", False) or getattr(model, "hf_quantizer", None) is not None:
        raise QuantizedCheckpointError("the model is quantized: load the original, or call model.dequantize() first")
    names = vocabulary_names(model)
    tensors = named_tensors(model)
    for name in (*names.input, *names.output, *names.biases):
        if tensors[name].device.type == "meta":
            raise UnsupportedModelError(f"{name} is offloaded: load the model without offloading its vocabulary")
        if not tensors[name].is_floating_point():
            raise QuantizedCheckpointError(f"{name} is {tensors[name].dtype}, not a float matrix")
    found = _classify(
        names,
        {name: [name] for name in tensors},
        list(names.others),
        lambda one, other: tensors[one] is tensors[other] or _equal(tensors[one], tensors[other]),
        type(model).__name__,
        shared=lambda one, other: tensors[one] is tensors[other],
    )
    return VocabularyTensors(
        **found,
        rows=len(tensors[names.input[0]]),
        has_head=bool(names.output),
        config_tied=names.tied,
        size_keys=vocabulary_size_keys(model.config),
    )


def model_names(checkpoint: Checkpoint, model: PreTrainedModel) -> dict[str, str]:
    """Where transformers would load each stored tensor.

    Args:
        checkpoint: an open checkpoint.
        model: its model, possibly on the meta device.

    Returns:
        From names in the checkpoint to names in the model; tensors that the model does not have are left out.
    """
    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    state, prefix = model.state_dict(), model.base_model_prefix
    result = {}
    for name in checkpoint.tensors:
        inside, _ = rename_source_key(name, renamings, converters, prefix, state)
        if inside not in state and name in state:  # a renaming meant for older files of the same architecture
            inside = name
        if inside in state:
            result[name] = inside
    return result


def _classify(
    names: VocabularyNames,
    stored: dict[str, list[str]],
    unknown: list[str],
    equal: Callable[[str, str], bool],
    source: str,
    shared: Callable[[str, str], bool] | None = None,
) -> dict[str, Any]:
    """Sort stored names into inputs, outputs and biases.

    Args:
        names: what the model class has.
        stored: names in the checkpoint, by name in the model.
        unknown: stored names with a vocabulary axis that the class does not explain.
        equal: whether two stored tensors have equal values.
        source: for messages.
        shared: whether two tensors are one object, where that alone means tied; None for files.

    Returns:
        The fields input, output, biases and tied of `VocabularyTensors`.
    """
    inputs = [name for inside in names.input for name in stored.get(inside, [])]
    outputs = [name for inside in names.output for name in stored.get(inside, []) if name not in inputs]
    one_module = bool(set(names.input) & set(names.output))
    if not names.output:
        tied = False
    elif shared is not None:
        tied = one_module or shared(inputs[0], outputs[0])
    else:
        tied = one_module or (names.tied and not (inputs and outputs and not equal(inputs[0], outputs[0])))
        if not tied and not outputs:
            raise CheckpointError(
                f"{source} stores no head ({names.output[0]}), and its config does not tie it to the input "
                "embedding: transformers would make a random one"
            )
    if tied:
        inputs, outputs = [*inputs, *outputs], []
    if not inputs:
        raise CheckpointError(f"{source} stores no input embedding ({names.input[0]})")
    for role, group in (("input embeddings", inputs), ("heads", outputs)):
        for name in group[1:]:
            if not equal(group[0], name):
                raise UnsupportedModelError(
                    f"{source} has two different {role}, {group[0]} and {name}: only one can be rewritten"
                )
    for name in unknown:
        if equal(inputs[0], name):
            inputs.append(name)
        elif outputs and equal(outputs[0], name):
            outputs.append(name)
        else:
            raise UnsupportedModelError(
                f"{name} of {source} has one row for each id, but is neither the input embedding, the head, nor a copy "
                "of these, and nothing is known about how to make its rows"
            )
    biases = [name for inside in names.biases for name in stored.get(inside, [])]
    return {"input": tuple(inputs), "output": tuple(outputs), "biases": tuple(biases), "tied": tied}


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.device.type == "meta" or other.device.type == "meta":
        return False
    return torch.equal(one.detach().to("cpu"), other.detach().to("cpu", one.dtype))


def _stored_equal(checkpoint: Checkpoint, one: str, other: str) -> bool:
    """Whether two stored tensors are equal; compares bytes piece by piece where the dtype is the same."""
    first, second = checkpoint.tensors[one], checkpoint.tensors[other]
    if first.shape != second.shape:
        return False
    if first.dtype != second.dtype:
        return torch.equal(checkpoint.read(one).double(), checkpoint.read(other).double())
    with checkpoint.open(first.file) as left, checkpoint.open(second.file) as right:
        left.seek(first.start)
        right.seek(second.start)
        for done in range(0, first.nbytes, CHUNK):
            count = min(CHUNK, first.nbytes - done)
            if left.read(count) != right.read(count):
                return False
    return True
