"""Language models with tables of further ids beside their tokens: causal ones, and encoder-decoders."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from hf_tokext.models.side_channel.side_channel_model import SideChannelModel


class SideChannelForCausalLM(SideChannelModel):
    """A causal LM with side tables.

    In `generate`, side ids stand beside the prompt; what is generated has none, unless they are longer than the prompt.
    """

    _auto = AutoModelForCausalLM

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        side_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Cut out the side ids of the tokens that the backbone reads next.

        Args:
            input_ids: [B, T] all tokens so far.
            side_ids: [B, S, levels of all tables] from the beginning on.
            **kwargs: as upstream.

        Returns:
            What `forward` takes.
        """
        found = self.backbone.prepare_inputs_for_generation(input_ids, **kwargs)
        if side_ids is None:
            return found
        read = found["input_ids"].shape[1]
        seen = input_ids.shape[1]
        missing = max(seen - side_ids.shape[1], 0)
        padded = nn.functional.pad(side_ids, (0, 0, 0, missing), value=-1)
        found["side_ids"] = padded[:, seen - read : seen]
        return found


class SideChannelForConditionalGeneration(SideChannelModel):
    """An encoder-decoder with side tables on its encoder; the decoder is the backbone's own."""

    _auto = AutoModelForSeq2SeqLM
    _encoder_decoder = True

    def get_encoder(self, modality: str | None = None) -> Any:
        """Give the backbone's encoder, which takes embeddings that are mixed already.

        Args:
            modality: as upstream.

        Returns:
            The encoder.
        """
        return self.backbone.get_encoder(modality=modality)

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Shift labels by one place; collators of transformers ask for it.

        Args:
            labels: [B, T].

        Returns:
            [B, T] ids for the decoder.
        """
        return self.backbone.prepare_decoder_input_ids_from_labels(labels)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: torch.Tensor, **kwargs: Any
    ) -> dict[str, Any]:
        """Prepare the decoder's inputs as the backbone does; the encoder has run.

        Args:
            input_ids: [B, T] ids of the decoder.
            **kwargs: as upstream.

        Returns:
            What `forward` takes.
        """
        kwargs.pop("side_ids", None)
        return self.backbone.prepare_inputs_for_generation(input_ids, **kwargs)

    def _prepare_text_encoder_decoder_kwargs_for_generation(  # type: ignore[override]
        self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any], model_input_name: str | None, **kwargs: Any
    ) -> dict[str, Any]:
        tokens, embeds = (None, inputs_tensor) if model_input_name == "inputs_embeds" else (inputs_tensor, None)
        mixed = self.mix(tokens, embeds, model_kwargs.pop("side_ids", None))
        above: Any = super()
        return above._prepare_text_encoder_decoder_kwargs_for_generation(
            mixed, model_kwargs, model_input_name="inputs_embeds", **kwargs
        )
