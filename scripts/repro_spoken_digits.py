"""Can a language model hear and say digits? Digits of a speaker it never heard -> text, and text -> spoken digits.

    python scripts/repro_spoken_digits.py --data FOLDER                              # one seed, about two hours on one core
    python scripts/repro_spoken_digits.py --data FOLDER --seeds 3 --device cuda
    python scripts/repro_spoken_digits.py --data FOLDER --codec-steps 20 --steps 3 --asked 10   # a look

--data: the recordings of the Free Spoken Digit Dataset, `{digit}_{speaker}_{take}.wav`, 8 kHz. Split by speaker, in alphabetical
order: the last one is reported, the one before is for choosing settings, all others are trained on. A small speech codec (25
places a second, 2 x 256 codes, the first of which also learn from a speech model) is trained on the training speakers, and put
on SmolLM2-135M by `extend_with_codecs`. LoRA and the rows of the codes then learn both ways at once from codes that were made
before: "<|speech|> is the digit" with the digit's word as the answer, and "Say WORD:" with <|speech|> as the answer.

Hearing is right if the text that is written greedily is the word. Saying is judged by a recurrent model of letters that was
trained on the real recordings of the training speakers (with faster, slower and noisy copies) and names the likeliest of the ten
words; beside it stand what it makes of real recordings, and of these through the codec: of the held-out speakers, and of one in
ten of the training speakers', in whose voices is spoken, which it did not learn from. Chance is 10 % either way. Codec and adapter
are kept in --kept and read from there, and figures in --results are not computed twice: give others where data or script change.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from repro_speech_codec import load
from samples import sample
from speech_figures import RATE, Clips, coded, sounds
from speech_teachers import WORDS, Listener, heard, trained_listener
from torch import Tensor
from torch.nn.functional import interpolate
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import (
    SpeechCodecConfig,
    SpeechCodecFeatureExtractor,
    SpeechCodecModel,
    extend_with_codecs,
    trainable_rows,
)

HOP, BOOKS, SIZE = 320, 2, 256
HEARD, SAID = "<|speech|> is the digit", "Say {}:"
OTHER = 160  # samples a place of the judge, and of the teacher


def trained_codec(clips: Clips, options: argparse.Namespace, seed: int) -> SpeechCodecModel:
    """A codec of the training speakers' digits, whose first codes learn from a speech model; kept in a folder."""
    folder = options.kept / f"codec-{options.codec_steps}-{options.teacher_steps}-steps-seed-{seed}"
    if folder.is_dir():
        return SpeechCodecModel.from_pretrained(folder).to(options.device).eval()
    waves, digits = [wave for wave, _ in clips], [digit for _, digit in clips]
    listener = trained_listener(waves, digits, OTHER, options.teacher_steps, seed)  # letters need more places
    states = [halved(heard(listener, wave, digit, OTHER)[0]) for wave, digit in clips]
    every = torch.cat(states)
    states = [(each - every.mean(0)) / every.std(0) for each in states]
    torch.manual_seed(seed)
    config = SpeechCodecConfig(
        sampling_rate=RATE, strides=[4, 4, 4, 5], filters=16, lstm_layers=1, latent_dim=64, quantizer="rvq",
        quantizer_options={"size": SIZE, "codebooks": BOOKS, "decay": 0.98, "dead_below": 0.02},
        distill_speech_dim=states[0].shape[1],
    )  # fmt: skip
    codec = SpeechCodecModel(config).to(options.device).train()
    learn(codec, waves, states, options.codec_steps, 2e-3)
    codec.config.wave_weight = 0.0  # so few bits cannot say where waves rise and fall: what is heard is in the spectra
    learn(codec, waves, states, options.codec_steps // 2, 1e-3)
    keep(codec, folder)
    return codec.eval()


def keep(model: Any, folder: Path) -> None:
    """Save a model: whole, or not at all."""
    part = folder.with_name(f"{folder.name}.part")
    model.save_pretrained(part)
    part.rename(folder)


def learn(codec: SpeechCodecModel, waves: list[Tensor], states: list[Tensor], steps: int, rate: float) -> None:
    """Train a codec on sounds, and its first codes on the states of a speech model."""
    optimizer = torch.optim.AdamW(codec.parameters(), lr=rate, betas=(0.8, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        drawn = torch.randint(len(waves), (16,)).tolist()
        values = pad_sequence([waves[at] for at in drawn], batch_first=True)
        mask = torch.arange(values.shape[1]) < torch.tensor([[len(waves[at])] for at in drawn])
        taught = pad_sequence([states[at] for at in drawn], batch_first=True)
        given = [each.to(codec.device) for each in (values, mask, taught)]
        loss = codec(given[0][:, None], given[1], distill_speech=given[2]).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def halved(states: Tensor) -> Tensor:
    """Means of two places each, [T / 2, D] of [T, D]."""
    return torch.stack([part.mean(0) for part in states.split(HOP // OTHER)])


def varied(clips: Clips, seed: int) -> tuple[list[Tensor], list[int]]:
    """Sounds and digits of recordings, of copies that are up to a quarter faster or slower, and of noisy ones of all these."""
    chance = torch.Generator().manual_seed(seed)
    waves = [wave for wave, _ in clips]
    factors = (0.8 * 1.5625 ** torch.rand(len(waves), generator=chance)).tolist()
    waves += [
        interpolate(wave[None, None], scale_factor=factor, mode="linear")[0, 0]
        for wave, factor in zip(waves, factors, strict=True)
    ]
    loud = (0.05 * torch.rand(len(waves), generator=chance)).tolist()
    waves += [wave + part * torch.randn(len(wave), generator=chance) for wave, part in zip(waves, loud, strict=True)]
    return waves, 4 * [digit for _, digit in clips]


def alike_batches(lengths: list[int], batch: int, chance: torch.Generator) -> Iterator[list[int]]:
    """Random batches, without end, whose members are of like length: half of a batch would be padding otherwise."""
    while True:
        drawn = torch.randint(len(lengths), (8 * batch,), generator=chance).tolist()
        drawn.sort(key=lengths.__getitem__)
        for number in torch.randperm(8, generator=chance).tolist():
            yield drawn[number * batch : (number + 1) * batch]


def learnt(
    model: Any, processor: Any, clips: Clips, codes: list[Tensor], options: argparse.Namespace, seed: int
) -> Any:
    """The language model after learning both ways, under PEFT; the adapter is kept in a folder."""
    name = f"adapter-{options.codec_steps}-{options.teacher_steps}-{options.steps}-steps-of-{options.batch}"
    folder = options.kept / f"{name}-rank-{options.rank}-rate-{options.rate}-seed-{seed}"
    if folder.is_dir():
        return PeftModel.from_pretrained(model, folder).eval()
    rows = sorted(int(index) for index in processor.spaces["speech"].grammar_ids)
    config = LoraConfig(
        r=options.rank, lora_alpha=2 * options.rank, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"],
        trainable_token_indices=trainable_rows(model, rows), task_type="CAUSAL_LM",
    )  # fmt: skip
    tuned = get_peft_model(model, config).train()
    optimizer = torch.optim.AdamW([each for each in tuned.parameters() if each.requires_grad], lr=options.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.steps, pct_start=0.101)
    chance, started, tokens = torch.Generator().manual_seed(seed), time.perf_counter(), 0
    batches = alike_batches([each.shape[1] for each in codes], options.batch, chance)
    for step, drawn in zip(range(options.steps), batches, strict=False):
        hearing = [(number % 2 == 0) for number in range(len(drawn))]
        texts = [HEARD if first else SAID.format(WORDS[clips[at][1]]) for at, first in zip(drawn, hearing, strict=True)]
        answers = [
            f" {WORDS[clips[at][1]]}" if first else "<|speech|>" for at, first in zip(drawn, hearing, strict=True)
        ]
        given = processor(texts, answers=answers, codes={"speech": [codes[at] for at in drawn]})
        loss = tuned(**given.to(options.device)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tuned.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        tokens += int(given["attention_mask"].sum())
        if step % 20 == 0 or step + 1 == options.steps:
            rate = tokens / (time.perf_counter() - started)
            print(f"  step {step}: loss {loss.item():.3f}, {rate:.0f} tokens a second", flush=True)
    keep(tuned, folder)
    return tuned.eval()


@torch.no_grad()
def hearing(tuned: Any, processor: Any, clips: Clips, codes: list[Tensor], options: argparse.Namespace) -> float:
    """Share of recordings whose word is written."""
    right = 0
    for at in range(0, len(clips), 20):
        part = clips[at : at + 20]
        given = processor([HEARD] * len(part), codes={"speech": codes[at : at + 20]}).to(options.device)
        found = tuned.generate(**given, max_new_tokens=4, do_sample=False)
        texts = [processor.decode(row, skip_special_tokens=True) for row in found[:, given["input_ids"].shape[1] :]]
        right += sum(text.strip() == WORDS[digit] for text, (_, digit) in zip(texts, part, strict=True))
    return right / len(clips)


@torch.no_grad()
def said(tuned: Any, processor: Any, codec: Any, count: int, draw: bool, options: argparse.Namespace) -> Clips:
    """Sounds of digits that the model was told to say."""
    digits = [number % 10 for number in range(count)]
    made: Clips = []
    for at in range(0, count, 20):
        part = digits[at : at + 20]
        given = processor([SAID.format(WORDS[digit]) for digit in part]).to(options.device)
        how = {"do_sample": True, "temperature": 0.8} if draw else {"do_sample": False}
        found = tuned.generate(**given, only="speech", max_new_tokens=2 + BOOKS * 40, **how)
        for row, digit in zip(found[:, given["input_ids"].shape[1] :], part, strict=True):
            (codes,) = processor.parts(row).codes["speech"]
            made.append((codec.decode(codes[None].to(codec.device))[0, 0].cpu(), digit))
    return made


def through(codec: SpeechCodecModel, codes: list[Tensor], clips: Clips) -> Clips:
    """What comes back of recordings, of their codes."""
    return [(wave, digit) for wave, (_, digit) in zip(sounds(codec, codes, clips, BOOKS), clips, strict=True)]


def judged(judge: Listener, clips: Clips) -> float:
    """Share of recordings of which the judge names the right word."""
    return statistics.mean(
        heard(judge, wave, digit, OTHER)[2] if len(wave) > 10 * OTHER else False for wave, digit in clips
    )


def figures(parts: dict[str, Clips], options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Everything of one seed."""
    train = parts["train"]
    started = time.perf_counter()
    codec = trained_codec(train, options, seed)
    unheard = train[::10]
    learned = [clip for number, clip in enumerate(train) if number % 10]
    judge = trained_listener(*varied(learned, seed), OTHER, 2 * options.teacher_steps, seed + 100)
    found = {
        "judge on training speakers": judged(judge, unheard),
        "judge on them through the codec": judged(judge, through(codec, coded(codec, unheard), unheard)),
    }
    asked, known = {}, {}
    for split in ("dev", "report"):
        count = min(options.asked, len(parts[split]))
        asked[split] = [
            parts[split][number * len(parts[split]) // count] for number in range(count)
        ]  # sorted by digit: all
        known[split] = coded(codec, asked[split])
        found[f"{split}: judge on real recordings"] = judged(judge, asked[split])
        found[f"{split}: judge on them through the codec"] = judged(judge, through(codec, known[split], asked[split]))
    print(f"codec and judge after {time.perf_counter() - started:.0f} s: {found}", flush=True)
    codes = coded(codec, train)
    folder = sample("smollm2-135m")
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(options.device)
    extractor = SpeechCodecFeatureExtractor(sampling_rate=RATE, hop_length=HOP)
    model, processor = extend_with_codecs(
        base, AutoTokenizer.from_pretrained(folder), {"speech": (codec, extractor)}, calibrate=False, seed=seed
    )
    processor.tokenizer.padding_side = "left"
    tuned = learnt(model, processor, train, codes, options, seed)
    torch.manual_seed(seed)
    drawn, greedy = (said(tuned, processor, codec, count, draw, options) for count, draw in ((100, True), (10, False)))
    return {
        **found,
        **{
            f"{split}: hearing": hearing(tuned, processor, clips, known[split], options)
            for split, clips in asked.items()
        },
        "saying, drawn": judged(judge, drawn),
        "saying, greedy": judged(judge, greedy),
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    """Run the seeds, and print means and spreads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--codec-steps", type=int, default=1500)
    parser.add_argument("--teacher-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=500, help="of the language model")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the language model")
    parser.add_argument("--asked", type=int, default=100, help="recordings of each held-out speaker")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kept", type=Path, default=Path("kept"), help="where codecs and adapters are kept")
    parser.add_argument("--results", type=Path, default=Path("spoken_digits.json"))
    options = parser.parse_args()
    parts = load(options.data)
    known = json.loads(options.results.read_text()) if options.results.is_file() else {}
    settings = {
        key: str(value)
        for key, value in vars(options).items()
        if key not in ("seeds", "results", "kept", "data", "device")
    }
    found = []
    for seed in range(options.seeds):
        key = json.dumps({**settings, "seed": seed}, sort_keys=True)
        if key not in known:
            known[key] = figures(parts, options, seed)
            options.results.write_text(json.dumps(known, indent=1))
        found.append(known[key])
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in known[key].items()), flush=True)
    for name in found[0]:
        values = [each[name] for each in found]
        print(
            f"{name:34} {statistics.mean(values):.3f}"
            + (f" +- {statistics.stdev(values):.3f}" if len(values) > 1 else "")
        )


if __name__ == "__main__":
    main()
