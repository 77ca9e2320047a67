"""Frozen pictures of characters against trained and frozen random embeddings: bits per byte of held-out text.

    python scripts/repro_glyph.py                                  # 3 seeds of 2,000 steps; resumable
    python scripts/repro_glyph.py --seeds 1 --steps 20 --batch 2   # a look
    python scripts/repro_glyph.py --font unifont.hex --data FOLDER --device cuda

After `Emergent Semantics Beyond Token Embeddings` (arXiv 2507.04886), whose models have frozen embeddings drawn from GNU
Unifont. The three variants of one small decoder start from equal weights, apart from the embeddings, and see equal text in
equal order: `glyph` (frozen pictures), `random` (frozen noise, which the claim has to beat before pictures can be said to
matter) and `trainable`. Text: *.txt, *.md and *.py under --data, one file in ten held out; without it the sources of the
standard library. Font: --font, else Debian's package `unifont`, fetched by apt once and kept in the cache that
scripts/samples.py has. Figures are kept in --results and not computed twice.
"""

import argparse
import json
import math
import os
import random
import statistics
from pathlib import Path

import numpy as np
import torch
from debian import debian
from library import FOLDER, NOT_SOURCES
from transformers import LlamaConfig

from hf_tokext import GlyphConfig, GlyphForCausalLM, GlyphTokenizer
from hf_tokext.models.glyph.rendering import GlyphTable, render_glyphs

VARIANTS = ("glyph", "random", "trainable")
SUFFIXES = {".txt", ".md", ".py"}
HELD_OUT = 10  # one file in so many


def unifont() -> Path:
    """The .hex file of Debian's package, from the cache or by apt."""
    try:
        return debian("unifont") / "usr/share/unifont/unifont.hex"
    except SystemExit as error:
        raise SystemExit(f"{error}\nname a .hex, BDF or TrueType file by --font") from error


def texts(folder: Path | None) -> tuple[list[str], list[str]]:
    """Texts to learn from, and held-out ones."""
    root = folder or FOLDER
    paths = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if folder is None:
        paths = [path for path in paths if path.suffix == ".py" and not NOT_SOURCES & set(path.parts)]
    found = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    found = [text for text in found if text.strip()]
    if len(found) < HELD_OUT:
        raise SystemExit(f"{root} has {len(found)} texts; at least {HELD_OUT} are needed, in .txt, .md or .py files")
    return [text for i, text in enumerate(found) if i % HELD_OUT], found[::HELD_OUT]


def rows_of(units: np.ndarray, length: int, bos: int) -> torch.Tensor:
    """Units in rows of `length` after a bos each, [rows, 1 + length]; what is left over at the end is dropped."""
    rows = units[: len(units) // length * length].astype(np.int64).reshape(-1, length)
    return torch.from_numpy(np.pad(rows, ((0, 0), (1, 0)), constant_values=bos))


def unigram(learnt: np.ndarray, rows: torch.Tensor, size: int) -> float:
    """Bits of all rows under counts of single units, one added to each."""
    counts = np.bincount(learnt, minlength=size).astype(np.float64) + 1
    return float(-np.log2(counts / counts.sum())[rows[:, 1:].numpy()].sum())


def model_for(variant: str, glyphs: GlyphTable, options: argparse.Namespace) -> GlyphForCausalLM:
    """The small decoder; 65,540 ids take nearly all of its weights."""
    body = LlamaConfig(
        hidden_size=options.hidden, intermediate_size=4 * options.hidden, num_hidden_layers=options.layers,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=options.length + 1,
    )  # fmt: skip
    config = GlyphConfig(backbone_config=body, embedding=variant)
    return GlyphForCausalLM(config, glyphs if variant == "glyph" else None)


def bits_of(model: GlyphForCausalLM, rows: torch.Tensor, batch: int, device: str) -> float:
    """Bits of all rows under a model."""
    model.eval()
    nats = 0.0
    with torch.inference_mode():
        for part in rows.split(batch):
            part = part.to(device)
            nats += float(model(part, labels=part).loss) * part[:, 1:].numel()
    return nats / math.log(2)


def trained(variant: str, seed: int, glyphs: GlyphTable, rows: torch.Tensor, options: argparse.Namespace):
    """Train one variant."""
    torch.manual_seed(seed)
    model = model_for(variant, glyphs, options).to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.01)
    warmup = max(options.steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.1 + 0.45 * (1 + math.cos(math.pi * step / options.steps))),
    )
    chance = random.Random(seed)  # the order of the text, the same for every variant
    for _ in range(options.steps):
        part = rows[[chance.randrange(len(rows)) for _ in range(options.batch)]].to(options.device)
        model(part, labels=part).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model


def spread(values: list[float]) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) < 2 else f"{mean} +- {statistics.stdev(values):.4f}"


def main() -> None:
    """Run what has no figure yet, seed by seed, and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--font", type=Path, help=".hex, BDF or (with Pillow) TrueType file")
    parser.add_argument("--data", type=Path, help="folder of texts")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16, help="rows a step")
    parser.add_argument("--length", type=int, default=256, help="units a row")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate at its highest")
    parser.add_argument("--held-out", type=int, default=1000, help="rows measured at most")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path("repro_glyph.json"))
    options = parser.parse_args()

    tokenizer = GlyphTokenizer()
    glyphs = render_glyphs(options.font or unifont(), GlyphConfig().special_tokens or ())
    learnt, held = (tokenizer.encode_units(part)[0] for part in texts(options.data))
    rows = rows_of(learnt, options.length, tokenizer.bos_token_id)
    measured = rows_of(held, options.length, tokenizer.bos_token_id)
    measured = measured[:: max(-(-len(measured) // options.held_out), 1)]  # from all over
    if not (len(rows) and len(measured)):
        raise SystemExit(f"too little text for rows of {options.length} units")
    size = sum(len(tokenizer.decode(row[1:]).encode("utf-8", "surrogatepass")) for row in measured)
    print(f"{glyphs.font}: {glyphs.missing} code points without a picture, {glyphs.distinct} different pictures")
    print(f"learnt from {len(learnt):,} units, measured on {size:,} bytes")
    baseline = unigram(learnt, measured, len(tokenizer)) / size

    kept = json.loads(options.results.read_text()) if options.results.is_file() else {}
    setting = [f"{name}={value}" for name, value in sorted(vars(options).items()) if name not in ("results", "seeds")]
    setting = [*setting, f"units={len(learnt)}", f"bytes={size}", f"pictures={glyphs.distinct}"]
    figures: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for seed in range(options.seeds):  # seed by seed, so that a stopped run has comparable figures
        for variant in VARIANTS:
            key = " | ".join([variant, f"seed {seed}", *setting])
            if key not in kept:
                model = trained(variant, seed, glyphs, rows, options)
                kept[key] = bits_of(model, measured, options.batch, options.device) / size
                partial = options.results.with_name(options.results.name + ".part")
                partial.write_text(json.dumps(kept, indent=1))
                os.replace(partial, options.results)
            figures[variant].append(kept[key])
            print(f"seed {seed}  {variant:10} {kept[key]:.4f} bits per byte", flush=True)
    print(f"\n{'unigram':10} {baseline:.4f}")
    for variant, values in figures.items():
        model = model_for(variant, glyphs, options)
        weights = sum(parameter.numel() for parameter in model.parameters())
        frozen = 0 if variant == "trainable" else model.get_input_embeddings().weight.numel()
        print(f"{variant:10} {spread(values)}   {weights:,} weights trained, {frozen:,} frozen")


if __name__ == "__main__":
    main()
