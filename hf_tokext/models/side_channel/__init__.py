"""Side channel: any backbone of transformers, with tables of further ids mixed into its input embeddings."""

from hf_tokext.registry import register_family

_HERE = "hf_tokext.models.side_channel."

register_family(
    _HERE + "configuration_side_channel:SideChannelConfig",
    models={
        "AutoModelForCausalLM": _HERE + "modeling_side_channel:SideChannelForCausalLM",
        "AutoModelForSeq2SeqLM": _HERE + "modeling_side_channel:SideChannelForConditionalGeneration",
    },
)
