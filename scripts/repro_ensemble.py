"""Do two models of different tokenizers say more together? Bits per byte of each, and of their ensembles.

    python scripts/repro_ensemble.py                          # SmolLM2-135M and Gemma-3-270M, about 20 minutes on one core
    python scripts/repro_ensemble.py --excerpts 1 --bytes 200 # a look

Excerpts are drawn by a seed from the report texts of bench_quality.py, prose and code, and scored by themselves under the
canonical measure: by each model, by the mean of their probabilities (`mixture`), and by their geometric mean (`product`),
both with equal weights. Intervals are 95 % of 2,000 bootstrap samples of the excerpts, for each way and for its
difference from the better member.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
from bench_quality import texts
from samples import sample
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import ByteEnsembleForCausalLM, ByteLevelForCausalLM, byteify, score_bytes


def excerpts(text: str, count: int, size: int) -> list[bytes]:
    """Pieces of a text that begin with a line and do not overlap."""
    data = text.encode()
    starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == 10 and at + 1 + size <= len(data))]
    random.Random(0).shuffle(starts)
    found: list[int] = []
    for start in starts:
        if len(found) < count and all(abs(start - other) >= size for other in found):
            found.append(start)
    return [data[start : start + size].decode(errors="ignore").encode() for start in sorted(found)]


def byteified(name: str) -> ByteLevelForCausalLM:
    """The byte view of a sample."""
    folder = sample(name)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return byteify(model, AutoTokenizer.from_pretrained(folder), measure="canonical", tolerance=1e-3)[0]


def interval(values: np.ndarray) -> str:
    """Mean, and the bootstrap's interval."""
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def main() -> None:
    """Score what has no figure yet, and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"], help="names of samples")
    parser.add_argument("--excerpts", type=int, default=8, help="of each kind of text")
    parser.add_argument("--bytes", type=int, default=500, help="of each excerpt")
    parser.add_argument("--results", type=Path, default=Path("repro_ensemble.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    members = [byteified(name) for name in options.models]
    ways: dict[str, ByteLevelForCausalLM | ByteEnsembleForCausalLM] = dict(zip(options.models, members, strict=True))
    for combination in ("mixture", "product"):
        ways[combination], _ = ByteEnsembleForCausalLM.from_members(members, combination=combination)
    kept = json.loads(options.results.read_text()) if options.results.is_file() else {}
    for kind, text in texts("report").items():
        found: dict[str, list[float]] = {way: [] for way in ways}
        for number, excerpt in enumerate(excerpts(text, options.excerpts, options.bytes)):
            for way, model in ways.items():
                key = " | ".join([way, *options.models, kind, str(options.bytes), str(number), excerpt[:20].decode()])
                if key not in kept:
                    kept[key] = score_bytes(model, [excerpt])[0].bits_per_byte
                    options.results.write_text(json.dumps(kept, indent=1))
                found[way].append(kept[key])
        best = min(options.models, key=lambda name: sum(found[name]))
        print(
            f"\n{kind}, {len(found[best])} excerpts of {options.bytes} bytes: bits per byte, and difference from {best}"
        )
        for way, values in found.items():
            print(f"  {way:14} {interval(np.array(values))}   {interval(np.array(values) - np.array(found[best]))}")


if __name__ == "__main__":
    main()
