"""What is particular to images, recordings and depth maps: their codec, how files are read, cut into pieces, and written."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoImageProcessor, BatchFeature

from hf_tokext.errors import CodecError
from hf_tokext.measure.audio import resampled
from hf_tokext.models.audio_codec.modeling_audio_codec import WrappedAudioCodec
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.models.depth_codec.configuration_depth_codec import DepthCodecConfig
from hf_tokext.models.depth_codec.image_processing_depth_codec import DEEP, DepthCodecImageProcessor
from hf_tokext.models.depth_codec.modeling_depth_codec import DepthCodecModel
from hf_tokext.models.image_codec.configuration_image_codec import ImageCodecConfig
from hf_tokext.models.image_codec.image_processing_image_codec import ImageCodecImageProcessor
from hf_tokext.models.image_codec.modeling_image_codec import ImageCodecModel
from hf_tokext.models.image_codec.reading import bytes_of, read_image
from hf_tokext.models.speech_codec.configuration_speech_codec import SpeechCodecConfig
from hf_tokext.models.speech_codec.feature_extraction_speech_codec import SpeechCodecFeatureExtractor, read_audio
from hf_tokext.models.speech_codec.modeling_speech_codec import SpeechCodecModel

SMALLEST = 0.5  # of the shorter side of a picture: the smallest square that is cut out of it
STRIDES = {8000: [2, 4, 4, 5], 16000: [2, 4, 5, 8], 24000: [2, 5, 6, 8], 44100: [3, 6, 7, 7], 48000: [4, 5, 6, 8]}


class Modality(ABC):
    """What a kind of files needs: the codec's classes, and how a file is read and written.

    Attributes:
        name: what it is called.
        suffixes: of its files.
        pictures: suffixes of pictures that are its files too where it is named, and there are no others.
        written: suffix of the files that are written.
    """

    name: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    pictures: ClassVar[frozenset[str]] = frozenset()
    written: ClassVar[str]

    @abstractmethod
    def make(self, first: Path, options: dict[str, Any]) -> tuple[ModalityCodec, Any]:
        """Make a new codec of a size for small machines, and its processor.

        Args:
            first: a file like those it will learn from.
            options: of its config, beyond or in place of the defaults here.

        Returns:
            Codec and processor.

        Raises:
            CodecError: the options are impossible.
        """

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Read a file.

        Args:
            path: the file.

        Returns:
            What the processor takes, and the methods here.

        Raises:
            CodecError: it cannot be read, or the processor would not take it.
        """

    @abstractmethod
    def piece(self, whole: Any, processor: Any, chance: torch.Generator) -> Any:
        """Cut something out of what was read, at random."""

    @abstractmethod
    def features(self, processor: Any, read: Sequence[Any]) -> BatchFeature:
        """Make a batch of what was read."""

    @abstractmethod
    def write(self, path: Path, values: Tensor, processor: Any) -> None:
        """Write one of the values that a codec gives back, [...] as in a batch but for its first axis."""

    @abstractmethod
    def picture(self, values: Tensor) -> np.ndarray:
        """Give a picture, [height, width] or [height, width, 3] in 0 to 1, of one of the values."""

    def load_processor(self, folder: Path, codec: ModalityCodec) -> Any:
        """Load what stands beside a codec."""
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)


class Images(Modality):
    """Photographs and other pictures; squares are cut out of them at random, half of them mirrored."""

    name, written = "image", ".png"
    suffixes = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))

    def make(self, first: Path, options: dict[str, Any]) -> tuple[ModalityCodec, Any]:
        """See the base class; the config's own defaults."""
        config = _config(ImageCodecConfig, options)
        if config.num_channels != 3:
            raise CodecError(f"images are read as red, green and blue: num_channels is 3, not {config.num_channels}")
        height, width = config.height_width
        return ImageCodecModel(config), ImageCodecImageProcessor(size={"height": height, "width": width})

    def read(self, path: Path) -> Any:
        """See the base class."""
        image = read_image(path)
        if image.mode[0] in "FI":  # of which the numbers may have any range
            try:
                bytes_of(image)
            except CodecError as error:
                raise CodecError(f"{path}: {error}") from error
        return image

    def piece(self, whole: Any, processor: Any, chance: torch.Generator) -> Any:
        """See the base class."""
        size = (processor.size["height"], processor.size["width"])
        top, left, height, width = _window(whole.size[::-1], size, chance)
        part = whole.crop((left, top, left + width, top + height))
        return part.transpose(0) if torch.rand((), generator=chance) < 0.5 else part  # PIL's 0 mirrors

    def features(self, processor: Any, read: Sequence[Any]) -> BatchFeature:
        """See the base class."""
        return processor(images=list(read), return_tensors="pt")

    def write(self, path: Path, values: Tensor, processor: Any) -> None:
        """See the base class."""
        processor.post_process(values)[0].save(path)

    def picture(self, values: Tensor) -> np.ndarray:
        """See the base class."""
        return (values.float().cpu().permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)


class Depths(Modality):
    """Depth maps as arrays of NumPy or grey pictures, of 8 or 16 bits, whose numbers are depth in some unit.

    What is written is in 0 to 1 unless the processor has a range of its own.
    """

    name, written = "depth", ".npy"
    suffixes, pictures = frozenset((".npy",)), frozenset((".png", ".tif", ".tiff"))

    def make(self, first: Path, options: dict[str, Any]) -> tuple[ModalityCodec, Any]:
        """See the base class; 64 codes for 64 x 64 pixels."""
        small = {"image_size": 64, "hidden_sizes": (16, 32, 64), "latent_dim": 32}
        config = _config(DepthCodecConfig, {**small, **options})
        height, width = config.height_width
        return DepthCodecModel(config), DepthCodecImageProcessor(size={"height": height, "width": width})

    def read(self, path: Path) -> Any:
        """See the base class."""
        if path.suffix.lower() in self.pictures:
            picture = read_image(path)
            if picture.mode not in DEEP:
                raise CodecError(f"{path} is a picture of mode {picture.mode}, whose numbers are colours, not depth")
            found = np.asarray(picture)
        else:
            try:
                found = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise CodecError(f"{path} cannot be read as an array of NumPy: {error}") from error
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise CodecError(f"{path} holds no array of real numbers")
        found = found[0] if found.ndim == 3 and found.shape[0] == 1 else found
        if found.ndim != 2 or not found.size:
            raise CodecError(f"{path} is no depth map [height, width] but has the shape {list(found.shape)}")
        if not (np.isfinite(found) & (found > 0)).any():
            raise CodecError(f"{path} has no depth above zero: nothing in it is known")
        return found

    def piece(self, whole: Any, processor: Any, chance: torch.Generator) -> Any:
        """See the base class."""
        top, left, height, width = _window(whole.shape, (processor.size["height"], processor.size["width"]), chance)
        part = whole[top : top + height, left : left + width]
        part = part if (np.isfinite(part) & (part > 0)).any() else whole  # else there is nothing in it
        return part[:, ::-1] if torch.rand((), generator=chance) < 0.5 else part

    def features(self, processor: Any, read: Sequence[Any]) -> BatchFeature:
        """See the base class."""
        return processor(list(read))

    def write(self, path: Path, values: Tensor, processor: Any) -> None:
        """See the base class."""
        np.save(path, processor.post_process(values[None])[0])

    def picture(self, values: Tensor) -> np.ndarray:
        """See the base class."""
        return values[0].float().cpu().numpy().clip(0, 1)


class Sounds(Modality):
    """Recordings; seconds are cut out of longer ones at random."""

    name, written = "audio", ".wav"
    suffixes = frozenset((".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"))
    seconds = 1.0

    def make(self, first: Path, options: dict[str, Any]) -> tuple[ModalityCodec, Any]:
        """See the base class; the sampling rate is that of the first file."""
        rate = options.get("sampling_rate") or self.read(first)[1]
        small = {"sampling_rate": rate, "filters": 16, "lstm_layers": 1, "latent_dim": 64}
        small |= {"strides": STRIDES[rate]} if rate in STRIDES else {}
        config = _config(SpeechCodecConfig, {**small, **options})
        rest = {"sampling_rate": config.sampling_rate, "hop_length": config.hop_length}
        return SpeechCodecModel(config), SpeechCodecFeatureExtractor(downmix=True, resample=True, **rest)

    def read(self, path: Path) -> Any:
        """See the base class: samples, and how many a second."""
        return read_audio(path, downmix=True)

    def piece(self, whole: Any, processor: Any, chance: torch.Generator) -> Any:
        """See the base class."""
        wave, rate = whole
        length = min(int(self.seconds * rate), len(wave))
        start = int(torch.randint(len(wave) - length + 1, (), generator=chance))
        return wave[start : start + length], rate

    def features(self, processor: Any, read: Sequence[Any]) -> BatchFeature:
        """See the base class."""
        waves = [resampled(wave, rate, processor.sampling_rate) for wave, rate in read]
        return processor(waves, sampling_rate=processor.sampling_rate)

    def write(self, path: Path, values: Tensor, processor: Any) -> None:
        """See the base class."""
        import soundfile

        soundfile.write(path, values.reshape(-1).float().cpu().numpy().clip(-1, 1), processor.sampling_rate)

    def picture(self, values: Tensor) -> np.ndarray:
        """See the base class: the spectrum over time, 60 decibels deep."""
        wave = values.reshape(-1).float().cpu()
        wave = torch.nn.functional.pad(wave, (0, max(256 - len(wave), 0)))
        spectrum = torch.stft(wave, 256, 64, window=torch.hann_window(256), return_complex=True).abs().flip(0)
        return (1 + 20 * torch.log10(spectrum / 16 + 1e-9) / 60).clamp(0, 1).numpy()

    def load_processor(self, folder: Path, codec: ModalityCodec) -> Any:
        """See the base class; a codec of transformers itself gets ours, whatever stands beside it."""
        if isinstance(codec, WrappedAudioCodec):
            config = codec.config
            return SpeechCodecFeatureExtractor(sampling_rate=config.sampling_rate, hop_length=config.hop_length)
        return AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)


MODALITIES: dict[str, Modality] = {each.name: each for each in (Images(), Sounds(), Depths())}


def modality_of(name: str) -> Modality:
    """Find a modality by its name.

    Args:
        name: "image", "audio" or "depth".

    Returns:
        The modality.

    Raises:
        CodecError: there is none of the name.
    """
    if name not in MODALITIES:
        raise CodecError(f"unknown modality {name!r}; known: {', '.join(MODALITIES)}")
    return MODALITIES[name]


def _config(kind: Any, options: dict[str, Any]) -> Any:
    try:
        known = kind()
        wrong = sorted(name for name in options if not hasattr(known, name))
        if wrong:
            raise CodecError(f"{kind.__name__} has no option {', '.join(wrong)}")
        return kind(**options)
    except CodecError:
        raise
    except Exception as error:  # strict configs raise a class of their own for every kind of bad value
        raise CodecError(f"such a codec is impossible: {error}") from error


def _window(size: tuple[int, int], wanted: tuple[int, int], chance: torch.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a window of the wanted shape, of random size and place."""
    most = min(size[0] / wanted[0], size[1] / wanted[1])
    share = most * (SMALLEST + (1 - SMALLEST) * float(torch.rand((), generator=chance)))
    height, width = (max(1, min(round(side * share), whole)) for side, whole in zip(wanted, size, strict=True))
    top, left = (
        int(torch.randint(whole - part + 1, (), generator=chance))
        for whole, part in zip(size, (height, width), strict=True)
    )
    return top, left, height, width
