"""Figures of codecs of spoken digits, for scripts/repro_speech_codec.py."""

import statistics

import torch
from speech_baselines import BASELINES
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hf_tokext import SpeechCodecModel
from hf_tokext.measure.audio import code_features, mel_distance, probe_accuracy, si_snr, stoi

HOP, RATE, TOGETHER = 160, 8000, 10  # so many recordings are one passage for STOI
Clips = list[tuple[Tensor, int]]  # sounds, and the digits that are said


def quality(found: list[Tensor], clips: Clips) -> dict[str, float]:
    """Means over recordings; STOI of passages of several."""
    waves = [wave for wave, _ in clips]
    pairs = list(zip(found, waves, strict=True))
    passages = [pairs[at : at + TOGETHER] for at in range(0, len(pairs), TOGETHER)]
    return {
        "SI-SNR": statistics.mean(max(si_snr(one, other), -99.0) for one, other in pairs),
        "mel": statistics.mean(mel_distance(one, other, RATE) for one, other in pairs),
        "STOI": statistics.mean(
            stoi(*(torch.cat(side) for side in zip(*each, strict=True)), RATE) for each in passages
        ),
    }


def alike(clips: Clips, together: int = 50) -> list[list[int]]:
    """Places of recordings that are about as long, so that batches are not mostly padding."""
    order = sorted(range(len(clips)), key=lambda at: len(clips[at][0]))
    return [order[at : at + together] for at in range(0, len(order), together)]


@torch.no_grad()
def coded(model: SpeechCodecModel, clips: Clips) -> list[Tensor]:
    """Codes of each recording, [codebooks, T], of its own places alone."""
    found: dict[int, Tensor] = {}
    for places in alike(clips):
        waves = [clips[at][0] for at in places]
        values = pad_sequence(waves, batch_first=True)
        mask = torch.arange(values.shape[1]) < torch.tensor([[len(wave)] for wave in waves])
        given = model.encode(values.to(model.device), mask.to(model.device))
        for at, codes, own in zip(places, given.codes, given.mask, strict=True):
            found[at] = codes[:, own].cpu()
    return [found[at] for at in range(len(clips))]


@torch.no_grad()
def sounds(model: SpeechCodecModel, codes: list[Tensor], clips: Clips, books: int) -> list[Tensor]:
    """What the first codebooks' codes become; padding at the end changes nothing, the codec is causal."""
    found: dict[int, Tensor] = {}
    for places in alike(clips):
        whole = pad_sequence([codes[at][:books].T for at in places], batch_first=True).transpose(1, 2)
        for at, wave in zip(places, model.decode(whole.to(model.device)).cpu(), strict=True):
            found[at] = wave[0, : len(clips[at][0])]
    return [found[at] for at in range(len(clips))]


@torch.no_grad()
def streaming(model: SpeechCodecModel, clips: Clips) -> dict[str, float]:
    """Chunks of random sizes against all at once: share of equal codes, and the largest difference of samples."""
    equal, places, far = 0, 0, 0.0
    for wave, _ in clips[:50]:
        stream, whole = model.stream(), model.encode(wave[None]).codes
        parts, at = [], 0
        while at < len(wave):
            size = int(torch.randint(1, 1000, ()))
            parts.append(stream.encode(wave[None, at : at + size], last=at + size >= len(wave)))
            at += size
        codes = torch.cat(parts, -1)
        made = torch.cat([stream.decode(part) for part in whole.split(3, -1)], -1)
        equal, places = equal + int((codes == whole).sum()), places + whole.numel()
        far = max(far, float((made - model.decode(whole)).abs().max()))
    return {"equal codes": equal / places, "largest difference": far}


def judged(model: SpeechCodecModel, parts: dict[str, Clips], split: str, deep: bool) -> dict:
    """All figures of a codec on a held-out speaker."""
    codes = coded(model, parts[split])
    books = range(1, len(model.codebook_sizes) + 1) if deep else [len(model.codebook_sizes)]
    result = {str(n): quality(sounds(model, codes, parts[split], n), parts[split]) for n in books}
    learnt, size = coded(model, parts["train"]), model.codebook_sizes[:1]
    one, other = (torch.stack([code_features(each[:1], size) for each in given]) for given in (learnt, codes))
    result["probe"] = probe_accuracy(one, [d for _, d in parts["train"]], other, [d for _, d in parts[split]])
    counts = torch.bincount(torch.cat([each[0] for each in codes]), minlength=size[0])
    result["used"] = float((counts > 0).float().mean())
    return result | ({"stream": streaming(model, parts[split])} if deep else {})


def baseline(name: str, bits: int, parts: dict[str, Clips], split: str) -> dict[str, float]:
    """Quality of a trivial codec of frames."""
    frames = {key: [framed(wave) for wave, _ in clips] for key, clips in parts.items()}
    code = BASELINES[name](torch.cat(frames["train"]), bits)
    found = [code(each).flatten()[: len(wave)] for each, (wave, _) in zip(frames[split], parts[split], strict=True)]
    return quality(found, parts[split])


def framed(wave: Tensor) -> Tensor:
    """Frames of a hop, [N, hop], silence at the end."""
    return torch.nn.functional.pad(wave, (0, -len(wave) % HOP)).reshape(-1, HOP)
