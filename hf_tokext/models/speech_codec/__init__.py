"""Sounds to a few codes a second and back: a convolutional codec that can be taught what words and speech models know."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.speech_codec."

register_family(
    _HERE + "configuration_speech_codec:SpeechCodecConfig",
    feature_extractor=_HERE + "feature_extraction_speech_codec:SpeechCodecFeatureExtractor",
    models={
        "AutoModel": _HERE + "modeling_speech_codec:SpeechCodecModel",
        "AutoModelForAudioTokenization": _HERE + "modeling_speech_codec:SpeechCodecModel",
    },
)
