"""Byte level: the tokenizer whose ids are bytes."""

from hf_tokext.registry import register_family

register_family(
    "hf_tokext.models.byte_level.configuration_byte_level:ByteConfig",
    tokenizer="hf_tokext.models.byte_level.tokenization_byte_level:ByteTokenizer",
    tokenizer_only=True,
)
