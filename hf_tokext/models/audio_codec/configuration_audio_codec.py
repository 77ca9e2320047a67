"""Configuration of the wrapper of transformers' own audio codecs."""

from copy import deepcopy
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.models.audio_codec.spectra import HOP, NUMBERS, RATE
from hf_tokext.models.blocks.installed import InstalledConfig

KINDS = ("encodec", "dac", "mimi", "xcodec2")


@strict
class WrappedAudioCodecConfig(InstalledConfig):
    """One of transformers' own audio codecs.

    Attributes:
        codec_config: its config, as an object or a dict with `model_type`: "encodec" (of one channel, without chunks), "dac",
            "mimi" or "xcodec2". None is DAC's.
        codebooks: how many of its codebooks are used, the first ones; None for all.

    Raises:
        ValueError: it is another codec, one whose codes alone do not hold the sound, or has fewer codebooks.
    """

    model_type = "tokext_audio_codec"
    sub_configs: ClassVar[dict[str, Any]] = {"codec_config": AutoConfig}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["codes", "mask", "losses"]

    codec_config: dict[str, Any] | PreTrainedConfig | None = None
    codebooks: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the codec's config an object of this config's own."""
        given = self.codec_config
        if isinstance(given, PreTrainedConfig):
            self.codec_config = deepcopy(given)
        else:
            self.codec_config = AutoConfig.for_model(**{"model_type": "dac", **(given or {})})
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse what cannot be wrapped."""
        codec = self.codec
        if codec.model_type not in KINDS:
            raise ValueError(f"codec_config is of {codec.model_type!r}; known are {', '.join(KINDS)}")
        if codec.model_type == "encodec" and (codec.chunk_length_s is not None or codec.normalize):
            raise ValueError(
                "this Encodec works in chunks, with a loudness for each that its codes do not hold (the 48 kHz model): "
                "take one with chunk_length_s=None and normalize=False, such as the 24 kHz model"
            )
        if getattr(codec, "audio_channels", 1) != 1:
            raise ValueError(f"this codec has {codec.audio_channels} channels; take one of one channel")
        sizes = self.all_codebook_sizes
        if self.codebooks is not None and not 1 <= self.codebooks <= len(sizes):
            raise ValueError(f"codebooks must be 1 to {len(sizes)} for this codec, not {self.codebooks}")

    @property
    def codec(self) -> Any:
        """The codec's own config."""
        return self.codec_config

    @property
    def all_codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook that the codec has."""
        codec = self.codec
        if codec.model_type == "xcodec2":
            size = 1
            for levels in codec.quantization_levels:
                size *= levels
            return (size,)
        count = {"encodec": "num_quantizers", "dac": "n_codebooks", "mimi": "num_quantizers"}[codec.model_type]
        return (codec.codebook_size,) * getattr(codec, count)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook that is used."""
        return self.all_codebook_sizes[: self.codebooks]

    @property
    def needs_features(self) -> bool:
        """Whether the codec cannot be given sounds alone: an XCodec2 that hears another spectrum than the published one."""
        codec = self.codec
        if codec.model_type != "xcodec2":
            return False
        numbers = codec.semantic_model_config.feature_projection_input_dim
        return (codec.sampling_rate, codec.hop_length, numbers) != (RATE, HOP, NUMBERS)

    @property
    def sampling_rate(self) -> int:
        """Samples a second."""
        return self.codec.sampling_rate

    @property
    def hop_length(self) -> int:
        """Samples that one place in time stands for."""
        if self.codec.model_type == "mimi":
            return round(self.codec.sampling_rate / self.codec.frame_rate)
        return int(self.codec.hop_length)

    @property
    def frame_rate(self) -> float:
        """Places a second."""
        return self.sampling_rate / self.hop_length

    def auto_classes(self) -> dict[str, str]:
        """Say which model belongs to the config.

        Returns:
            Name of the model class by the names of its Auto classes.
        """
        return {"AutoModel": "WrappedAudioCodec", "AutoModelForAudioTokenization": "WrappedAudioCodec"}
