"""What a transformers tokenizer was told after it was made; its `save_pretrained` keeps little of it."""

from typing import Any

SETTINGS = (
    "padding_side",
    "truncation_side",
    "model_max_length",
    "model_input_names",
    "chat_template",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)


def settings(tokenizer: Any) -> dict[str, Any]:
    """Read the settings of a tokenizer as they are now.

    Args:
        tokenizer: a transformers tokenizer.

    Returns:
        Value by name of attribute; each is also an argument that tokenizer classes take.
    """
    return {name: getattr(tokenizer, name) for name in SETTINGS}
