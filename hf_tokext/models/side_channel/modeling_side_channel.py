"""Language models with tables of further ids beside their tokens: causal ones, and encoder-decoders."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from hf_tokext.errors import TextError
from hf_tokext.models.blocks.backbone import CausalOnBackbone
from hf_tokext.models.side_channel.side_channel_model import SideChannelModel, SideIds


class SideChannelForCausalLM(CausalOnBackbone, SideChannelModel):
    """A causal LM with side tables.

    In `generate`, side ids stand beside the tokens or embeddings that it is given; what is generated has none, unless they
    are longer.
    """

    _auto = AutoModelForCausalLM

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        side_ids: SideIds | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the backbone on tokens and what stands beside them.

        Args:
            input_ids: [B, T] ids, unless `inputs_embeds` is given.
            attention_mask: [B, T], 1 where a token is seen.
            position_ids: [B, T] places, for backbones that take them.
            inputs_embeds: [B, T, D] vectors in place of the tokens'; side ids are mixed into them too.
            side_ids: [B, T, levels of all tables], -1 for none; or a tensor [B, T, levels] by name of table.
            labels: [B, T] ids, not shifted; -100 is left out.
            **kwargs: as for the backbone.

        Returns:
            What the backbone gives: loss in nats a token, logits [B, T, V], the cache.
        """
        given = {"attention_mask": attention_mask, "position_ids": position_ids, "labels": labels}
        return self._run(input_ids, inputs_embeds, side_ids, given, kwargs)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        side_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Cut out the side ids of the tokens that the backbone reads next.

        Args:
            input_ids: [B, T] all tokens so far, or some last ones.
            past_key_values: cache of what has been read.
            inputs_embeds: [B, T, D], what is read first in place of tokens.
            side_ids: [B, S, levels of all tables] from the beginning on, what is in the cache included.
            **kwargs: as upstream.

        Returns:
            What `forward` takes.
        """
        found = self.backbone.prepare_inputs_for_generation(
            input_ids, past_key_values=past_key_values, inputs_embeds=inputs_embeds, **kwargs
        )
        if side_ids is None:
            return found
        tokens = found.get("input_ids")
        read = (found["inputs_embeds"] if tokens is None else tokens).shape[1]
        # input_ids do not say where we are: they may be a chunk of the prompt, or what follows embeddings
        start = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        missing = max(start + read - side_ids.shape[1], 0)
        found["side_ids"] = nn.functional.pad(side_ids, (0, 0, 0, missing), value=-1)[:, start : start + read]
        return found

    def _beside(self, side_ids: torch.Tensor, inputs: torch.Tensor, rest: dict[str, Any]) -> torch.Tensor:
        """Side ids from the beginning on, what is in a cache included."""
        batch, length = inputs.shape[:2]
        if side_ids.ndim != 3 or side_ids.shape[0] != batch or side_ids.shape[1] < length:
            raise TextError(
                f"side_ids have the shape {list(side_ids.shape)}; beside a prompt of shape [{batch}, {length}] it must be "
                f"[{batch}, {length} or more, levels of all tables], with -1 for none"
            )
        mask = rest.get("attention_mask")  # longer than the prompt if that follows a cache
        before = 0 if mask is None else mask.shape[-1] - length
        return nn.functional.pad(side_ids, (0, 0, before, 0), value=-1)


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

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        side_ids: SideIds | None = None,
        labels: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        decoder_inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the backbone on tokens and what stands beside them.

        Args:
            input_ids: [B, T] ids for the encoder, unless `inputs_embeds` or `encoder_outputs` is given.
            attention_mask: [B, T], 1 where a token is seen.
            inputs_embeds: [B, T, D] vectors in place of the tokens'; side ids are mixed into them too.
            side_ids: [B, T, levels of all tables], -1 for none; or a tensor [B, T, levels] by name of table. Beside
                `encoder_outputs` they mean nothing: the encoder has run.
            labels: [B, U] ids for the decoder to write; -100 is left out.
            decoder_input_ids: [B, U]; by default the labels, shifted.
            decoder_attention_mask: [B, U], 1 where the decoder sees its own.
            decoder_inputs_embeds: [B, U, D] in place of `decoder_input_ids`.
            **kwargs: as for the backbone.

        Returns:
            What the backbone gives: loss in nats a token, logits [B, U, V], the cache.

        Raises:
            TextError: there is nothing for the decoder, or the side ids do not fit.
        """
        if labels is None and decoder_input_ids is None and decoder_inputs_embeds is None:
            raise TextError("the decoder has nothing to read; give labels, decoder_input_ids or decoder_inputs_embeds")
        given = {
            "attention_mask": attention_mask,
            "labels": labels,
            "decoder_input_ids": decoder_input_ids,
            "decoder_attention_mask": decoder_attention_mask,
            "decoder_inputs_embeds": decoder_inputs_embeds,
        }
        return self._run(input_ids, inputs_embeds, side_ids, given, kwargs)

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
