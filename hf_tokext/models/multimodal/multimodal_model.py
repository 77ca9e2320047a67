"""What reads codes among ids: a causal LM and codecs as one checkpoint."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from hf_tokext.errors import ModalityError, UnsupportedModelError
from hf_tokext.measure.causal import text_stack
from hf_tokext.models.blocks.backbone import LMOnBackbone, check_backbone, looks_tokens_up
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.models.multimodal.configuration_multimodal import MultimodalConfig
from hf_tokext.models.multimodal.flow_head import FlowHead, LatentScale
from hf_tokext.models.multimodal.reading import Reading, owner_of, read
from hf_tokext.models.multimodal.sense import Sense, alike

TUNING = ("frozen", "projector", "end_to_end")


class MultimodalModel(LMOnBackbone, PreTrainedModel):
    """A causal LM and codecs, without the LM's head.

    Args:
        config: the configuration.

    Attributes:
        backbone: the causal LM.
        senses: the codecs by the names of their spaces, each with what brings it to the LM.

    Raises:
        UnsupportedModelError: the LM cannot be given embeddings, and a modality needs that.
    """

    config_class = MultimodalConfig
    config: MultimodalConfig
    base_model_prefix = "backbone"
    model_tags = ["hf_tokext"]
    _keep_in_fp32_modules_strict = {"codec"}  # noqa: RUF012 (as transformers has it); in others, codes would be others

    def __init__(self, config: MultimodalConfig) -> None:
        super().__init__(config)
        self.backbone = AutoModelForCausalLM.from_config(config.backbone_config)
        config.backbone_config = self.backbone.config  # one object, so that a resized vocabulary is known to both
        width = self.backbone.get_input_embeddings().weight.shape[1]
        self.senses = nn.ModuleDict({name: Sense(each, width) for name, each in (config.senses or {}).items()})
        if any(sense.by_vectors for sense in self._senses.values()):
            check_backbone(self.backbone)
            if looks_tokens_up(self.backbone.config.get_text_config(decoder=True)):
                raise UnsupportedModelError(
                    f"the layers of {type(self.backbone).__name__} look tokens up again, past the embeddings; let all "
                    "modalities be read by rows (input='ids')"
                )
        self.post_init()
        self._let_learn()

    @classmethod
    def from_parts(
        cls, model: PreTrainedModel, senses: Mapping[str, Mapping[str, Any]], codecs: Mapping[str, ModalityCodec]
    ) -> Any:
        """Put a causal LM, whose vocabulary has rows for all codes, and codecs together.

        Args:
            model: the LM. It becomes a part of what is returned, not a copy; so do the codecs, in float32.
            senses: as `MultimodalConfig(senses=...)`, but for the configs of the codecs.
            codecs: by the same names.

        Returns:
            The model, where the LM lies, in its mode; projectors are drawn anew.

        Raises:
            UnsupportedModelError: the LM is of another kind, parts of it lie on disk, or it cannot be given embeddings.
            ValueError: a modality is described wrongly.
        """
        if any(parameter.device.type == "meta" for parameter in model.parameters()):
            raise UnsupportedModelError("parts of the model lie on disk (device_map); load it into memory")
        known = {name: {**sense, "codec": codecs[name].config} for name, sense in senses.items()}
        config = MultimodalConfig(backbone_config=model.config, senses=known, dtype=model.dtype)
        with torch.device("meta"):
            found = cls(config)
        if not isinstance(model, type(found.backbone)):
            raise UnsupportedModelError(
                f"the model is a {type(model).__name__}; for its config {type(found.backbone).__name__} is wanted, as "
                "AutoModelForCausalLM loads it"
            )
        found.backbone, config.backbone_config = model, model.config
        weight = model.get_input_embeddings().weight
        for name, codec in codecs.items():
            sense = Sense(config.senses[name], weight.shape[1], codec.to(weight.device, torch.float32))  # type: ignore[index, call-overload]
            for part in reversed(list(sense.modules())):  # from the inside out: a whole may say how its parts begin
                if not any(part is inner for inner in codec.modules()):
                    found._init_weights(part)
            for kind, part in sense.named_children():
                if kind not in ("codec", "scale"):
                    part.to(weight.device, model.dtype)
            found.senses[name] = sense.to(weight.device)
        found._take_after_backbone()
        found.set_tuning("frozen")
        found._take_fingerprints()
        return found.train(model.training)

    @property
    def _senses(self) -> dict[str, Sense]:
        return {name: sense for name, sense in self.senses.items() if isinstance(sense, Sense)}

    def set_tuning(self, tuning: str, reconstruction_weight: float | None = None) -> None:
        """Say what learns; it is saved with the model.

        Args:
            tuning: "frozen", the LM and the projectors; "projector", nothing but the projectors; "end_to_end", the codecs
                too. PEFT decides anew what of the LM learns.
            reconstruction_weight: of the codecs' own loss beside the LM's, where they learn; None leaves it.

        Raises:
            ModalityError: there is no such tuning, or no projector to tune.

        Source: ETT (Wang et al., arXiv 2505.10562), section 3.3.
        """
        if tuning not in TUNING:
            raise ModalityError(f"tuning is one of {', '.join(TUNING)}, not {tuning!r}")
        if tuning == "projector" and not any(sense.by_vectors for sense in self._senses.values()):
            raise ModalityError("no modality has a projector: their codes have rows of their own (input='ids')")
        if self.config.tuning == "end_to_end" and tuning != "end_to_end":
            self._take_fingerprints()
        self.config.tuning = tuning  # type: ignore[assignment]
        if reconstruction_weight is not None:
            self.config.reconstruction_weight = reconstruction_weight
        self._let_learn()

    def _let_learn(self) -> None:
        tuning = self.config.tuning
        for name, parameter in self.named_parameters():  # those of a quantized LM are integers
            wanted = (
                tuning == "end_to_end" if ".codec." in name else tuning != "projector" or name.startswith("senses.")
            )
            parameter.requires_grad_(wanted and parameter.is_floating_point())

    def read(self, input_ids: Tensor, values: Mapping[str, Any], learn: bool = False) -> Reading:
        """Put codes where placeholders stand.

        Args:
            input_ids: [B, T] ids.
            values: what the processor gives beside them, such as image_pixel_values; other names are left alone.
            learn: whether the codecs are to learn.

        Returns:
            The ids with codes, and embeddings where a modality is not read by rows.

        Raises:
            ModalityError: there are more or fewer placeholders than codes.
        """
        return read(self._senses, input_ids, values, learn)

    def embed(self, reading: Reading) -> Tensor | None:
        """Make the embeddings that the LM reads.

        Args:
            reading: what `read` gives.

        Returns:
            [B, T, D]; None where all ids have rows of their own.
        """
        return reading.embed(self._senses, self.get_input_embeddings())

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Run the LM without its head.

        Args:
            input_ids: [B, T] ids with placeholders, unless `inputs_embeds` is given.
            attention_mask: [B, T], 1 where something is seen.
            inputs_embeds: [B, T, D] in place of ids.
            **kwargs: what the processor gives, such as image_pixel_values, and what the LM takes.

        Returns:
            What the LM's layers give: `last_hidden_state` [B, T, D].

        Raises:
            ModalityError: placeholders and values do not fit.
        """
        given, _ = self._given(input_ids, inputs_embeds, kwargs, learn=False)
        return text_stack(self.backbone)(attention_mask=attention_mask, **given, **kwargs)

    def _given(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, kwargs: dict[str, Any], learn: bool
    ) -> tuple[dict[str, Any], Reading | None]:
        """What the LM reads; the values are taken out of `kwargs`."""
        values = {key: kwargs.pop(key) for key in list(kwargs) if owner_of(self._senses, key)}
        if input_ids is None or inputs_embeds is not None:
            if any(value is not None for value in values.values()):
                raise ModalityError("values need input_ids with their placeholders, not inputs_embeds")
            return {"input_ids": input_ids, "inputs_embeds": inputs_embeds}, None
        reading = self.read(input_ids, values, learn)
        embeds = self.embed(reading)
        return ({"input_ids": reading.ids} if embeds is None else {"inputs_embeds": embeds}), reading

    def resize_token_embeddings(  # type: ignore[override]
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """Make the vocabulary larger, behind the codes.

        Args:
            new_num_tokens: size, or None for the present one.
            pad_to_multiple_of: the size is rounded up to a multiple of this.
            mean_resizing: as upstream.

        Returns:
            The input embeddings.

        Raises:
            UnsupportedModelError: codes would lose their rows.
        """
        least = max((int(sense.space.grammar_ids.max()) + 1 for sense in self._senses.values()), default=0)
        if new_num_tokens is not None and new_num_tokens < least:
            raise UnsupportedModelError(
                f"the codes have ids up to {least - 1}, so that {new_num_tokens} rows are too few: text ends where they "
                "begin, and len(tokenizer) does not count them"
            )
        return super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)

    def _init_weights(self, module: nn.Module) -> None:
        """Draw the projectors and heads; the LM and the codecs know their own."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
        if isinstance(module, FlowHead | LatentScale):
            module.reset_parameters()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint.

        Args:
            pretrained_model_name_or_path: a folder or Hub id.
            *args: as upstream.
            **kwargs: as upstream.

        Returns:
            The model; with `output_loading_info=True` also what was loaded.

        Raises:
            ModalityError: a codec in it is not the one that the LM has learnt, or parts of it would lie on disk.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._let_learn()  # what is loaded would all learn
        model._check_fingerprints()
        return loaded

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Save LM and codecs as one checkpoint.

        Args:
            save_directory: the folder.
            *args: as upstream.
            **kwargs: as upstream.

        Raises:
            ModalityError: a codec was put in another's place.
        """
        if self.config.tuning == "end_to_end":
            self._take_fingerprints()
        self._check_fingerprints()
        super().save_pretrained(save_directory, *args, **kwargs)

    def _take_fingerprints(self) -> None:
        for name, sense in self._senses.items():
            self.config.senses[name]["fingerprint"] = sense.fingerprint()  # type: ignore[index]

    def _check_fingerprints(self) -> None:
        for name, sense in self._senses.items():
            known = self.config.senses[name]["fingerprint"]  # type: ignore[index]
            if known is not None and not alike(known, sense.fingerprint()):
                raise ModalityError(
                    f"the codec of {name!r} is not the one whose codes the language model has learnt; put that one back, or "
                    "extend the language model anew with the other"
                )
