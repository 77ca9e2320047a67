"""Families of classes, one folder each; importing this registers all of them with the Auto classes, by name only."""

from hf_tokext.models import (
    audio_codec,
    byte_level,
    depth_codec,
    glyph,
    image_codec,
    llvm_ir,
    molecule,
    multimodal,
    side_channel,
    speech_codec,
    svg,
)

__all__ = [
    "audio_codec",
    "byte_level",
    "depth_codec",
    "glyph",
    "image_codec",
    "llvm_ir",
    "molecule",
    "multimodal",
    "side_channel",
    "speech_codec",
    "svg",
]
