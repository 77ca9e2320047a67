"""The wrapper of transformers' own audio codecs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from hf_tokext.errors import CodecError, QuantizerError
from hf_tokext.evaluating import evaluating
from hf_tokext.losses.reconstruction import mel_loss, noise_loss, wave_loss
from hf_tokext.models.audio_codec.configuration_audio_codec import WrappedAudioCodecConfig
from hf_tokext.models.audio_codec.spectra import spectra
from hf_tokext.models.blocks.audio import UpstreamNames, as_waves, places_of
from hf_tokext.models.codec import CodecEncoding, CodecOutput, ModalityCodec


@dataclass
class WrappedEncoding(UpstreamNames, CodecEncoding):
    """What the codec makes of sounds; `audio_codes` and `audio_codes_mask` are other names of `codes` and `mask`.

    Attributes:
        codes: as for every codec, [B, codebooks, T].
        mask: as for every codec, [B, T].
        latents: as for every codec, [B, T, d].
    """


class _Kind(NamedTuple):
    """How one of upstream's codecs is called.

    Attributes:
        codes: of [B, 1, samples], [B, codebooks, T].
        vectors: of codes, [B, d, T].
        waves: of vectors, [B, 1, samples] or [B, samples].
    """

    codes: Callable[..., Tensor]
    vectors: Callable[[Any, Tensor], Tensor]
    waves: Callable[[Any, Tensor], Tensor]


_KINDS = {
    "encodec": _Kind(  # codes have one more axis, of chunks, of which there is one here
        lambda codec, waves: codec.encode(waves, bandwidth=max(codec.config.target_bandwidths)).audio_codes[0],
        lambda codec, codes: codec.quantizer.decode(codes.transpose(0, 1)),
        lambda codec, vectors: codec.decoder(vectors),
    ),
    "dac": _Kind(
        lambda codec, waves: codec.encode(waves).audio_codes,
        lambda codec, codes: codec.quantizer.from_codes(codes)[0],
        lambda codec, vectors: codec.decode(vectors).audio_values,
    ),
    "mimi": _Kind(
        lambda codec, waves: codec.encode(waves).audio_codes,
        lambda codec, codes: codec.quantizer.decode(codes),
        lambda codec, vectors: codec.decoder(vectors).audio_values,
    ),
    "xcodec2": _Kind(
        lambda codec, waves, **heard: codec.encode(waves, **heard).audio_codes,
        lambda codec, codes: codec.quantizer.from_codes(codes.transpose(1, 2)).transpose(1, 2),
        lambda codec, vectors: codec.decode(latents=vectors).audio_values,
    ),
}


class WrappedAudioCodec(ModalityCodec):
    """Encodec, DAC, Mimi or XCodec2 as a codec like all others; `from_codec` takes one that is loaded.

    In training the decoder learns (and codebooks where upstream lets gradients through); the codes of a sound stay what
    they are. In a batch, the codes at the end of a shorter sound may differ from those that it has alone, where the
    codec sees what comes later. `save_pretrained` saves the whole; `model.codec.save_pretrained` the codec as upstream has it.

    Args:
        config: its configuration.
    """

    config_class = WrappedAudioCodecConfig
    config: WrappedAudioCodecConfig
    modality = "audio"
    blind_to_padding = False
    main_input_name = "input_values"
    base_model_prefix = "audio_codec"
    _keep_in_fp32_modules_strict = set()  # type: ignore[var-annotated]  # noqa: RUF012 (upstream's own rules hold)

    def __init__(self, config: WrappedAudioCodecConfig) -> None:
        super().__init__(config)
        self.codec = AutoModel.from_config(config.codec)
        self.post_init()

    @classmethod
    def from_codec(cls, codec: PreTrainedModel, codebooks: int | None = None) -> "WrappedAudioCodec":
        """Wrap a codec.

        Args:
            codec: an `EncodecModel`, `DacModel`, `MimiModel` or `Xcodec2Model`; it is shared, not copied.
            codebooks: how many of its codebooks are used; None for all.

        Returns:
            The codec, in its mode, on its device.

        Raises:
            CodecError: it cannot be wrapped.
        """
        try:
            config = WrappedAudioCodecConfig(codec_config=codec.config, codebooks=codebooks)
        except Exception as error:  # strict configs raise a class of their own
            raise CodecError(f"{type(codec).__name__} cannot be wrapped: {error}") from error
        with torch.device("meta"):
            made = cls(config)
        made.codec = codec
        return made.train(codec.training)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook that is used."""
        return self.config.codebook_sizes

    @property
    def is_continuous(self) -> bool:
        """False: they all have codes."""
        return False

    @property
    def hop(self) -> int:
        """Samples a place."""
        return self.config.hop_length

    def encode(
        self, values: Tensor, mask: Tensor | None = None, input_features: Tensor | None = None
    ) -> WrappedEncoding:
        """Turn sounds into codes.

        Args:
            values: [B, 1, samples] or [B, samples], in -1..1.
            mask: [B, samples], 1 where there is sound, padding behind it; None for no padding.
            input_features: [B, T, numbers], the spectrum that an XCodec2 hears; None to take it of the sounds, as the
                published one hears it. For no other codec.

        Returns:
            Codes, the mask of their places, and the vectors that they stand for.

        Raises:
            CodecError: the values or the mask have another shape, a value is no finite number, or a spectrum is missing or
                does not fit.
        """
        codes, places = self._coded(*as_waves(values, mask, torch.float32), input_features)
        return WrappedEncoding(codes=codes, mask=places, latents=self._vectors(codes))

    def decode_latents(self, latents: Tensor, mask: Tensor | None = None, length: int | None = None) -> Tensor:
        """Turn vectors into sounds.

        Args:
            latents: [B, T, d].
            mask: [B, T] bool; None for all.
            length: samples wanted, with silence behind what there is; None for all that there is.

        Returns:
            [B, 1, samples], 0 where masked.

        Raises:
            CodecError: the shape does not fit.
        """
        if latents.dim() != 3 or (mask is not None and mask.shape != latents.shape[:2]):
            raise CodecError(
                f"vectors must be [batch, time, numbers], not {list(latents.shape)}, and their mask like them"
            )
        waves = self._kind.waves(self.codec, latents.transpose(1, 2).to(self.dtype)).reshape(len(latents), 1, -1)
        if mask is not None:
            keep = mask.repeat_interleave(self.config.hop_length, 1)[:, : waves.shape[-1]]
            waves = waves[..., : keep.shape[1]] * keep[:, None]
        return waves if length is None else nn.functional.pad(waves, (0, length - waves.shape[-1]))

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        input_features: Tensor | None = None,
        return_loss: bool = True,
        **kwargs: Any,
    ) -> CodecOutput:
        """Encode sounds and decode them again; the decoder learns.

        Args:
            input_values: as for `encode`.
            padding_mask: as for `encode`.
            input_features: as for `encode`.
            return_loss: whether the loss is computed: differences of samples, their energy, and of log mel spectra.
            **kwargs: nothing; for whoever calls every model alike.

        Returns:
            The loss, the sounds as they come back, codes and their mask.

        Raises:
            CodecError: as for `encode`.
        """
        waves, mask = as_waves(input_values, padding_mask, torch.float32)
        codes, places = self._coded(waves, mask, input_features)
        latents = self._vectors(codes)
        made = self.decode_latents(latents, places, waves.shape[-1])
        result = CodecOutput(reconstruction=made.reshape(input_values.shape), codes=codes, mask=places, latents=latents)
        if return_loss:
            one, other = made[:, 0].float(), waves[:, 0].to(made.device)
            losses = {
                "wave": 10 * wave_loss(one, other, mask),
                "noise": noise_loss(one, other, mask),
                "mel": mel_loss(one, other, self.config.sampling_rate, mask),
            }
            result.loss = torch.stack(list(losses.values())).sum()
            result.losses = {name: loss.detach() for name, loss in losses.items()}
        return result

    @torch.no_grad()
    def _coded(self, waves: Tensor, mask: Tensor | None, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Codes, 0 where masked, and the mask of their places."""
        if not bool(torch.isfinite(waves).all()):
            raise CodecError("the sound holds NaN or infinity; mend or drop it")
        waves, places = places_of(waves, mask, self.config.hop_length)
        heard = self._heard(waves, places, features)
        with evaluating(self.codec):
            codes = self._kind.codes(self.codec, waves.to(self.dtype), **heard)[:, : self.config.codebooks]
        places = places[:, : codes.shape[-1]]
        return codes[..., : places.shape[1]].long().masked_fill(~places[:, None], 0), places

    def _heard(self, waves: Tensor, places: Tensor, features: Tensor | None) -> dict[str, Tensor]:
        """What XCodec2 is given beside sounds."""
        if self.config.codec.model_type != "xcodec2":
            if features is not None:
                raise CodecError("only XCodec2 hears a spectrum; leave input_features out")
            return {}
        if features is None and self.config.needs_features:
            raise CodecError(
                "this XCodec2 hears another spectrum than the published one: pass input_features [batch, "
                f"{places.shape[1]}, {self.config.codec.semantic_model_config.feature_projection_input_dim}]"
            )
        features = spectra(waves, places) if features is None else features
        if features.shape[:2] != places.shape:
            raise CodecError(
                f"input_features must be [{len(places)}, {places.shape[1]}, ...], not {list(features.shape)}"
            )
        heard = {"input_features": features.to(self.dtype)}
        return heard if bool(places.all()) else {**heard, "input_features_mask": places.long()}

    @property
    def _kind(self) -> _Kind:
        return _KINDS[self.config.codec.model_type]

    def _vectors(self, codes: Tensor) -> Tensor:
        sizes = self.codebook_sizes
        if codes.dim() != 3 or not 0 < codes.shape[1] <= len(sizes):
            raise QuantizerError(f"codes must have the shape [batch, {len(sizes)}, time], not {list(codes.shape)}")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < sizes[0]:
            raise QuantizerError(f"codes are 0 to {sizes[0] - 1}; {int(codes.min())} to {int(codes.max())} were given")
        return self._kind.vectors(self.codec, codes.to(self.device)).transpose(1, 2).to(self.dtype)

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: the codec inside draws what is its own."""
