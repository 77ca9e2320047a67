"""Glyph: text as code points, and a language model that sees them as pictures."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.glyph."

register_family(
    _HERE + "configuration_glyph:GlyphConfig",
    tokenizer=_HERE + "tokenization_glyph:GlyphTokenizer",
    models={
        "AutoModel": _HERE + "modeling_glyph:GlyphModel",
        "AutoModelForCausalLM": _HERE + "modeling_glyph:GlyphForCausalLM",
    },
)
