"""A causal LM whose input embeddings are frozen pictures of characters, and the two controls that the claim needs."""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils.generic import can_return_tuple

from hf_tokext.errors import CheckpointError, UnsupportedModelError
from hf_tokext.models.blocks.backbone import OnBackbone
from hf_tokext.models.blocks.fixed_vocabulary import FixedVocabulary
from hf_tokext.models.glyph.configuration_glyph import GlyphConfig
from hf_tokext.models.glyph.rendering import GlyphTable, glyph_vectors, render_glyphs


class GlyphPreTrainedModel(OnBackbone, FixedVocabulary):
    """What the two models share."""

    config_class = GlyphConfig
    config: GlyphConfig
    base_model_prefix = "model"
    model_tags = ["hf_tokext"]

    @classmethod
    def from_font(cls, config: GlyphConfig, font: str | Path, size: int = 32) -> Any:
        """Make a new model whose embeddings are drawn from a font.

        Args:
            config: with `embedding="glyph"`; its `font` is filled in.
            font: GNU Unifont's .hex, a BDF file, or an outline font, which needs Pillow.
            size: side in pixels of the pictures of an outline font.

        Returns:
            The model.

        Raises:
            FontError: the font cannot be read.
            MissingExtraError: an outline font, and Pillow is not installed.
            UnsupportedModelError: the config asks for other embeddings, or its backbone is none.
        """
        if config.embedding != "glyph":
            raise UnsupportedModelError(
                f'embedding is {config.embedding!r}, which no font is needed for; set it "glyph"'
            )
        return cls(config, render_glyphs(font, config.special_tokens or (), size))

    def _fixed_as(self) -> str:
        return (
            f"the vocabulary is the {self.config.vocab_size} ids of code points and special tokens; name further tokens in "
            "GlyphConfig(special_tokens=[...]) and make the model anew"
        )

    def _adjust_missing_and_unexpected_keys(self, loading_info: Any) -> None:
        """Refuse a checkpoint without the pictures, which would be replaced by noise."""
        embeddings = self.get_input_embeddings()
        names = {name for name, module in self.named_modules() if module is embeddings}
        lacking = {f"{name}.weight" for name in names} & set(loading_info.missing_keys)
        if lacking and self.config.embedding == "glyph":
            raise CheckpointError(f"the checkpoint lacks {min(lacking)}, the glyph vectors; save the model anew")
        super()._adjust_missing_and_unexpected_keys(loading_info)


class GlyphModel(GlyphPreTrainedModel):
    """Code points in, hidden states out.

    Args:
        config: the configuration.
        glyphs: pictures for a new model with `embedding="glyph"`; `from_font` draws them, a checkpoint has them.

    Raises:
        UnsupportedModelError: the backbone is no causal LM that this works with, or a new model has no pictures.
    """

    def __init__(self, config: GlyphConfig, glyphs: GlyphTable | None = None) -> None:
        super().__init__(config)
        _check(config)
        self.backbone = AutoModel.from_config(config.backbone_config)
        if "past_key_values" not in inspect.signature(self.backbone.forward).parameters:
            raise UnsupportedModelError(
                f"{type(self.backbone).__name__} takes no past_key_values; choose a transformer"
            )
        embeddings = self.backbone.get_input_embeddings()
        if config.embedding != "trainable":  # a buffer: nothing can train it, whatever requires_grad is set to
            rows = embeddings._parameters.pop("weight").detach()
            embeddings.register_buffer("weight", rows)
        self.post_init()
        if embeddings.weight.device.type != "meta":  # there from_pretrained fills it
            embeddings.weight.data.copy_(self._first_rows(embeddings.weight, glyphs))

    def _first_rows(self, weight: torch.Tensor, glyphs: GlyphTable | None) -> torch.Tensor:
        """Rows of length 1, [V, D]."""
        # drawn apart, and a seed drawn whatever the rows are, so that all else is equal whatever the embedding
        chance = torch.Generator().manual_seed(int(torch.randint(2**62, (), device="cpu")))
        if self.config.embedding != "glyph":
            return nn.functional.normalize(torch.randn(weight.shape, generator=chance, device="cpu"), dim=-1)
        if glyphs is None:
            raise UnsupportedModelError(
                f"a new model needs a font: {type(self).__name__}.from_font(config, font); or set the config's "
                'embedding to "random" or "trainable"'
            )
        if len(glyphs.bits) != len(weight):
            raise UnsupportedModelError(f"{len(glyphs.bits)} glyphs for {len(weight)} ids; draw the special tokens too")
        self.config.font = {
            "name": glyphs.font, "size": glyphs.size, "missing": glyphs.missing, "distinct": glyphs.distinct
        }  # fmt: skip
        return torch.from_numpy(glyph_vectors(glyphs.bits, weight.shape[1]))

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the backbone.

        Args:
            input_ids: [B, T] ids, unless `inputs_embeds` is given.
            attention_mask: [B, T], 1 where a token is seen.
            position_ids: [B, T] places.
            past_key_values: cache of earlier tokens.
            inputs_embeds: [B, T, D] vectors.
            use_cache: return the cache.
            **kwargs: as for the backbone.

        Returns:
            What the backbone gives; its first item is hidden states, [B, T, D].
        """
        given = {"position_ids": position_ids, "past_key_values": past_key_values, "use_cache": use_cache}
        kwargs |= {name: value for name, value in given.items() if value is not None}
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs)


class GlyphForCausalLM(GlyphPreTrainedModel, GenerationMixin):
    """GlyphModel and a trained head, never tied; scaling or capping of logits in the backbone's own class is not done.

    Args:
        config: the configuration.
        glyphs: pictures for a new model with `embedding="glyph"`; `from_font` draws them, a checkpoint has them.

    Raises:
        UnsupportedModelError: the backbone is no causal LM that this works with, or a new model has no pictures.

    Source: Emergent Semantics Beyond Token Embeddings (arXiv 2507.04886).
    """

    _inner = "model"

    def __init__(self, config: GlyphConfig, glyphs: GlyphTable | None = None) -> None:
        super().__init__(config)
        self.model = GlyphModel(config, glyphs)
        width = self.model.get_input_embeddings().weight.shape[1]
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the model and its head.

        Args:
            input_ids: [B, T] ids, unless `inputs_embeds` is given.
            attention_mask: [B, T], 1 where a token is seen.
            position_ids: [B, T] places.
            past_key_values: cache of earlier tokens.
            inputs_embeds: [B, T, D] vectors.
            labels: [B, T] ids to be predicted, each from those before it; -100 is left out.
            use_cache: return the cache.
            logits_to_keep: how many last places get logits, or which; 0 is all.
            **kwargs: as for the backbone.

        Returns:
            Loss in nats a token, and logits [B, T, V].
        """
        outputs = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache, **kwargs,
        )  # fmt: skip
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs[0][:, kept, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=getattr(outputs, "past_key_values", None),
            hidden_states=getattr(outputs, "hidden_states", None),
            attentions=getattr(outputs, "attentions", None),
        )


def _check(config: GlyphConfig) -> None:
    """Refuse what is no causal LM of one part."""
    backbone: Any = config.backbone_config
    kind = type(backbone)
    known = kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind in AutoModel._model_mapping
    two_sided = kind in MODEL_FOR_MASKED_LM_MAPPING and not getattr(backbone, "is_decoder", False)
    if not known or two_sided or backbone.is_encoder_decoder or backbone.get_text_config() is not backbone:
        raise UnsupportedModelError(
            f"backbone_config is {kind.__name__}, which is not a causal LM of text alone; give the config of one that "
            "AutoModelForCausalLM makes (of a multimodal model its text config, of BERT and its like is_decoder=True)"
        )
