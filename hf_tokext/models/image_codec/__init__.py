"""Image codec: an image becomes a short row of codes, and comes back."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.image_codec."

register_family(
    _HERE + "configuration_image_codec:ImageCodecConfig",
    image_processor=_HERE + "image_processing_image_codec:ImageCodecImageProcessor",
    models={"AutoModel": _HERE + "modeling_image_codec:ImageCodecModel"},
)
