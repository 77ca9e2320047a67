"""transformers' own audio codecs behind the interface that all codecs of the package have."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.audio_codec."

register_family(
    _HERE + "configuration_audio_codec:WrappedAudioCodecConfig",
    models={
        "AutoModel": _HERE + "modeling_audio_codec:WrappedAudioCodec",
        "AutoModelForAudioTokenization": _HERE + "modeling_audio_codec:WrappedAudioCodec",
    },
)
