"""A table of codecs on recordings: what they cost, what they use, what is left of the sound, what codes say of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log2
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from hf_tokext.errors import CodecError
from hf_tokext.measure.audio import code_features, mel_distance, probe_accuracy, resampled, sdr, si_snr, stoi
from hf_tokext.quantizers.usage import usage


class Recording(NamedTuple):
    """A sound and what is known of it.

    Attributes:
        name: such as the file's.
        wave: [S] float32 in -1..1.
        sampling_rate: samples a second.
        label: what a probe is to tell; None for nothing.
        group: whom it is from: a probe is judged by groups that it has not learned from; None for no group.
    """

    name: str
    wave: np.ndarray
    sampling_rate: int
    label: str | None = None
    group: str | None = None


class Coded(NamedTuple):
    """What a coder makes of a sound.

    Attributes:
        wave: [S], as it comes back.
        codes: [codebooks, T] int64.
        sizes: number of codes of each codebook.
    """

    wave: np.ndarray
    codes: torch.Tensor
    sizes: tuple[int, ...]


class Coder(Protocol):
    """Turns sounds of its sampling rate into codes and back; None is any rate."""

    @property
    def sampling_rate(self) -> int | None:
        """Samples a second that it takes."""
        ...

    def __call__(self, wave: np.ndarray) -> Coded:
        """Code a sound, [S] float32, and decode it."""
        ...


class ModelCoder:
    """A codec of the package, or one of transformers' own that is wrapped.

    Args:
        model: the codec; put into evaluation mode.

    Raises:
        CodecError: it has no codes, or is none of sounds.
    """

    def __init__(self, model: Any) -> None:
        if getattr(model, "modality", None) != "audio" or model.is_continuous:
            raise CodecError(f"{type(model).__name__} is no codec of sounds with codes")
        if getattr(model.config, "needs_features", False):
            raise CodecError(f"{type(model).__name__} needs more than sounds: an XCodec2 that hears another spectrum")
        self.model, self.sampling_rate = model.eval(), model.config.sampling_rate

    @torch.no_grad()
    def __call__(self, wave: np.ndarray) -> Coded:
        """Code a sound and decode it.

        Args:
            wave: [S] float32.

        Returns:
            What it becomes.
        """
        given = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None].to(self.model.device)
        codes = self.model.encode(given).codes
        made = self.model.decode(codes, length=len(wave))[0, 0].float().cpu().numpy()
        return Coded(made, codes[0].cpu(), self.model.codebook_sizes)


class PulseCoder:
    """Every sample rounded by itself: what any codec must beat.

    Args:
        bits: of a sample; 0 gives the mean of the sound.
        mu: of the mu-law, which rounds quiet samples finer; 0 for even steps. 255 is the law of telephony.

    Source: ITU-T G.711, in its continuous form.
    """

    sampling_rate = None

    def __init__(self, bits: int, mu: float = 0.0) -> None:
        self.bits, self.mu = bits, mu

    def __call__(self, wave: np.ndarray) -> Coded:
        """Code a sound and decode it.

        Args:
            wave: [S] float32.

        Returns:
            What it becomes.
        """
        if self.bits == 0:
            return Coded(np.full_like(wave, wave.mean()), torch.zeros(0, 0, dtype=torch.long), ())
        steps, given = 2**self.bits, np.clip(wave.astype(np.float64), -1, 1)
        bent = np.sign(given) * np.log1p(self.mu * np.abs(given)) / np.log1p(self.mu) if self.mu else given
        codes = np.minimum((bent + 1) / 2 * steps, steps - 1).astype(np.int64)
        back = (codes + 0.5) / steps * 2 - 1
        if self.mu:
            back = np.sign(back) * np.expm1(np.abs(back) * np.log1p(self.mu)) / self.mu
        return Coded(back.astype(np.float32), torch.from_numpy(codes)[None], (steps,))


BASELINES: dict[str, Coder] = {
    "mean": PulseCoder(0),
    "linear, 2 bits": PulseCoder(2),
    "linear, 4 bits": PulseCoder(4),
    "mu-law, 2 bits": PulseCoder(2, 255),
    "mu-law, 4 bits": PulseCoder(4, 255),
    "mu-law, 8 bits": PulseCoder(8, 255),
}


@dataclass(frozen=True)
class CodecMeasured:
    """What was found of a codec; quality is a mean over recordings.

    Attributes:
        codec: its name.
        codebooks: how many.
        tokens_per_second: codes of all codebooks.
        bits_per_second: of these, if all codes were equally likely.
        used: share of the codes that occur, a mean over codebooks.
        perplexity: a mean over codebooks.
        si_snr: dB.
        sdr: dB.
        stoi: at most 1; of the recordings that are long enough for it, NaN if none is.
        mel: see `mel_distance`.
        probe: share of held-out recordings whose label a linear probe on the first codebook's codes names; None without
            labels.
    """

    codec: str
    codebooks: int
    tokens_per_second: float
    bits_per_second: float
    used: float
    perplexity: float
    si_snr: float
    sdr: float
    stoi: float
    mel: float
    probe: float | None

    def to_dict(self) -> dict[str, Any]:
        """Give all figures by name."""
        return asdict(self)


def measure_audio(
    codecs: Mapping[str, Coder], recordings: Sequence[Recording], progress: Callable[[int, int], None] | None = None
) -> list[CodecMeasured]:
    """Measure codecs on the same recordings.

    A recording of another sampling rate than the codec's is resampled for it, and what comes back is resampled to the
    recording's rate, where it is judged.

    Args:
        codecs: by name, such as `ModelCoder` and `BASELINES`.
        recordings: what they are measured on; none of them silent.
        progress: called with how many recordings are done, and of how many, those of all codecs counted.

    Returns:
        One a codec.

    Raises:
        CodecError: there are no recordings, or one is silent.
    """
    if not recordings:
        raise CodecError("there are no recordings to measure codecs on")
    for recording in recordings:
        if not np.any(recording.wave != recording.wave[:1]):
            raise CodecError(f"{recording.name} is silent: there is nothing to compare; leave it out")
    found = []
    for place, (name, coder) in enumerate(codecs.items()):
        coded: list[Coded] = []
        figures: list[tuple[float, ...]] = []
        for number, each in enumerate(recordings):
            rate = coder.sampling_rate or each.sampling_rate
            coded.append(coder(resampled(each.wave, each.sampling_rate, rate).astype(np.float32)))
            back = resampled(coded[-1].wave, rate, each.sampling_rate)[: len(each.wave)]
            pair = np.pad(back, (0, len(each.wave) - len(back))), each.wave
            ratios = (min(max(measure(*pair), -99.0), 99.0) for measure in (si_snr, sdr))  # a mean must not be infinite
            figures.append((*ratios, stoi(*pair, each.sampling_rate), mel_distance(*pair, each.sampling_rate)))
            if progress:
                progress(place * len(recordings) + number + 1, len(codecs) * len(recordings))
        found.append(_measured(name, coded, figures, recordings))
    return found


def _measured(
    name: str, coded: list[Coded], figures: list[tuple[float, ...]], recordings: Sequence[Recording]
) -> CodecMeasured:
    seconds = sum(len(each.wave) / each.sampling_rate for each in recordings)
    sizes = coded[0].sizes
    uses = []
    for book, size in enumerate(sizes):
        uses.append(usage(torch.bincount(torch.cat([each.codes[book] for each in coded]), minlength=size)))
    places = sum(each.codes.shape[-1] for each in coded)
    snr, distortion, intelligible, mel = np.array(figures).T
    known = intelligible[~np.isnan(intelligible)]
    return CodecMeasured(
        codec=name,
        codebooks=len(sizes),
        tokens_per_second=places * len(sizes) / seconds,
        bits_per_second=places * sum(map(log2, sizes)) / seconds,
        used=float(np.mean([each.used for each in uses])) if uses else 0.0,
        perplexity=float(np.mean([each.perplexity for each in uses])) if uses else 1.0,
        si_snr=float(snr.mean()),
        sdr=float(distortion.mean()),
        stoi=float(known.mean()) if len(known) else float("nan"),
        mel=float(mel.mean()),
        probe=_probe(coded, recordings) if sizes else None,
    )


def _probe(coded: list[Coded], recordings: Sequence[Recording]) -> float | None:
    """Accuracy on a fifth of the groups, at least one; without groups on every fifth recording of a label."""
    labelled = [number for number, each in enumerate(recordings) if each.label is not None]
    if len({recordings[number].label for number in labelled}) < 2:
        return None
    groups = sorted({recordings[number].group or "" for number in labelled})
    if len(groups) > 1:
        last = set(groups[-max(len(groups) // 5, 1) :])
        held = {number for number in labelled if (recordings[number].group or "") in last}
    else:
        seen: dict[str | None, int] = {}
        held = set()
        for number in labelled:
            label = recordings[number].label
            seen[label] = seen.get(label, 0) + 1
            if seen[label] % 5 == 0:
                held.add(number)
    learnt = [number for number in labelled if number not in held]
    if not held or not learnt:
        return None
    rows = {number: code_features(coded[number].codes[:1], coded[number].sizes[:1]) for number in labelled}
    judged = sorted(held)
    return probe_accuracy(
        torch.stack([rows[number] for number in learnt]), [recordings[number].label for number in learnt],
        torch.stack([rows[number] for number in judged]), [recordings[number].label for number in judged],
    )  # fmt: skip
