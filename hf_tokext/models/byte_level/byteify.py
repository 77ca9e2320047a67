"""Making a byte-level model out of a token-level one."""

from typing import Any

import torch
from tokenizers import AddedToken
from transformers import GenerationConfig, PreTrainedModel

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.measure.causal import check_causal
from hf_tokext.models.blocks.markers import PAD
from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.byte_view import check_settings
from hf_tokext.models.byte_level.configuration_byte_level import ByteLevelConfig
from hf_tokext.models.byte_level.modeling_byte_level import ByteLevelForCausalLM
from hf_tokext.models.byte_level.tokenization_byte_level import ByteTokenizer
from hf_tokext.vocabulary.pieces import read_vocabulary


def byteify(
    model: PreTrainedModel, tokenizer: Any, measure: str = "all_strings", tolerance: float = 1e-3
) -> tuple[ByteLevelForCausalLM, ByteTokenizer]:
    """Read a causal LM one byte at a time.

    Args:
        model: a causal LM of transformers; it is not copied, and becomes part of the result.
        tokenizer: its tokenizer, backed by a tokenizer.json.
        measure: "all_strings", the probability of all token strings that spell a text, or "canonical", that of the model
            kept to what its tokenizer gives.
        tolerance: token sequences whose share of the probability of a text is not above this are dropped; 0 drops none.

    Returns:
        The byte-level model, and its tokenizer: bytes, and the special tokens of the base as markers.

    Raises:
        UnsupportedModelError: the model is no causal LM, or the measure is not possible for its tokenizer.
        VocabularyError: the bytes of the tokenizer's ids cannot be read, it has no eos, or it does not fit the model.
    """
    if model.config.is_encoder_decoder or model.get_output_embeddings() is None or not model.can_generate():
        raise UnsupportedModelError(
            f"{type(model).__name__} is no causal LM over tokens; bytes are read off AutoModelForCausalLM's"
        )
    check_causal(model, "a byte view")
    check_settings(measure, tolerance)
    byte_tokenizer = byte_tokenizer_of(tokenizer)
    markers: Any = byte_tokenizer.convert_ids_to_tokens(list(range(256, len(byte_tokenizer))))
    config = ByteLevelConfig(
        base_config=model.config, markers=markers, measure=measure, tolerance=tolerance,  # type: ignore[arg-type]
        pad_token_id=byte_tokenizer.pad_token_id, bos_token_id=byte_tokenizer.bos_token_id,
        eos_token_id=_ends(model, tokenizer, byte_tokenizer), dtype=model.dtype,
    )  # fmt: skip
    with torch.device("meta"):
        found = ByteLevelForCausalLM(config)
    found.base = model.eval()
    found.eval()
    ends = {name: getattr(config, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    found.generation_config = GenerationConfig(**ends)  # what shapes the base's sampling is meant for tokens
    found.set_base_tokenizer(tokenizer)
    found.view.texts(0)  # errors of the tokenizer are raised here, not at the first text
    return found, byte_tokenizer


def byte_tokenizer_of(tokenizer: Any) -> ByteTokenizer:
    """Make the tokenizer of bytes whose markers are a base's special tokens.

    Args:
        tokenizer: the base's, backed by a tokenizer.json.

    Returns:
        The tokenizer.

    Raises:
        VocabularyError: the bytes of the base's ids cannot be read.
    """
    base = BaseTokens(tokenizer)
    special = dict(zip(base.marker_ids.tolist(), base.marker_texts, strict=True))
    opening = special.get(base.opening_ids[-1])
    found = ByteTokenizer(
        pad_token=tokenizer.pad_token or PAD,
        bos_token=tokenizer.bos_token or opening,
        eos_token=tokenizer.eos_token,
        unk_token=tokenizer.unk_token if tokenizer.unk_token_id in special else None,
        add_bos_token=bool(tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]),
        chat_template=tokenizer.chat_template,
    )
    known = set(found.get_added_vocab())
    rest = [text for text in base.marker_texts if text not in known]
    found.add_tokens([AddedToken(text, special=True, normalized=False) for text in rest], special_tokens=True)
    return found


def _ends(model: PreTrainedModel, tokenizer: Any, byte_tokenizer: ByteTokenizer) -> list[int]:
    """Markers that end a text: those that end the base's generation."""
    generation = getattr(model, "generation_config", None)
    special = read_vocabulary(tokenizer).special
    ends: list[int] = []
    for found in (getattr(generation, "eos_token_id", None), model.config.eos_token_id, tokenizer.eos_token_id):
        ends += [found] if isinstance(found, int) else found or []
    texts = [special[index] for index in dict.fromkeys(ends) if index in special]
    if not texts:
        raise VocabularyError(
            "neither the tokenizer nor the model names an end of sequence, so no text would ever end; set "
            "tokenizer.eos_token to one of its special tokens"
        )
    ids: Any = byte_tokenizer.convert_tokens_to_ids(texts)
    return list(ids)
