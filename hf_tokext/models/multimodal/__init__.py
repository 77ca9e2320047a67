"""Any causal LM with codecs: it reads and writes images, speech and depth as ids of its own vocabulary."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.multimodal."

register_family(
    _HERE + "configuration_multimodal:MultimodalConfig",
    processor=_HERE + "processing_multimodal:MultimodalProcessor",
    models={
        "AutoModel": _HERE + "multimodal_model:MultimodalModel",
        "AutoModelForCausalLM": _HERE + "modeling_multimodal:MultimodalForCausalLM",
        "AutoModelForImageTextToText": _HERE + "modeling_multimodal:MultimodalForCausalLM",
        "AutoModelForMultimodalLM": _HERE + "modeling_multimodal:MultimodalForCausalLM",
    },
)
