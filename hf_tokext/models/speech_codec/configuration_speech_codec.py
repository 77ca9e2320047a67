"""Configuration of the speech codec."""

from collections.abc import Sequence
from math import prod
from typing import Any

from huggingface_hub.dataclasses import strict

from hf_tokext.losses.reconstruction import WINDOWS
from hf_tokext.models.blocks.codec_config import CodecConfig


@strict
class SpeechCodecConfig(CodecConfig):
    """A convolutional codec of sounds.

    Attributes:
        sampling_rate: samples a second.
        strides: by how much each step of the encoder shortens, from the sound on; their product is `hop_length`, the samples
            that one place in time stands for.
        filters: channels at full length; every step doubles them.
        lstm_layers: in the encoder, and in the decoder; 0 for none.
        causal: nothing sees what comes later, so that the codec can work on a stream.
        latent_dim: as for every codec.
        quantizer: as for every codec.
        quantizer_options: as for every codec; None for 8 codebooks of 1,024 codes if `quantizer` is "rvq".
        wave_weight: of the mean absolute difference of samples.
        noise_weight: of the energy of the difference in parts of the energy of the sound; without it a new codec may stay at
            silence for a long time.
        mel_weight: of the difference of log mel spectra.
        mel_windows: samples of the windows of these.
        quantizer_weight: of the quantizer's own loss.
        distill_lm_dim: numbers of the vectors of a language model that the first codes learn from; None for none.
        distill_speech_dim: the same of a speech model.
        distill_lm_weight: of the loss that teaches the former.
        distill_speech_weight: of the loss that teaches the latter.
        distill_codebooks: how many of the first codebooks learn from them, where the first ones alone mean something;
            otherwise all do.

    Raises:
        ValueError: a number is not positive, or the quantizer cannot be made.
    """

    model_type = "tokext_speech_codec"

    sampling_rate: int = 16000
    strides: Sequence[int] = (2, 4, 5, 8)
    filters: int = 32
    lstm_layers: int = 2
    causal: bool = True
    latent_dim: int = 128
    quantizer: str = "rvq"
    quantizer_options: dict[str, Any] | None = None
    wave_weight: float | int = 10.0
    noise_weight: float | int = 1.0
    mel_weight: float | int = 1.0
    mel_windows: Sequence[int] = WINDOWS
    quantizer_weight: float | int = 1.0
    distill_lm_dim: int | None = None
    distill_speech_dim: int | None = None
    distill_lm_weight: float | int = 1.0
    distill_speech_weight: float | int = 1.0
    distill_codebooks: int = 1

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in the default quantizer, and take lists for tuples, as JSON has them."""
        if self.quantizer == "rvq" and self.quantizer_options is None:
            self.quantizer_options = {"size": 1024, "codebooks": 8}
        self.strides, self.mel_windows = list(self.strides), list(self.mel_windows)
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse what cannot be built."""
        counts = [self.sampling_rate, self.filters, self.latent_dim, self.distill_codebooks, *self.strides]
        if min(counts) < 1 or not self.strides or self.lstm_layers < 0:
            raise ValueError("sampling_rate, strides, filters, latent_dim and distill_codebooks must be positive")
        if not self.mel_windows or any(window < 8 or window % 4 for window in self.mel_windows):
            raise ValueError(f"mel_windows must be multiples of 4, at least 8, not {self.mel_windows}")
        super().validate_architecture()

    @property
    def hop_length(self) -> int:
        """Samples that one place in time stands for."""
        return prod(self.strides)

    @property
    def frame_rate(self) -> float:
        """Places a second."""
        return self.sampling_rate / self.hop_length

    def auto_classes(self) -> dict[str, str]:
        """Say which model belongs to the config.

        Returns:
            Name of the model class by the names of its Auto classes.
        """
        return {"AutoModel": "SpeechCodecModel", "AutoModelForAudioTokenization": "SpeechCodecModel"}
