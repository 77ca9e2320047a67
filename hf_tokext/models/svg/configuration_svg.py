"""What drawings are registered under."""

from transformers import PreTrainedConfig


class SVGConfig(PreTrainedConfig):
    """The key that `SVGTokenizer` is registered with AutoTokenizer under; it describes no model."""

    model_type = "tokext_svg"
