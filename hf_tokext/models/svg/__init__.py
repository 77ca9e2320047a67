"""SVG drawings as tokens."""

from hf_tokext.registry import register_family

HERE = "hf_tokext.models.svg"

register_family(
    f"{HERE}.configuration_svg:SVGConfig", tokenizer=f"{HERE}.tokenization_svg:SVGTokenizer", tokenizer_only=True
)
