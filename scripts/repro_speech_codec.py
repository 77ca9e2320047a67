"""A small speech codec on spoken digits: quality by codebooks, distillation, quantizers at equal rate, streaming.

    python scripts/repro_speech_codec.py --data FOLDER                                  # 3 seeds; resumable
    python scripts/repro_speech_codec.py --data FOLDER --seeds 1 --steps 20 --teacher-steps 20   # a look

--data: the recordings of the Free Spoken Digit Dataset, `{digit}_{speaker}_{take}.wav`, 8 kHz. Split by speaker, in
alphabetical order: the last one is reported, the one before is for choosing (--split dev), all others are trained on.
All sounds are brought to a root mean square of 0.1. Baselines are fitted to the same training speakers and have the same
bits. Probes are linear, on counts of the first codebook's codes in four parts of a recording, learn from the training
speakers and are judged on the held-out one. The teachers: a small recurrent CTC model of letters, trained here on the
training speakers, and the words' vectors of SmolLM2 (--lm, else scripts/samples.py). Figures are kept in --results and not
computed twice.
"""

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path

import torch
from samples import sample
from speech_baselines import BASELINES
from speech_figures import HOP, RATE, Clips, baseline, judged
from speech_teachers import heard, trained_listener, word_vectors
from torch import Tensor

from hf_tokext import SpeechCodecConfig, SpeechCodecModel
from hf_tokext.models.speech_codec.feature_extraction_speech_codec import read_audio

DISTILLED = ("none", "speech", "lm, pad", "lm, ctc")
EQUAL = {  # 10 bits a place
    "RVQ 2 x 32": ("rvq", {"size": 32, "codebooks": 2, "decay": 0.98, "dead_below": 0.02}),
    "VQ 1024": ("vq", {"size": 1024, "decay": 0.98, "dead_below": 0.02}),
    "FSQ 4^5": ("fsq", {"levels": [4, 4, 4, 4, 4]}),
}


def load(folder: Path) -> dict[str, Clips]:
    """Recordings of "train", "dev" and "report", with their digits."""
    paths = sorted(folder.rglob("*.wav"))
    speakers = sorted({path.stem.split("_")[1] for path in paths})
    if len(speakers) < 3:
        raise SystemExit(f"{folder} has recordings of {len(speakers)} speakers; 3 are needed at least")
    parts: dict[str, Clips] = {"train": [], "dev": [], "report": []}
    for path in paths:
        digit, speaker, _ = path.stem.split("_")
        wave, rate = read_audio(path)
        if rate != RATE:
            raise SystemExit(f"{path} has {rate} samples a second, not {RATE}")
        sound = torch.tensor(wave, dtype=torch.float32)
        part = {speakers[-1]: "report", speakers[-2]: "dev"}.get(speaker, "train")
        parts[part].append((0.1 * sound / sound.square().mean().sqrt().clamp(min=1e-6), int(digit)))
    return parts


def scaled(vectors: Tensor) -> Tensor:
    """Vectors [N, D] with mean 0 and variance 1: what all have in common says nothing, and a cosine would reward it."""
    return (vectors - vectors.mean(0)) / vectors.std(0)


def features(clips: Clips, options: argparse.Namespace, seed: int) -> dict[str, list[Tensor]]:
    """What the teachers know of every training recording, each [T, D]."""
    waves, digits = [wave for wave, _ in clips], [digit for _, digit in clips]
    listener = trained_listener(waves, digits, HOP, options.teacher_steps, seed)
    words = word_vectors(options.lm or sample("smollm2-135m"))
    words = list(scaled(torch.stack(words)))
    found: dict[str, list[Tensor]] = {"speech": [], "lm, pad": [], "lm, ctc": []}
    known = [heard(listener, wave, digit, HOP) for wave, digit in clips]
    every = scaled(torch.cat([states for states, *_ in known])).split([len(states) for states, *_ in known])
    for states, (_, (start, end), _), digit in zip(every, known, digits, strict=True):
        padded, spread = (torch.zeros(len(states), len(words[0])) for _ in range(2))
        padded[0], spread[start:end] = words[digit], words[digit]
        for name, each in (("speech", states), ("lm, pad", padded), ("lm, ctc", spread)):
            found[name].append(each)
    right = sum(named for *_, named in known) / len(known)
    print(f"the speech teacher names {right:.1%} of the training recordings rightly", flush=True)
    return found


def batch(clips: Clips, taught: list[Tensor] | None, pad: bool, options: argparse.Namespace) -> dict[str, Tensor]:
    """Random stretches of random recordings."""
    size = options.places * HOP
    values = torch.zeros(options.batch, size)
    mask = torch.zeros(options.batch, size, dtype=torch.bool)
    rows = []
    for row, at in enumerate(torch.randint(len(clips), (options.batch,)).tolist()):
        wave = clips[at][0]
        start = int(torch.randint(max(len(wave) - size, 0) // HOP + 1, ())) * HOP
        part = wave[start : start + size]
        values[row, : len(part)], mask[row, : len(part)] = part, True
        if taught is not None:  # as published, a stretch has its own transcript: padding begins with the stretch
            first = 0 if pad else start // HOP
            known = taught[at][first : first + options.places]
            rows.append(torch.nn.functional.pad(known, (0, 0, 0, options.places - len(known))))
    found = {"input_values": values, "padding_mask": mask}
    return found | ({"taught": torch.stack(rows)} if rows else {})


def trained(config: SpeechCodecConfig, clips: Clips, kind: str, taught, steps: int, seed: int, options, start=None):
    """Train one codec; from `start`, an unquantized one, if given: codes then begin at k-means of its vectors."""
    torch.manual_seed(seed)
    model = SpeechCodecModel(config).to(options.device).train()
    if start is not None:
        model.encoder.load_state_dict(start.encoder.state_dict())
        model.decoder.load_state_dict(start.decoder.state_dict())
        with torch.no_grad():
            places = argparse.Namespace(**vars(options) | {"batch": 200})
            first = batch(clips, None, False, places)
            model(first["input_values"].to(options.device), first["padding_mask"].to(options.device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    warmup = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.05 + 0.475 * (1 + math.cos(math.pi * step / steps)))
    )
    torch.manual_seed(seed)  # equal batches whatever the model drew
    began = time.time()
    for step in range(steps):
        given = batch(clips, taught, kind == "lm, pad", options)
        if "taught" in given:
            given["distill_speech" if kind == "speech" else "distill_lm"] = given.pop("taught")
        output = model(**{name: value.to(options.device) for name, value in given.items()})
        optimizer.zero_grad()
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if options.verbose and step % 50 == 0:
            parts = {name: round(float(value), 3) for name, value in output.losses.items()}
            print(f"  {step} {time.time() - began:.0f} s {parts}", flush=True)
    return model.eval()


def main() -> None:
    """Run what has no figure yet, seed by seed, and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--lm", type=Path, help="folder of a causal LM")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--start-steps", type=int, default=400, help="without a quantizer, once a seed, for all to start from"
    )
    parser.add_argument(
        "--steps", type=int, default=400, help="of each codec; half as many where quantizers are compared"
    )
    parser.add_argument("--teacher-steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=12, help="stretches a step")
    parser.add_argument("--places", type=int, default=20, help="places in time of a stretch")
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--strides", type=int, nargs="+", default=[10, 16], help="their product is 160")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate at its highest")
    parser.add_argument("--distill", type=float, default=2.0, help="weight of what the teachers say")
    parser.add_argument("--wave", type=float, default=1.0, help="weight of the difference of samples")
    parser.add_argument("--noise", type=float, default=1.0, help="weight of the energy of the difference")
    parser.add_argument("--mel", type=float, default=0.1, help="weight of the difference of mel spectra")
    parser.add_argument("--split", choices=("dev", "report"), default="report")
    parser.add_argument("--only", help="of the codecs, those whose names hold this")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--results", type=Path, default=Path("repro_speech_codec.json"))
    options = parser.parse_args()

    parts = load(options.data)
    lengths = {name: sum(len(wave) for wave, _ in clips) / RATE for name, clips in parts.items()}
    print(", ".join(f"{name}: {len(parts[name])} recordings, {each:.0f} s" for name, each in lengths.items()))
    kept = json.loads(options.results.read_text()) if options.results.is_file() else {}
    out = ("results", "seeds", "first_seed", "verbose", "data", "lm", "only")
    setting = [f"{name}={value}" for name, value in sorted(vars(options).items()) if name not in out]

    def figure(name: str, make) -> dict:
        key = " | ".join([name, *setting])
        if key not in kept:
            began = time.time()
            kept[key] = make() | {"seconds": round(time.time() - began)}
            partial = options.results.with_name(options.results.name + ".part")
            partial.write_text(json.dumps(kept, indent=1))
            os.replace(partial, options.results)
        print(name, json.dumps(kept[key]), flush=True)
        return kept[key]

    shared = {
        "sampling_rate": RATE, "strides": options.strides, "filters": options.filters, "lstm_layers": 1, "latent_dim": 64,
        "mel_windows": [128, 256, 512], "wave_weight": options.wave, "noise_weight": options.noise,
        "mel_weight": options.mel,
        "distill_lm_weight": options.distill, "distill_speech_weight": options.distill,
    }  # fmt: skip
    runs: dict[str, list[dict]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        known: dict[str, list[Tensor]] = {}
        begun: list[SpeechCodecModel] = []
        for kind in (*DISTILLED, *EQUAL):
            if options.only and options.only not in kind:
                continue

            def make(kind: str = kind, seed: int = seed, known: dict = known, begun: list = begun) -> dict:
                if not begun:
                    config = SpeechCodecConfig(**shared, quantizer="none")
                    begun.append(trained(config, parts["train"], "", None, options.start_steps, seed, options))
                if kind in EQUAL:
                    config = SpeechCodecConfig(**shared, quantizer=EQUAL[kind][0], quantizer_options=EQUAL[kind][1])
                    return judged(
                        trained(config, parts["train"], kind, None, options.steps // 2, seed, options, begun[0]),
                        parts, options.split, False,
                    )  # fmt: skip
                extra: dict = {}
                if kind != "none":
                    if not known:
                        known.update(features(parts["train"], options, seed))
                    extra[f"distill_{kind.split(',')[0]}_dim"] = known[kind][0].shape[1]
                config = SpeechCodecConfig(
                    **shared,
                    **extra,
                    quantizer="rvq",
                    quantizer_options={"size": 256, "codebooks": 4, "dropout": 0.5, "decay": 0.98, "dead_below": 0.02},
                )
                model = trained(config, parts["train"], kind, known.get(kind), options.steps, seed, options, begun[0])
                return judged(model, parts, options.split, True)

            runs.setdefault(kind, []).append(figure(f"{kind} | seed {seed}", make))
    trivial = {
        (name, bits): figure(f"{name} | {bits} bits", lambda n=name, b=bits: baseline(n, b, parts, options.split))
        for name in BASELINES
        for bits in ((0,) if name == "mean frame" else (8, 10, 16, 24, 32))
    }
    report(runs, trivial)


def report(runs: dict[str, list[dict]], trivial: dict) -> None:
    """Tables in Markdown, mean and standard deviation over seeds."""

    def cells(values: list[dict]) -> str:
        return " | ".join(spread([value[what] for value in values]) for what in ("SI-SNR", "mel", "STOI"))

    print("\n| codec | bits a place | SI-SNR, dB | mel | STOI |\n|---|---|---|---|---|")
    for books in range(1, 5):
        if "none" in runs:
            print(
                f"| ours, {books} of 4 codebooks | {8 * books} | {cells([run[str(books)] for run in runs['none']])} |"
            )
        for (name, bits), value in trivial.items():
            if bits == 8 * books or (bits == 0 and books == 1):
                print(f"| {name} | {bits} | {cells([value])} |")
    print(
        "\n| distilled from | mel, 4 codebooks | SI-SNR | digit probe of the first | codes used |\n|---|---|---|---|---|"
    )
    for kind in (kind for kind in DISTILLED if kind in runs):
        four = [run["4"] for run in runs[kind]]
        row = [[run["mel"] for run in four], [run["SI-SNR"] for run in four]]
        row += [[run[what] for run in runs[kind]] for what in ("probe", "used")]
        print(f"| {kind} | {' | '.join(map(spread, row))} |")
    print("\n| 10 bits a place | SI-SNR, dB | mel | STOI | digit probe |\n|---|---|---|---|---|")
    for kind in (kind for kind in EQUAL if kind in runs):
        whole = [next(run[n] for n in ("2", "1") if n in run) for run in runs[kind]]
        print(f"| {kind} | {cells(whole)} | {spread([run['probe'] for run in runs[kind]])} |")
    for (name, bits), value in trivial.items():
        if bits == 10:
            print(f"| {name} | {cells([value])} | |")
    streams = [run["stream"] for kind in DISTILLED for run in runs.get(kind, [])]
    if streams:
        equal, far = min(s["equal codes"] for s in streams), max(s["largest difference"] for s in streams)
        print(f"\nstreaming: at least {equal:.6f} of codes equal, samples differ by {far:.1e} at most")


def spread(values: list[float]) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) < 2 else f"{mean} +- {statistics.stdev(values):.3f}"


if __name__ == "__main__":
    main()
