"""Byte level: the tokenizer whose ids are bytes, and causal LMs over tokens read one byte at a time."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.byte_level."

register_family(
    _HERE + "configuration_byte_level:ByteConfig",
    tokenizer=_HERE + "tokenization_byte_level:ByteTokenizer",
    tokenizer_only=True,
)
register_family(
    _HERE + "configuration_byte_level:ByteLevelConfig",
    tokenizer=_HERE + "tokenization_byte_level:ByteTokenizer",
    models={"AutoModelForCausalLM": _HERE + "modeling_byte_level:ByteLevelForCausalLM"},
)
register_family(
    _HERE + "configuration_byte_level:ByteEnsembleConfig",
    tokenizer=_HERE + "tokenization_byte_level:ByteTokenizer",
    models={"AutoModelForCausalLM": _HERE + "modeling_byte_ensemble:ByteEnsembleForCausalLM"},
)
