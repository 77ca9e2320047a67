"""Log probabilities of texts, byte by byte."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.evaluating import evaluating
from hf_tokext.measure.causal import check_causal
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.modeling_byte_ensemble import ByteEnsembleForCausalLM
from hf_tokext.models.byte_level.modeling_byte_level import ByteLevelForCausalLM
from hf_tokext.models.byte_level.utf8 import to_bytes

BYTES_AT_ONCE = 8192  # of texts that are read in the same passes


@dataclass(frozen=True)
class ByteScore:
    """What a model says of a text.

    Attributes:
        log_probability: of the whole text, natural log.
        bytes: of the text.
        log_probabilities: [bytes] of each byte given those before it, natural log; None where they were not asked for.
        measure: which probability that is, "all_strings" or "canonical"; of an ensemble, how it combines which.
        dropped: share of the probability that was dropped on the way, added up; 0 is exact.
        merged: share of the probability of token sequences that were read on as others that end alike, added up.
    """

    log_probability: float
    bytes: int
    log_probabilities: np.ndarray | None
    measure: str
    dropped: float
    merged: float = 0.0

    @property
    def bits_per_byte(self) -> float:
        """Mean bits a byte; comparable across tokenizers."""
        return -self.log_probability / self.bytes / math.log(2)


def score_bytes(
    model: PreTrainedModel,
    texts: str | bytes | Sequence[str | bytes],
    tokenizer: Any = None,
    measure: str = "all_strings",
    tolerance: float = 1e-3,
    per_byte: bool = True,
) -> list[ByteScore]:
    """Score texts; whatever is known beforehand runs in the same passes of the model.

    Args:
        model: a `ByteLevelForCausalLM` or `ByteEnsembleForCausalLM`, or any causal LM of transformers together with its
            tokenizer.
        texts: texts, or bytes that need not be UTF-8; the base's opening token stands before each.
        tokenizer: the tokenizer of a causal LM; None for the two others, whose own settings hold.
        measure: "all_strings" or "canonical".
        tolerance: token sequences whose share of the probability of a text is not above this are dropped; 0 drops none.
        per_byte: also say the probability of each byte. Without it a canonical score costs one token of the model for each
            token of the text, since no other sequence spells the whole of it.

    Returns:
        One score a text, in order.

    Raises:
        TextError: a text is empty, neither str nor bytes, or longer than the model's context.
        UnsupportedModelError: the model is no causal LM, its tokenizer is missing, or the measure is not possible for it.
        VocabularyError: the bytes of the tokenizer's ids cannot be read.
    """
    given = [texts] if isinstance(texts, str | bytes | bytearray) else texts
    for number, text in enumerate(given):
        if not isinstance(text, str | bytes | bytearray):  # a number would be so many zeros
            raise TextError(f"text {number} is a {type(text).__name__}; give str or bytes, not ids")
    data = [to_bytes(text) if isinstance(text, str) else bytes(text) for text in given]
    if b"" in data:
        raise TextError(f"text {data.index(b'')} is empty and has no bytes to score; leave it out")
    with evaluating(model):
        if isinstance(model, ByteEnsembleForCausalLM):
            return [score for group in _groups(data) for score in _of_ensemble(model, group, per_byte)]
        view = view_of(model, tokenizer, measure, tolerance)
        return [score for group in _groups(data) for score in _of_view(view, group, per_byte)]


def _score(found: np.ndarray, per_byte: bool, measure: str, *lost: float) -> ByteScore:
    return ByteScore(float(found.sum()), len(found), found if per_byte else None, measure, *lost)


def _of_view(view: ByteView, texts: list[bytes], per_byte: bool) -> list[ByteScore]:
    readings = view.read(view.texts(len(texts)), texts, whole=not per_byte)
    return [
        _score(each.log_probabilities, per_byte, view.measure, float(each.dropped.sum()) + each.opening, each.merged)
        for each in readings
    ]


def _of_ensemble(model: ByteEnsembleForCausalLM, texts: list[bytes], per_byte: bool) -> list[ByteScore]:
    configs: Any = model.config.members
    measure = f"{model.config.combination} of {', '.join(dict.fromkeys(member.measure for member in configs))}"
    found = zip(texts, model.distributions(texts), strict=True)
    return [_score(rows[np.arange(len(text)), list(text)], per_byte, measure, *lost) for text, (rows, *lost) in found]


def view_of(model: PreTrainedModel, tokenizer: Any, measure: str, tolerance: float) -> ByteView:
    """The byte view of a model.

    Args:
        model: a `ByteLevelForCausalLM`, or any causal LM of transformers in evaluation mode.
        tokenizer: the tokenizer of the latter.
        measure: as for `ByteView`, for the latter.
        tolerance: as for `ByteView`, for the latter.

    Returns:
        Its view.

    Raises:
        UnsupportedModelError: a causal LM without tokenizer, or a model that is none.
    """
    if isinstance(model, ByteLevelForCausalLM):
        return model.view
    if tokenizer is None:
        raise UnsupportedModelError(
            f"{type(model).__name__} is read through its tokenizer: give tokenizer=, or byteify it first"
        )
    check_causal(model, "a byte view")
    return ByteView(model, tokenizer, measure, tolerance)


def _groups(data: list[bytes]) -> list[list[bytes]]:
    """Texts in order, as many together as `BYTES_AT_ONCE` has room for."""
    groups: list[list[bytes]] = []
    room = 0
    for text in data:
        if not groups or len(text) > room:
            groups.append([])
            room = BYTES_AT_ONCE
        groups[-1].append(text)
        room -= len(text)
    return groups
