"""What molecules are registered under."""

from transformers import PreTrainedConfig


class MoleculeConfig(PreTrainedConfig):
    """The key that the tokenizer and the processor of molecules are registered under; it describes no model."""

    model_type = "tokext_molecule"
