"""Generation of text and codes that keeps to what documents of codes are, and of latents."""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin, LogitsProcessor, LogitsProcessorList

from hf_tokext.errors import ModalityError, VocabularyError
from hf_tokext.evaluating import evaluating
from hf_tokext.measure.causal import text_stack
from hf_tokext.models.multimodal.reading import owner_of
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor


class _OneGeneration(GrammarLogitsProcessor):
    """Keeps one call of `generate` to the grammar; it is told the room when upstream has worked it out."""

    def end_by(self, max_length: int) -> None:
        if self._max_length is None:  # an assistant's generations are told of it too, and have less room
            self._max_length = max_length


class _SomethingLeft(LogitsProcessor):
    """Says so where all other processors together leave nothing: an id would be taken that may not follow.

    Args:
        grammar: the first of them.
    """

    def __init__(self, grammar: GrammarLogitsProcessor) -> None:
        self._grammar = grammar

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        empty = scores.isneginf().all(1).tolist()
        for row in range(len(empty)):
            if empty[row] and self._grammar.is_possible(input_ids[row]):
                raise VocabularyError(
                    f"nothing is left that may follow in row {row} at place {input_ids.shape[1]}: what its document needs "
                    "next is forbidden by other settings of generate, such as suppress_tokens, bad_words_ids or "
                    "min_new_tokens"
                )
        return scores


class MultimodalGeneration(GenerationMixin):
    """What `MultimodalForCausalLM` does beside upstream's `generate`."""

    config: Any

    def generate(  # type: ignore[override]
        self, inputs: Tensor | None = None, generation_config: Any = None, *, only: str | None = None, **kwargs: Any
    ) -> Any:
        """Generate ids of text and of codes, well-formed whatever the model has learnt.

        A start marker is followed by as many codes as a document has, each of the codebook whose turn it is, and by the end
        marker; outside of documents codes do not occur. Greedy, drawn, or by beams, in batches of any mixture. A prompt
        may end inside of a document, which is then written on.

        Args:
            inputs: [B, T] ids with placeholders, as `input_ids`.
            generation_config: as upstream.
            only: the modality of which one document is written, and nothing else; None lets the model choose.
            **kwargs: what the processor gives, and what upstream's `generate` takes.

        Returns:
            As upstream.

        Raises:
            ModalityError: placeholders and values do not fit, or the modality is continuous (`generate_latents`).
            VocabularyError: `only` names no modality, a prompt holds what is no beginning of a document, or other settings
                forbid all that may follow.
        """
        own: Any = self
        ids = kwargs.pop("input_ids", inputs)
        values = {key: kwargs.pop(key) for key in list(kwargs) if owner_of(own._senses, key)}
        if ids is not None and kwargs.get("inputs_embeds") is None:
            with torch.no_grad():
                reading = own.read(ids, values)
                ids = reading.ids
                if reading.continuous:
                    self._check_unassisted(generation_config, kwargs)
                    kwargs["inputs_embeds"] = own.embed(reading)
        processors = LogitsProcessorList(kwargs.pop("logits_processor", None) or [])
        if not any(isinstance(each, GrammarLogitsProcessor) for each in processors):
            processors.append(self._grammar(only, generation_config, kwargs))
        elif only is not None:
            raise ModalityError("only= goes into the GrammarLogitsProcessor that is given")
        above: Any = super()
        return above.generate(input_ids=ids, generation_config=generation_config, logits_processor=processors, **kwargs)

    def _check_unassisted(self, config: Any, kwargs: dict[str, Any]) -> None:
        own: Any = self
        looked_up = (config or own.generation_config).prompt_lookup_num_tokens
        if kwargs.get("assistant_model") is not None or kwargs.get("prompt_lookup_num_tokens", looked_up):
            raise ModalityError(
                "assisted generation goes astray behind a prompt that is read as embeddings, as latents are: leave out "
                "assistant_model and prompt_lookup_num_tokens"
            )

    def _grammar(self, only: str | None, config: Any, kwargs: dict[str, Any]) -> _OneGeneration:
        spaces = self.config.spaces.codes
        if only in spaces and spaces[only].is_continuous:
            raise ModalityError(f"{only!r} has latents, not codes; draw them with generate_latents")
        own: Any = self
        settings = config or own.generation_config
        ends = kwargs.get("eos_token_id", settings.eos_token_id)
        ends = self.config.eos_token_id if ends is None else ends
        return _OneGeneration([(space, space.grammar_ids) for space in spaces.values()], None, only, ends)

    def _get_logits_processor(self, generation_config: Any, *args: Any, **kwargs: Any) -> LogitsProcessorList:
        """Put the grammar before all others, which would else choose among what may not follow; and say how long it is."""
        above: Any = super()
        found = above._get_logits_processor(generation_config, *args, **kwargs)
        grammars = [each for each in found if isinstance(each, GrammarLogitsProcessor)]
        others = [each for each in found if not isinstance(each, GrammarLogitsProcessor | _SomethingLeft)]
        for each in grammars:
            if isinstance(each, _OneGeneration):  # the last id may be forced to be another than its document needs
                each.end_by(generation_config.max_length - (generation_config.forced_eos_token_id is not None))
        return LogitsProcessorList([*grammars, *others, *map(_SomethingLeft, grammars)])

    @torch.no_grad()
    def generate_latents(
        self, input_ids: Tensor, name: str, steps: int | None = None, flow_steps: int = 20,
        generator: torch.Generator | None = None, attention_mask: Tensor | None = None, **values: Any,
    ) -> Tensor:  # fmt: skip
        """Draw the latents of a continuous modality, one after another, each given all before.

        Args:
            input_ids: [B, T] ids of a prompt, padded before it if at all; the start marker is added where it does not end
                in it.
            name: of the modality.
            steps: T', how many, where it varies; None for as many as each document has.
            flow_steps: how many times the head is asked for a direction.
            generator: of what is drawn, on the CPU.
            attention_mask: [B, T], 0 for padding.
            **values: what the processor gives beside the ids.

        Returns:
            [B, T', d], for the codec's `decode_latents`.

        Raises:
            ModalityError: the modality has codes, or it is not said, or said wrongly, how many latents.

        Source: Ming-UniVision (arXiv 2510.06590), section 3.2.
        """
        own: Any = self
        sense = own._senses.get(name)
        if sense is None or not sense.space.is_continuous:
            raise ModalityError(f"{name!r} is no continuous modality of this model; codes are written by generate")
        if None not in (steps, sense.space.steps) and steps != sense.space.steps:
            raise ModalityError(f"each document of {name!r} has {sense.space.steps} latents, not {steps}")
        steps = sense.space.steps or steps
        if not steps or steps < 1 or flow_steps < 1:
            raise ModalityError(f"say how many latents {name!r} shall have (steps), and take at least one flow step")
        start = torch.full_like(input_ids[:, :1], sense.space.start)
        ids = input_ids if bool((input_ids[:, -1:] == start).all()) else torch.cat([input_ids, start], 1)
        mask = torch.ones_like(ids) if attention_mask is None else attention_mask
        mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)
        reading = own.read(ids, values)
        embeds, cache, drawn = own.embed(reading), None, []
        stack = text_stack(own.backbone)
        for _ in range(steps):
            places = (mask.cumsum(1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
            found = stack(
                inputs_embeds=embeds, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
            )
            cache = found.past_key_values
            latent = sense.flow.draw(found.last_hidden_state[:, -1], flow_steps, generator)
            drawn.append(sense.scale.back(latent))
            embeds = sense.projector(latent)[:, None].to(embeds)
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        return torch.stack(drawn, 1)

    @torch.no_grad()
    def decode_modality(self, name: str, codes: Tensor, mask: Tensor | None = None, **how: Any) -> Tensor:
        """Turn codes, or latents, of a modality into values.

        Args:
            name: of the modality.
            codes: [B, codebooks, T] integers or, for a continuous one, latents [B, T, d].
            mask: [B, T] bool, where something stands; None for everywhere.
            **how: what the codec's `decode` takes further, such as the size of an image.

        Returns:
            The values, as the codec gives them; the processor's `post_process` makes images or sounds of them.

        Raises:
            ModalityError: there is no such modality.
            CodecError: the codes do not fit the codec.
        """
        own: Any = self
        if name not in own.senses:
            raise ModalityError(f"there is no modality {name!r}; there are: {', '.join(own.senses) or 'none'}")
        codec = own.senses[name].codec
        with evaluating(codec):
            decode = codec.decode_latents if codec.is_continuous else codec.decode
            return decode(codes.to(codec.device), mask, **how)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, inputs_embeds: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Let the LM say what it reads next.

        Args:
            input_ids: [B, T] all ids so far, or some last ones.
            inputs_embeds: [B, T, D], what is read first in place of ids.
            **kwargs: as upstream.

        Returns:
            What `forward` takes.
        """
        own: Any = self
        return own.backbone.prepare_inputs_for_generation(input_ids, inputs_embeds=inputs_embeds, **kwargs)

    def _validate_model_kwargs(self, model_kwargs: dict[str, Any]) -> None:
        """What else may be given is for the LM to say."""
        own: Any = self
        own.backbone._validate_model_kwargs(model_kwargs)
