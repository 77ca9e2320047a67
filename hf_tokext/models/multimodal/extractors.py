"""The image processors and feature extractors of codecs, kept as their settings."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.models.auto.feature_extraction_auto import feature_extractor_class_from_name
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from hf_tokext.errors import CheckpointError, ModalityError
from hf_tokext.vocabulary.code_space import CodeSpace


def extractor_of(settings: Mapping[str, Any]) -> Any:
    """Make an extractor again.

    Args:
        settings: its `to_dict`.

    Returns:
        The extractor.

    Raises:
        CheckpointError: its class is not known, or not installed.
    """
    return _made(json.dumps(settings, sort_keys=True, default=list))


@lru_cache(maxsize=64)
def _made(settings: str) -> Any:
    given = json.loads(settings)
    image, sound = given.get("image_processor_type"), given.get("feature_extractor_type")
    kind = get_image_processor_class_from_name(image) if image else feature_extractor_class_from_name(str(sound))
    if kind is None:
        raise CheckpointError(f"{image or sound} is no class that transformers knows; import the package it comes with")
    return kind.from_dict(given)


def extract(settings: Mapping[str, Any], values: Sequence[Any], rate: int | None) -> dict[str, Tensor]:
    """Make what a codec takes of all values of a batch.

    Args:
        settings: of the extractor.
        values: images, depth maps or sounds.
        rate: samples a second of sounds that are arrays.

    Returns:
        Tensors by the codec's names.

    Raises:
        CodecError: a value cannot be read.
    """
    extractor = extractor_of(settings)
    heard = {"sampling_rate": rate} if settings.get("feature_extractor_type") else {}
    found = extractor(list(values), return_tensors="pt", **heard)
    return {name: found[name] for name in names_of(settings) if name in found}


def names_of(settings: Mapping[str, Any]) -> list[str]:
    """Say what a codec takes of what an extractor makes.

    Args:
        settings: of the extractor.

    Returns:
        Names; not all need be there.
    """
    more = ["padding_mask"] if settings.get("feature_extractor_type") else []  # DAC's has it, and does not say so
    return list(dict.fromkeys([*extractor_of(settings).model_input_names, *more]))


def lengths_of(space: CodeSpace, batch: Mapping[str, Tensor], count: int) -> list[int]:
    """Say how many codes each value will have.

    Args:
        space: the modality.
        batch: what the extractor made.
        count: number of values.

    Returns:
        Number of ids of each.

    Raises:
        ModalityError: nothing says how long a value is.
    """
    if space.steps is not None:
        return [space.length(space.steps)] * count
    mask = batch.get("padding_mask")
    if mask is None:
        raise ModalityError(f"{space.name!r} varies in length, and its extractor gives no padding_mask")
    samples = torch.as_tensor(mask).long().sum(1)
    return [space.length(-(-int(each) // space.hop)) for each in samples]
