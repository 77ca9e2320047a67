"""A causal LM whose vocabulary has the codes of codecs."""

from typing import Any

from torch import Tensor
from transformers import GenerationMixin

from hf_tokext.models.blocks.backbone import CausalOnBackbone
from hf_tokext.models.multimodal.configuration_multimodal import MultimodalConfig
from hf_tokext.models.multimodal.generation import MultimodalGeneration
from hf_tokext.models.multimodal.multimodal_model import MultimodalModel


class MultimodalForCausalLM(CausalOnBackbone, MultimodalGeneration, MultimodalModel, GenerationMixin):
    """A causal LM that reads and writes the codes of codecs; `generate` keeps them well-formed.

    Args:
        config: the configuration.
    """

    def __init__(self, config: MultimodalConfig) -> None:
        super().__init__(config)
        self._take_after_backbone()

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the LM, with codes in place of placeholders.

        Args:
            input_ids: [B, T] ids with placeholders, or with the codes themselves.
            attention_mask: [B, T], 1 where something is seen.
            position_ids: [B, T] places, for LMs that take them.
            inputs_embeds: [B, T, D] in place of ids.
            labels: [B, T] ids, not shifted; -100 is left out. Placeholders among them stand for their codes, or for
                latents.
            **kwargs: what the processor gives, such as image_pixel_values, and what the LM takes.

        Returns:
            What the LM gives: loss in nats a token, with the codecs' own where they learn; logits [B, T, V]; the cache.

        Raises:
            ModalityError: placeholders and values do not fit, or codes are given where codecs learn.
        """
        learn = self.training and self.config.tuning == "end_to_end"
        given, reading = self._given(input_ids, inputs_embeds, kwargs, learn)
        named = {"attention_mask": attention_mask, "position_ids": position_ids}
        given |= kwargs | {name: value for name, value in named.items() if value is not None}
        if labels is None or reading is None:
            return self.backbone(**given, **({} if labels is None else {"labels": labels}))
        targets = reading.targets(labels)
        drawn = reading.drawn(labels)
        found = self.backbone(**given, labels=targets, **({"output_hidden_states": True} if drawn else {}))
        count = kwargs.get("num_items_in_batch")
        share = 1.0 if count is None else (targets[:, 1:] != -100).sum() / count
        for name, (row, place) in drawn.items():
            hidden = found.hidden_states[-1][row, place - 1]
            sense = self._senses[name]
            wanted = sense.scale(reading.latents[name][reading.rank(name, row, place)])
            found.loss = found.loss + share * sense.flow.loss(wanted.to(hidden.device), hidden).mean()
        if reading.loss is not None:
            found.loss = found.loss + share * self.config.reconstruction_weight * reading.loss.to(found.loss.device)
        return found
