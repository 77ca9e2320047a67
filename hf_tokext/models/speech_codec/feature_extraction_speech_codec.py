"""Recordings to what the codec takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchFeature, SequenceFeatureExtractor

from hf_tokext.errors import CodecError, MissingExtraError
from hf_tokext.measure.audio import resampled
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.registry import name_classes


class SpeechCodecFeatureExtractor(InstalledCode, SequenceFeatureExtractor):
    """Makes one batch of recordings: mono, real numbers, padded behind.

    Args:
        feature_size: channels; 1.
        sampling_rate: samples a second that recordings must have.
        padding_value: what stands behind shorter ones.
        hop_length: samples that one place in time stands for; batches are padded to a multiple.
        downmix: take the mean of several channels; otherwise they are an error.
        resample: bring recordings of another sampling rate to this one (scipy); otherwise they are an error.
        **kwargs: as for any feature extractor of transformers.

    Raises:
        CodecError: a number is impossible.
    """

    model_input_names = ["input_values", "padding_mask"]

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        hop_length: int = 320,
        downmix: bool = False,
        resample: bool = False,
        **kwargs: Any,
    ) -> None:
        if feature_size != 1 or padding_value != 0 or sampling_rate < 1 or hop_length < 1:
            raise CodecError("the codec takes one channel, padded with zeros; rates and hops must be positive")
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.hop_length, self.downmix, self.resample = hop_length, downmix, resample

    def __call__(
        self,
        raw_audio: Any,
        sampling_rate: int | None = None,
        max_length: int | None = None,
        truncation: bool = False,
        return_tensors: str | None = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """Make a batch.

        Args:
            raw_audio: a recording or a list of them. A recording is a file (soundfile reads it), or samples: [S] or
                [channels, S], real numbers in -1..1 or integers of any width, as an array, tensor or list of numbers.
            sampling_rate: samples a second of the arrays; files know it.
            max_length: samples a recording may have.
            truncation: cut longer ones; otherwise they are an error.
            return_tensors: "pt" or "np".
            **kwargs: `downmix` and `resample` in place of the feature extractor's own.

        Returns:
            input_values [B, 1, samples] float32 and padding_mask [B, samples] int64.

        Raises:
            CodecError: a recording is empty, holds NaN, has another sampling rate or shape, is too long, or cannot be read.
            MissingExtraError: soundfile or scipy is needed and not installed.
        """
        downmix, resample = kwargs.pop("downmix", self.downmix), kwargs.pop("resample", self.resample)
        if kwargs.pop("padding", True) not in (True, "longest") or kwargs:
            raise CodecError(
                f"a batch is padded to its longest recording; there is no option {', '.join(kwargs) or 'padding'}"
            )
        waves = []
        for number, given in enumerate(_recordings(raw_audio)):
            where, rate = f"recording {number}", sampling_rate
            if isinstance(given, str | Path):
                where, (given, rate) = str(given), read_audio(given, downmix=downmix)
            wave = mono(given, where, downmix)
            if rate is not None and rate < 1:
                raise CodecError(f"{where} has {rate} samples a second; say how many there really are")
            if rate is not None and rate != self.sampling_rate:
                if not resample:
                    raise CodecError(
                        f"{where} has {rate} samples a second, the codec wants {self.sampling_rate}: pass resample=True"
                    )
                wave = resampled(wave, rate, self.sampling_rate).astype(np.float32)
            if max_length is not None and len(wave) > max_length:
                if not truncation:
                    raise CodecError(f"{where} has {len(wave)} samples, more than {max_length}: pass truncation=True")
                wave = wave[:max_length]
            waves.append(wave)
        if not waves:
            raise CodecError("there are no recordings")
        longest = max(map(len, waves))
        longest += -longest % self.hop_length
        values = np.zeros((len(waves), 1, longest), dtype=np.float32)
        mask = np.zeros((len(waves), longest), dtype=np.int64)
        for row, wave in enumerate(waves):
            values[row, 0, : len(wave)], mask[row, : len(wave)] = wave, 1
        return BatchFeature({"input_values": values, "padding_mask": mask}, tensor_type=return_tensors)

    def to_json_file(self, json_file_path: Any) -> None:
        """Write preprocessor_config.json, and name the installed class in it.

        Args:
            json_file_path: the file.
        """
        super().to_json_file(json_file_path)
        if type(self) is SpeechCodecFeatureExtractor:
            name_classes(json_file_path, "hf_tokext", {"AutoFeatureExtractor": type(self).__name__})


def read_audio(path: str | Path, downmix: bool = False) -> tuple[np.ndarray, int]:
    """Read a recording from a file.

    Args:
        path: in any format that libsndfile knows, such as WAV, FLAC, Ogg or MP3.
        downmix: take the mean of several channels.

    Returns:
        [S] float32 in -1..1, and samples a second.

    Raises:
        CodecError: it cannot be read, is empty or holds NaN, or has several channels.
        MissingExtraError: soundfile is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("soundfile", "audio", "reading recordings") from error
    try:
        found, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise CodecError(f"{path} cannot be read as a recording: {error}") from error
    return mono(found.T, str(path), downmix), int(rate)


def mono(given: Any, where: str, downmix: bool) -> np.ndarray:
    """Give a recording one shape.

    Args:
        given: [S] or [channels, S] samples.
        where: what messages call it.
        downmix: take the mean of several channels.

    Returns:
        [S] float32; integers of a width become -1..1.

    Raises:
        CodecError: it is empty, has another shape, several channels, or a value that is no finite number.
    """
    try:
        wave = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    except ValueError as error:
        raise CodecError(f"{where} is no array of samples: {error}") from error
    if wave.dtype.kind not in "fiu" or wave.ndim not in (1, 2):
        raise CodecError(f"{where} must be samples [S] or [channels, S], not {wave.dtype} {list(wave.shape)}")
    if not wave.size:
        raise CodecError(f"{where} is empty; leave it out")
    if wave.dtype.kind in "iu":
        if wave.dtype.itemsize == 8:
            raise CodecError(
                f"{where} has 64-bit integers, whose loudest is unknown; convert to int16, or divide yourself"
            )
        half = 2.0 ** (8 * wave.dtype.itemsize - 1)
        wave = (wave.astype(np.float64) - (half if wave.dtype.kind == "u" else 0)) / half
    if wave.ndim == 2:
        channels, samples = wave.shape
        if channels > 8 and samples <= 8:
            raise CodecError(f"{where} is [{channels}, {samples}]: channels come first; transpose it")
        if channels > 1 and not downmix:
            raise CodecError(f"{where} has {channels} channels, the codec one: pass downmix=True for their mean")
        wave = wave.mean(0)
    if not np.isfinite(wave).all():
        raise CodecError(
            f"{where} holds NaN or infinity at sample {int(np.argmin(np.isfinite(wave)))}; mend or drop it"
        )
    return wave.astype(np.float32)


def _recordings(given: Any) -> Sequence[Any]:
    """The recordings of a list; one alone is a list of itself."""
    if isinstance(given, list | tuple) and (not given or not np.isscalar(given[0]) or isinstance(given[0], str)):
        return given
    return [given]
