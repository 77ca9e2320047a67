"""The speech codec: a convolutional encoder and decoder around a quantizer, and what it learns by."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization

from hf_tokext.errors import CodecError
from hf_tokext.losses.distillation import over_time_distillation
from hf_tokext.losses.reconstruction import mel_loss, noise_loss, wave_loss
from hf_tokext.models.blocks.audio import UpstreamNames, as_waves, places_of
from hf_tokext.models.codec import CodecEncoding, CodecOutput, ModalityCodec
from hf_tokext.models.speech_codec.configuration_speech_codec import SpeechCodecConfig
from hf_tokext.models.speech_codec.seanet import Decoder, Encoder
from hf_tokext.models.speech_codec.streaming import SpeechStream
from hf_tokext.quantizers.base import through


@dataclass
class SpeechEncoding(UpstreamNames, CodecEncoding):
    """What the codec makes of sounds; `audio_codes` and `audio_codes_mask` are other names of `codes` and `mask`.

    Attributes:
        codes: as for every codec, [B, codebooks, T].
        mask: as for every codec, [B, T].
        latents: as for every codec, [B, T, d].
    """


class SpeechCodecModel(ModalityCodec):
    """Codec of sounds of one channel.

    Args:
        config: its configuration.

    Source: after Ahasan et al., DM-Codec (arXiv 2410.15017).
    """

    config_class = SpeechCodecConfig
    config: SpeechCodecConfig
    modality = "audio"
    main_input_name = "input_values"
    base_model_prefix = "speech_codec"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Down", "Up", "Recurrence", "Convolution"]  # noqa: RUF012 (as upstream has it)

    def __init__(self, config: SpeechCodecConfig) -> None:
        super().__init__(config)
        shape = (config.filters, config.strides, config.latent_dim, config.lstm_layers, config.causal)
        self.encoder = Encoder(*shape)
        self.quantizer = config.make_quantizer()
        self.decoder = Decoder(*shape)
        dims = {"lm": config.distill_lm_dim, "speech": config.distill_speech_dim}
        self.teachers = nn.ModuleDict(
            {name: nn.Linear(config.latent_dim, dim) for name, dim in dims.items() if dim is not None}
        )
        self.post_init()

    @property
    def hop(self) -> int:
        """Samples a place."""
        return self.config.hop_length

    def encode(self, values: Tensor, mask: Tensor | None = None) -> SpeechEncoding:
        """Turn sounds into codes; nothing is learned.

        Args:
            values: [B, 1, samples] or [B, samples], in -1..1.
            mask: [B, samples], 1 where there is sound, padding behind it; None for no padding.

        Returns:
            Codes, the mask of their places, and the vectors that they stand for.

        Raises:
            CodecError: the values or the mask have another shape, or there is no sample.
            QuantizerError: a value is no finite number.
        """
        found = super().encode(values, mask)
        return SpeechEncoding(**found)

    def decode_latents(self, latents: Tensor, mask: Tensor | None = None, length: int | None = None) -> Tensor:
        """Turn vectors into sounds.

        Args:
            latents: [B, T, d].
            mask: [B, T] bool; None for all.
            length: samples wanted; None for all, T times `config.hop_length`.

        Returns:
            [B, 1, samples], 0 where masked.

        Raises:
            CodecError: the shape does not fit.
        """
        width = self.config.latent_dim
        if latents.dim() != 3 or latents.shape[2] != width or (mask is not None and mask.shape != latents.shape[:2]):
            shapes = f"{list(latents.shape)} and mask {None if mask is None else list(mask.shape)}"
            raise CodecError(f"vectors must be [batch, time, {width}], and their mask [batch, time], not {shapes}")
        mask = None if mask is None or bool(mask.all()) else mask.bool()
        waves = self.decoder(latents.transpose(1, 2).to(self.dtype), mask)
        if mask is not None:
            waves = waves * mask.repeat_interleave(self.config.hop_length, 1)[:, None]
        return waves[..., :length]

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        distill_lm: Tensor | None = None,
        distill_speech: Tensor | None = None,
        return_loss: bool = True,
        **kwargs: Any,
    ) -> CodecOutput:
        """Encode sounds and decode them again, and learn.

        Args:
            input_values: [B, 1, samples] or [B, samples], in -1..1.
            padding_mask: [B, samples], 1 where there is sound, padding behind it; None for no padding.
            distill_lm: [B, T', `distill_lm_dim`], what a language model knows of each place, see `lm_features`.
            distill_speech: [B, T', `distill_speech_dim`], what a speech model knows of each place, see `speech_features`.
            return_loss: whether the loss is computed.
            **kwargs: nothing; for whoever calls every model alike.

        Returns:
            The loss, the sounds as they come back, codes and their mask.

        Raises:
            CodecError: a shape does not fit, or there are features of a teacher that the config does not know.
            QuantizerError: a value is no finite number.
        """
        waves, mask = as_waves(input_values, padding_mask, self.dtype)
        length = waves.shape[-1]
        latents, places = self._latents(waves, mask)
        found = self.quantizer(latents, places)
        made = self.decode_latents(found.quantized, places, length)
        result = CodecOutput(
            reconstruction=made.reshape(input_values.shape), codes=found.codes, mask=places, latents=found.quantized
        )
        if return_loss:
            config = self.config
            one, other = made[:, 0].float(), waves[:, 0].float()
            losses = {
                "wave": config.wave_weight * wave_loss(one, other, mask),
                "noise": config.noise_weight * noise_loss(one, other, mask),
                "mel": config.mel_weight * mel_loss(one, other, config.sampling_rate, mask, config.mel_windows),
                **{name: config.quantizer_weight * loss for name, loss in (found.losses or {}).items()},
                **self._distilled(latents, found, places, {"lm": distill_lm, "speech": distill_speech}),
            }
            result.loss = torch.stack(list(losses.values())).sum()
            result.losses = {name: loss.detach() for name, loss in losses.items()}
        return result

    def stream(self) -> SpeechStream:
        """Begin a stream that is encoded, or decoded, chunk by chunk.

        Returns:
            What takes the chunks.

        Raises:
            CodecError: the codec is not causal, or is in training mode.
        """
        return SpeechStream(self)

    def _encode(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._latents(*as_waves(values, mask, self.dtype))

    def _latents(self, waves: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        waves, places = places_of(waves, mask, self.config.hop_length)
        found = self.encoder(waves, None if mask is None else places)
        return found.transpose(1, 2), places

    def _distilled(self, latents: Tensor, found: Any, places: Tensor, given: dict[str, Any]) -> dict[str, Tensor]:
        """The losses of the teachers that are given; a teacher that is not leaves its layer without a gradient of its own."""
        unknown = [name for name, vectors in given.items() if vectors is not None and name not in self.teachers]
        if unknown:
            raise CodecError(f"distill_{unknown[0]} was given; set distill_{unknown[0]}_dim in the config for it")
        if not self.teachers:
            return {}
        student = found.quantized
        if self.quantizer.nested and found.codes is not None:
            first = self.quantizer.decode(found.codes[:, : self.config.distill_codebooks])
            student = through(latents, first.to(latents.dtype))
        weights = {"lm": self.config.distill_lm_weight, "speech": self.config.distill_speech_weight}
        losses = {}
        for name, layer in self.teachers.items():
            projected = layer(student)
            losses[f"distill_{name}"] = projected.float().sum() * 0  # every process must use every parameter
            if given[name] is not None:
                losses[f"distill_{name}"] += weights[name] * over_time_distillation(projected, given[name], places)
        return losses

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Keep sounds as loud as they are on their way; the usual small numbers would let them fade away."""
        super()._init_weights(module)
        if isinstance(module, nn.Conv1d):
            bound = getattr(module, "gain", 1.0) / sqrt(module.in_channels * module.kernel_size[0])
            initialization.normal_(module.weight, 0.0, bound)
            if module.bias is not None:
                initialization.uniform_(module.bias, -bound, bound)
