"""Which quantizers use their codes, on patches of photographs, in a tiny autoencoder trained from scratch.

    python scripts/repro_quantizers.py --data FOLDER --seeds 3 --device cpu

FOLDER holds photographs. They are split by file: eight in ten to learn from, one in ten held out (the tenth that other
scripts choose by is left alone). A patch is 8 x 8 pixels in colour. The first table is of an autoencoder with one hidden
layer on either side and one code a patch; usage and perplexity are of the held-out patches. Beside it stand the mean, and
PCA, DCT and k-means at 9 bits a patch. The second table has no autoencoder: quantizers of the patches themselves, by bits.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from photographs import patches, photographs
from torch import nn
from torch.nn.functional import mse_loss
from transform_coding import dct, mean_of, nearest_centre, pca, transform

from hf_tokext.quantizers import Quantizer, make_quantizer

SIDE, BITS = 8, 9
DIM, HIDDEN = 16, 256
KINDS = {  # what stands in the first table: quantizer and options
    "vq (default)": ("vq", {"size": 512}),
    "vq, cosine, 8 numbers": ("vq", {"size": 512, "cosine": True, "inner": 8}),
    "vq, codes never replaced": ("vq", {"size": 512, "dead_below": 0.0}),
    "vq, learned by the optimizer": ("vq", {"size": 512, "decay": None}),
    "vq, learned, codes never replaced": ("vq", {"size": 512, "decay": None, "dead_below": 0.0}),
    "simvq": ("simvq", {"size": 512}),
    "ibq": ("ibq", {"size": 512}),
    "fsq 8 8 8": ("fsq", {"levels": (8, 8, 8)}),
    "lfq": ("lfq", {"bits": 9}),
    "bsq": ("bsq", {"bits": 9}),
    "rvq 2 of 23": ("rvq", {"size": 23, "codebooks": 2}),
    "pq 2 of 23": ("pq", {"size": 23, "codebooks": 2}),
    "additive 2 of 23": ("additive", {"size": 23, "codebooks": 2}),
}
PLAIN = {  # what stands in the second: bits, quantizer and options
    "rvq 1 of 64": (6, "rvq", {"size": 64, "codebooks": 1}),
    "rvq 2 of 64": (12, "rvq", {"size": 64, "codebooks": 2}),
    "rvq 3 of 64": (18, "rvq", {"size": 64, "codebooks": 3}),
    "rvq 4 of 64": (24, "rvq", {"size": 64, "codebooks": 4}),
    "additive 2 of 64": (12, "additive", {"size": 64, "codebooks": 2}),
    "pq 2 of 64": (12, "pq", {"size": 64, "codebooks": 2}),
    "vq 4096": (12, "vq", {"size": 4096}),
    "additive 4 of 64": (24, "additive", {"size": 64, "codebooks": 4}),
    "pq 4 of 64": (24, "pq", {"size": 64, "codebooks": 4}),
}


class Autoencoder(nn.Module):
    """A patch, one hidden layer, a quantizer, one hidden layer, a patch."""

    def __init__(self, kind: str, options: dict) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Linear(3 * SIDE**2, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, DIM))
        self.quantizer = make_quantizer(kind, DIM, options)
        self.up = nn.Sequential(nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 3 * SIDE**2))

    def forward(self, values: torch.Tensor):
        """The patches as they come back, and what the quantizer gave."""
        found = self.quantizer(self.down(values)[:, None])
        return self.up(found.quantized[:, 0]), found


def batches(values: torch.Tensor, steps: int, size: int, seed: int):
    """Patches drawn at random."""
    chance = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield values[torch.randint(len(values), (size,), generator=chance).to(values.device)]


def decibels(values: torch.Tensor, found: torch.Tensor) -> float:
    """Peak signal-to-noise ratio over all numbers, of values in -1 to 1."""
    return float(10 * torch.log10(4 / mse_loss(found.clamp(-1, 1), values)))


def trained(kind: str, options: dict, train: torch.Tensor, held: torch.Tensor, seed: int, steps: int) -> dict:
    """Figures of one autoencoder on held-out patches."""
    torch.manual_seed(seed)
    model = Autoencoder(kind, {**options, **({"seed": seed} if kind in ("vq", "rvq", "pq", "additive") else {})})
    model = model.to(train.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.101)
    for values in batches(train, steps, 512, seed):
        found, quantized = model(values)
        (mse_loss(found, values) + quantized.loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.eval()
    model.quantizer.reset_usage()
    with torch.no_grad():
        found = torch.cat([model(part)[0] for part in held.split(4096)])
    use = model.quantizer.usage()
    return {
        "PSNR": decibels(held, found),
        "used %": 100 * statistics.mean(book.used for book in use),
        "perplexity": statistics.mean(book.perplexity for book in use),
    }


def error(quantizer: Quantizer, train: torch.Tensor, held: torch.Tensor, seed: int, steps: int) -> float:
    """Mean squared error of held-out patches, of a quantizer that learns from patches alone."""
    quantizer = quantizer.to(train.device).train()
    with torch.no_grad():
        for values in batches(train, steps, 2048, seed):
            quantizer(values[None])
        quantizer.eval()
        found = torch.cat([quantizer(part[None]).quantized[0] for part in held.split(4096)])
    return float(mse_loss(found, held))


def spread(values: list[float], digits: int) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} +- {statistics.stdev(values):.{digits}f}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800, help="batches of 512 patches for each autoencoder")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    start = time.process_time()
    images = photographs(options.data)
    train = patches(images["train"], SIDE, max(40_000 // len(images["train"]), 1)).to(options.device) * 2 - 1
    held = patches(images["report"], SIDE, max(20_000 // len(images["report"]), 1), 1).to(options.device) * 2 - 1
    print(f"{len(train):,} patches of {len(images['train'])} photographs to learn from, {len(held):,} held-out ones of "
          f"{len(images['report'])} others; {options.seeds} seeds, {options.steps} steps")  # fmt: skip
    print(f"\n{'':36}{'bits':>6}{'PSNR':>18}{'used %':>18}{'perplexity':>18}")
    for name, through in {
        "mean": mean_of(train), "DCT": transform(train, dct(SIDE).to(train), BITS),
        "PCA": transform(train, pca(train), BITS),
    }.items():  # fmt: skip
        print(f"{name:36}{BITS if name != 'mean' else 0:>6}{decibels(held, through(held)):>18.2f}", flush=True)
    found = [decibels(held, nearest_centre(train, 2**BITS, seed)(held)) for seed in range(options.seeds)]
    print(f"{'k-means':36}{BITS:>6}{spread(found, 2):>18}", flush=True)
    for name, (kind, extra) in KINDS.items():
        rows = [trained(kind, extra, train, held, seed, options.steps) for seed in range(options.seeds)]
        bits = sum(torch.tensor(make_quantizer(kind, DIM, extra).sizes).log2().tolist())
        print(f"{name:36}{bits:>6.3g}" + "".join(f"{spread([row[key] for row in rows], digits):>18}" for key, digits in
              (("PSNR", 2), ("used %", 1), ("perplexity", 0))), flush=True)  # fmt: skip

    print(f"\nwithout an autoencoder{'':14}{'bits':>6}{'error of a number x 1000':>30}")
    for name, (bits, kind, extra) in PLAIN.items():
        errors = [
            1000 * error(make_quantizer(kind, train.shape[1], {**extra, "seed": seed}), train, held, seed, 200)
            for seed in range(options.seeds)
        ]
        print(f"{name:36}{bits:>6}{spread(errors, 3):>30}", flush=True)
    print(f"\n{(time.process_time() - start) / options.seeds:.0f} seconds of processor time a seed")


if __name__ == "__main__":
    main()
