"""Depth codec: a depth map becomes a grid of codes, and comes back."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.depth_codec."

register_family(
    _HERE + "configuration_depth_codec:DepthCodecConfig",
    image_processor=_HERE + "image_processing_depth_codec:DepthCodecImageProcessor",
    models={"AutoModel": _HERE + "modeling_depth_codec:DepthCodecModel"},
)
