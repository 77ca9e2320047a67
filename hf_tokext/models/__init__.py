"""Families of classes, one folder each; importing this registers all of them with the Auto classes, by name only."""

from hf_tokext.models import byte_level, glyph, llvm_ir, molecule, side_channel, svg

__all__ = ["byte_level", "glyph", "llvm_ir", "molecule", "side_channel", "svg"]
