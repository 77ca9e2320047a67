"""Which backbones side tables can be put on."""

from typing import Any

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.models.blocks.backbone import looks_tokens_up
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig


def check_config(config: SideChannelConfig, encoder_decoder: bool) -> None:
    """Refuse backbones of the other kind, those that look at tokens themselves, and what these cannot be mixed by.

    Args:
        config: of the model with tables.
        encoder_decoder: whether the model is one for encoder-decoders.

    Raises:
        UnsupportedModelError: the model cannot be made.
    """
    backbone: Any = config.backbone_config
    name = type(backbone).__name__
    if bool(backbone.is_encoder_decoder) is not encoder_decoder:
        other = "ForCausalLM" if encoder_decoder else "ForConditionalGeneration"
        kind = "no encoder-decoder" if encoder_decoder else "an encoder-decoder"
        raise UnsupportedModelError(f"backbone_config is {name}, {kind}; use SideChannel{other}")
    if looks_tokens_up(backbone.get_text_config(decoder=True)):
        raise UnsupportedModelError(
            f"backbone_config is {name}, whose layers look tokens up again, past the embeddings that tables are mixed "
            "into; choose another backbone"
        )
    published = [key for key, table in (config.side_tables or {}).items() if table["mixing"] == "published"]
    if published and not encoder_decoder:
        raise UnsupportedModelError(
            f'side table {published[0]!r}: mixing="published" decides by all positions at once, and a causal LM that '
            'generates with a cache sees them one by one; take "mean"'
        )
