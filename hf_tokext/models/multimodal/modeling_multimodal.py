"""A causal LM whose vocabulary has the codes of codecs."""

from typing import Any

from torch import Tensor
from transformers import GenerationMixin
from transformers.utils import can_return_tuple

from hf_tokext.errors import ModalityError
from hf_tokext.models.blocks.backbone import CausalOnBackbone
from hf_tokext.models.multimodal.configuration_multimodal import MultimodalConfig
from hf_tokext.models.multimodal.generation import MultimodalGeneration
from hf_tokext.models.multimodal.id_rows import LEFT_OUT
from hf_tokext.models.multimodal.multimodal_model import MultimodalModel
from hf_tokext.models.multimodal.reading import Reading


class MultimodalForCausalLM(CausalOnBackbone, MultimodalGeneration, MultimodalModel, GenerationMixin):
    """A causal LM that reads and writes the codes of codecs; `generate` keeps them well-formed.

    Args:
        config: the configuration.
    """

    def __init__(self, config: MultimodalConfig) -> None:
        super().__init__(config)
        self._take_after_backbone()

    @can_return_tuple
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
            What the LM gives: loss, the mean over all that the labels want of nats a token and of what `FlowHead.loss` says
            of a latent, with the codecs' own where they learn; logits [B, T, V]; the cache.

        Raises:
            ModalityError: placeholders and values do not fit, codes are given where codecs learn, or they are to learn and
                nothing of them may.
        """
        learn = self.training and self.config.tuning == "end_to_end"
        if learn and not any(
            part.requires_grad for sense in self._senses.values() for part in sense.codec.parameters()
        ):
            raise ModalityError(
                "with tuning='end_to_end' the codecs learn, and all that they have is frozen, as PEFT does it: an adapter would "
                "not hold what their codebooks learn; train all of the model, or choose set_tuning('frozen')"
            )
        given, reading = self._given(input_ids, inputs_embeds, kwargs, learn)
        named = {"attention_mask": attention_mask, "position_ids": position_ids}
        given |= kwargs | {name: value for name, value in named.items() if value is not None}
        if labels is None or reading is None:
            return self.backbone(**given, **({} if labels is None else {"labels": labels}))
        return self._supervised(given, reading, labels)

    def _supervised(self, given: dict[str, Any], reading: Reading, labels: Tensor) -> Any:
        """What the LM gives, with the loss of ids and latents: each counts as one, as where `Trainer` counts labels."""
        drawn = reading.drawn(labels)
        wanted = int((labels[:, 1:] != LEFT_OUT).sum())
        count = int(given.get("num_items_in_batch") or wanted)
        shown = given.get("output_hidden_states", self.backbone.config.output_hidden_states)
        if drawn:
            given = given | {"num_items_in_batch": count, "output_hidden_states": True}
        found = self.backbone(**given, labels=reading.targets(labels))
        for name, (row, place) in drawn.items():
            hidden = found.hidden_states[-1][row, place - 1]
            sense = self._senses[name]
            # a target: a codec that learned from it would make its latents easy to guess
            latents = sense.scale(reading.latents[name][reading.rank(name, row, place)]).detach()
            loss = sense.flow.loss(latents.to(hidden.device), hidden).sum() / count
            found.loss = found.loss + loss.to(found.loss.device)
        if reading.loss is not None:
            share = wanted / count if count else 1.0
            found.loss = found.loss + share * self.config.reconstruction_weight * reading.loss.to(found.loss.device)
        if drawn and not shown:
            return type(found)(**{name: value for name, value in found.items() if name != "hidden_states"})
        return found
