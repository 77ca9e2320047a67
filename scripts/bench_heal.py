"""Bits per byte after a transplant and a short healing, row methods beside mergekit 0.1.5's, on equal data.

    python scripts/bench_heal.py --mergekit-python PY                     # two pairs, 3 seeds; resumable
    python scripts/bench_heal.py --pair "stories15m <- smollm2-135m" --seeds 1 --method auto

Every run sees 50 steps of 1,024 tokens (--steps): modules of the standard library and topics of Python's reference, half
and half, drawn by the seed, the same for all methods; all weights are trained at 1e-4. Measured on the report texts of
bench_quality.py, which are not among them. Figures are kept in --results and not computed twice.
"""

import argparse
import random
import statistics
import tempfile
from pathlib import Path
from pydoc_data import topics

import torch
from bench_quality import CODE, OURS, RIVAL, WITH_DONOR, keep, kept, measured, transplanted
from library import library_sources
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext.training import heal_model

PAIRS = {  # runner-up and mergekit's best by bench_quality.py
    "stories15m <- smollm2-135m": ("auto", "ridge", "mean", "mergekit omp k=64", "mergekit subword"),
    "smollm2-135m <- stories15m": ("auto", "ridge", "mean", "mergekit subword"),
}
TOKENS_PER_STEP = 1_024
EXCERPT = 2_000


def learnt_from(seed: int, size: int) -> list[str]:
    """Excerpts of `size` characters in all, half code and half prose, none from the report texts."""
    chance = random.Random(seed)
    code = [text[:EXCERPT] for text in library_sources(CODE.values(), "*.py") if len(text) >= EXCERPT]
    keys = sorted(topics.topics)[: len(topics.topics) // 2]  # the report texts come from the other half
    prose = "\n\n".join(topics.topics[key] for key in keys)
    cut = [prose[start : start + EXCERPT] for start in range(0, len(prose) - EXCERPT, EXCERPT)]
    share = size // 2 // EXCERPT
    return chance.sample(code, min(share, len(code))) + chance.sample(cut, min(share, len(cut)))


def healed(pair: str, method: str, seed: int, steps: int, python: str | None, scratch: Path) -> dict[str, float]:
    """Transplant, where that was not done for another seed, heal and measure."""
    out = scratch / f"{pair} {method}"
    if not out.exists():
        transplanted(pair, method, python, out)
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(out)
    model, report = heal_model(
        model, tokenizer, learnt_from(seed, steps * TOKENS_PER_STEP * 5), steps=steps, train="all", seed=seed,
        tokens_per_step=TOKENS_PER_STEP,
    )  # fmt: skip
    model.save_pretrained(scratch / "healed")
    tokenizer.save_pretrained(scratch / "healed")
    return measured(scratch / "healed", "report") | {"passes": report.passes, "seconds": report.seconds}


def main() -> None:
    """Run what has no figure yet, seed by seed, and print a table a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", choices=PAIRS)
    parser.add_argument("--method", action="append", choices=[*OURS, *WITH_DONOR, *RIVAL])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--results", type=Path, default=Path("bench_heal.json"))
    parser.add_argument("--mergekit-python", help="Python of an environment with torch 2.13.0 and mergekit 0.1.5")
    options = parser.parse_args()
    known = kept(options.results)
    scratch = tempfile.TemporaryDirectory()
    for pair in options.pair or PAIRS:
        methods = [
            method
            for method in options.method or PAIRS[pair]
            if method not in RIVAL or options.mergekit_python is not None
        ]
        keys = {
            (m, seed): f"{pair} | {m} | {options.steps} steps | seed {seed}"
            for seed in range(options.seeds)
            for m in methods
        }
        for (method, seed), key in keys.items():  # seed by seed, so that a stopped run has comparable figures
            if key not in known:
                known[key] = healed(pair, method, seed, options.steps, options.mergekit_python, Path(scratch.name))
                keep(options.results, key, known[key])
                print(f"{key}: {known[key]}", flush=True)
        print(f"\n{pair}, report texts, bits per byte after {options.steps} steps of {TOKENS_PER_STEP:,} tokens")
        for method in methods:
            figures = [known[keys[method, seed]] for seed in range(options.seeds)]
            cells = []
            for text in ("prose", "code"):
                values = [each[text] for each in figures]
                cells.append(f"{text} {statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
            print(f"  {method:20} {'   '.join(cells)}   {options.seeds} seeds", flush=True)


if __name__ == "__main__":
    main()
