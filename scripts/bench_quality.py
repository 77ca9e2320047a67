"""Bits per byte after a transplant, every row method beside mergekit 0.1.5's, on real checkpoints.

    python scripts/bench_quality.py                               # every pair and method
    python scripts/bench_quality.py --pair "smollm2-135m <- stories15m" --method auto --method mean
    python scripts/bench_quality.py --text dev                    # what methods are chosen by; report is for figures

Texts are the standard library's own: prose from Python's reference (pydoc_data), code from one module, 16 KB each; dev
and report texts are apart. Figures are kept in --results and not computed twice. Without --mergekit-python the rival is
left out. Uncalibrated methods are what the published rules give; "auto" is what users get.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from pydoc_data import topics

import torch
from library import library_source, library_sources
from samples import sample
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import bits_per_byte, transplant_checkpoint
from hf_tokext.errors import TokextError

SIZE = 16_384
WORDS = 200_000  # characters that word vectors are learnt from
CODE = {"dev": "heapq.py", "report": "statistics.py"}
OURS = {
    "auto": ("auto", {}, True),
    "piece means": ("compose", {}, False),
    "mean": ("mean", {}, False),
    "normal": ("normal", {}, False),
    "zero": ("zero", {}, False),
    "neighbours": ("neighbours", {}, False),
}
WITH_DONOR = {
    "ridge": ("ridge", {}, False),
    "ridge calibrated": ("ridge", {}, True),
    "omp k=8": ("omp", {"k": 8}, False),
    "omp k=8 calibrated": ("omp", {"k": 8}, True),
    "omp k=64": ("omp", {"k": 64}, False),
}
RIVAL = {
    "mergekit omp k=8": ["-a", "omp", "-k", "8"],
    "mergekit omp k=64": ["-a", "omp", "-k", "64"],
    "mergekit subword": ["-a", "subword"],
    "mergekit mean": ["-a", "mean"],
}
PAIRS = {
    "smollm2-135m <- stories15m": True,
    "gemma3-270m <- smollm2-135m": True,
    "stories15m <- smollm2-135m": True,
    "smollm2-135m <- gpt2-tokenizer": False,
    "smollm2-135m <- llama2-tokenizer": False,
    "smollm2-135m <- code": False,
}


def texts(which: str) -> dict[str, str]:
    """Prose and code by name; "dev" and "report" share nothing."""
    keys = sorted(topics.topics)
    half = len(keys) // 2
    chosen = keys[:half] if which == "dev" else keys[half:]
    prose = "\n\n".join(topics.topics[key] for key in chosen)
    return {"prose": prose[:SIZE], "code": library_source(CODE[which])[:SIZE]}


def words() -> list[str]:
    """Library sources to learn word vectors from; nothing that is measured on is among them."""
    found: list[str] = []
    for text in library_sources(CODE.values(), "*.py"):
        found.append(text[: WORDS - sum(map(len, found))])
    return [text for text in found if text]


def measured(folder: Path, which: str) -> dict[str, float]:
    """Bits per byte of a checkpoint in 512-token windows, loaded with stock transformers in float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {name: bits_per_byte(model, tokenizer, [text]).bits_per_byte for name, text in texts(which).items()}


def transplanted(pair: str, method: str, python: str | None, out: Path) -> None:
    """Make the checkpoint of one pair and method in the folder `out`."""
    base, donor = pair.split(" <- ")
    if method in RIVAL:
        tool = Path(str(python)).with_name("mergekit-tokensurgeon")
        command = [tool, sample(base), sample(donor), out, *RIVAL[method], "--quiet", "--allow-crimes"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return
    name, options, calibrate = (OURS | WITH_DONOR)[method]
    trained = donor == "code"
    transplant_checkpoint(
        sample(base), None if trained else sample(donor), out, method=name, method_options=options,
        train_on=library_sources(CODE.values(), "*.py") if trained else None, vocab_size=16_384 if trained else None,
        texts=words() if name == "neighbours" else None, calibrate=calibrate, dtype=torch.float32,
    )  # fmt: skip


def result(pair: str, method: str, which: str, python: str | None) -> dict[str, float]:
    """Transplant with one method and measure."""
    with tempfile.TemporaryDirectory() as scratch:
        transplanted(pair, method, python, Path(scratch) / "out")
        return measured(Path(scratch) / "out", which)


def kept(path: Path) -> dict[str, dict[str, float]]:
    """The figures kept so far."""
    return json.loads(path.read_text()) if path.exists() else {}


def keep(path: Path, key: str, figures: dict[str, float]) -> dict[str, float]:
    """Add one entry to the figures kept, and return it."""
    path.write_text(json.dumps(kept(path) | {key: figures}, indent=1))
    return figures


def methods_of(pair: str, python: str | None) -> list[str]:
    """What can be run on a pair."""
    with_donor = PAIRS[pair]
    return [*OURS, *(WITH_DONOR if with_donor else ()), *(RIVAL if with_donor and python else ())]


def show(method: str, figures: dict[str, float], untouched: dict[str, float]) -> None:
    """Print one line of the table."""
    cells = (f"{name} {value:.4f} ({value / untouched[name]:.3f}x)" for name, value in figures.items())
    print(f"  {method:20} " + "   ".join(cells), flush=True)


def main() -> None:
    """Run what is asked for and has no figure yet; print a table a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", choices=PAIRS)
    parser.add_argument("--method", action="append", choices=[*OURS, *WITH_DONOR, *RIVAL])
    parser.add_argument("--text", choices=("dev", "report"), default="report")
    parser.add_argument("--results", type=Path, default=Path("bench_quality.json"))
    parser.add_argument("--mergekit-python", help="Python of an environment with torch 2.13.0 and mergekit 0.1.5")
    options = parser.parse_args()
    known = kept(options.results)
    for pair in options.pair or PAIRS:
        print(f"\n{pair}, {options.text} texts, bits per byte (ratio to the untouched model)", flush=True)
        base = pair.split(" <- ")[0]
        key = f"{base} | untouched | {options.text}"
        untouched = known.get(key) or keep(options.results, key, measured(sample(base), options.text))
        known[key] = untouched
        show("untouched", untouched, untouched)
        for method in methods_of(pair, options.mergekit_python):
            if options.method and method not in options.method:
                continue
            key = f"{pair} | {method} | {options.text}"
            if key not in known:
                try:
                    known[key] = result(pair, method, options.text, options.mergekit_python)
                except (TokextError, subprocess.CalledProcessError) as error:
                    last = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
                    print(f"  {method:20} failed: {last}", flush=True)
                    continue
                keep(options.results, key, known[key])
            show(method, known[key], untouched)


if __name__ == "__main__":
    main()
