"""Configuration of the byte-level family."""

from transformers import PreTrainedConfig


class ByteConfig(PreTrainedConfig):
    """The key that `ByteTokenizer` is registered with AutoTokenizer under; it describes no model."""

    model_type = "tokext_byte"
