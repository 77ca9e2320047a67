"""The image codec trained from scratch on photographs, against transforms and k-means at equal bits an image.

    python scripts/repro_image_codec.py --data FOLDER --seeds 3 --device cpu
    python scripts/repro_image_codec.py --data FOLDER --seeds 1 --steps 100    # a look

FOLDER holds photographs. They are split by file: eight in ten to learn from, one to choose settings by (`--split dev`), one
to report on. All learn from the same squares of 32 x 32 pixels, cut out of the photographs at random places and sizes and
made smaller, and are measured on the largest square in the middle of held-out photographs. Bits are those of codes that
are stored as they are: no entropy coding, for nobody.

* DCT and PCA: one scalar quantiser (Lloyd's) a coefficient; bits go where the error falls most, on the training squares.
  The DCT is of the whole square, and of blocks of 8 x 8.
* k-means: each block of 8 x 8 is one of 512 (as many bits as the codec has), and each whole square is one of 512.

PSNR and SSIM are means over photographs; used codes and perplexity are of 2,000 squares cut from held-out photographs.
"""

import argparse
import math
import statistics
import time
from pathlib import Path

import torch
from photographs import cuttings, photographs, whole
from PIL import Image
from transform_coding import dct, from_blocks, in_blocks, mean_of, nearest_centre, pca, transform

from hf_tokext import ImageCodecConfig, ImageCodecModel
from hf_tokext.measure.images import psnr, ssim

SIZE, BLOCK, BITS = 32, 8, 144
NUMBERS = 128  # of all latents of a square
KINDS = {  # latents of a square, options of the quantizer: 144 bits each
    "vq": (16, {"size": 512}),
    "rvq": (8, {"size": 512, "codebooks": 2}),
    "fsq": (16, {"levels": (8, 8, 8)}),
}
COLUMNS = {"PSNR": 2, "SSIM": 3, "used %": 1, "perplexity": 0}


def model_for(kind: str, seed: int) -> ImageCodecModel:
    """A new codec of the size that is reported."""
    latents, options = KINDS[kind]
    torch.manual_seed(seed)
    return ImageCodecModel(
        ImageCodecConfig(
            image_size=SIZE, patch_size=BLOCK, num_latents=latents, hidden_size=128, intermediate_size=256,
            num_encoder_layers=3, num_decoder_layers=5, num_attention_heads=4,
            latent_dim=NUMBERS // latents, quantizer=kind, quantizer_options=options if kind == "fsq" else {**options, "seed": seed},
        )
    )  # fmt: skip


def trained(kind: str, seed: int, train: torch.Tensor, options: argparse.Namespace) -> ImageCodecModel:
    """Train one codec."""
    model = model_for(kind, seed).to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / 50, 1) * (0.5 + 0.5 * math.cos(math.pi * step / options.steps)),
    )
    chance = torch.Generator().manual_seed(seed)
    for _ in range(options.steps):
        squares = train[torch.randint(len(train), (options.batch,), generator=chance)].to(options.device)
        model(squares * 2 - 1).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval()


def quality(found: torch.Tensor, held: torch.Tensor) -> dict[str, float]:
    """What is measured on photographs, in 0 to 1."""
    found = found.clamp(0, 1)
    return {"PSNR": float(psnr(found, held).mean()), "SSIM": float(ssim(found, held).mean())}


def measured(model: ImageCodecModel, held: torch.Tensor, many: torch.Tensor) -> tuple[dict[str, float], torch.Tensor]:
    """Figures of a codec, and the photographs as they come back."""
    device = model.device
    with torch.no_grad():
        codes = model.encode(held.to(device) * 2 - 1).codes
        found = model.decode(codes).cpu() / 2 + 0.5
        model.quantizer.reset_usage()
        for part in many.split(250):
            model(part.to(device) * 2 - 1)
    use = model.quantizer.usage()
    used = {"used %": 100 * statistics.mean(book.used for book in use)}
    return quality(found, held) | used | {"perplexity": statistics.mean(book.perplexity for book in use)}, found


def baselines(train: torch.Tensor, held: torch.Tensor, seed: int) -> dict[str, tuple[int, torch.Tensor]]:
    """Bits an image, and the photographs as they come back, by name."""
    flat, blocks = train.flatten(1), in_blocks(train[:4000], BLOCK)
    by_image = {
        "mean": (0, mean_of(flat)),
        "DCT": (BITS, transform(flat, dct(SIZE), BITS)),
        "PCA": (BITS, transform(flat, pca(flat), BITS)),
        "k-means of whole squares": (9, nearest_centre(flat, 512, seed)),
    }
    count = (SIZE // BLOCK) ** 2
    by_block = {
        "DCT of blocks": (BITS, transform(blocks, dct(BLOCK), BITS // count)),
        "k-means of blocks": (BITS, nearest_centre(blocks, 2 ** (BITS // count), seed)),
    }
    found = {name: (bits, through(held.flatten(1)).view_as(held)) for name, (bits, through) in by_image.items()}
    for name, (bits, through) in by_block.items():
        found[name] = bits, from_blocks(through(in_blocks(held, BLOCK)), held.shape, BLOCK)
    return found


def spread(values: list[float], digits: int) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} +- {statistics.stdev(values):.{digits}f}"


def line(name: str, bits: int, rows: list[dict[str, float]]) -> None:
    """Print a row of the table."""
    cells = (spread([row[key] for row in rows], digits) if key in rows[0] else "" for key, digits in COLUMNS.items())
    print(f"{name:26}{bits:>6}" + "".join(f"{cell:>17}" for cell in cells), flush=True)


def save_picture(path: Path, rows: list[torch.Tensor], columns: int = 16, scale: int = 2) -> None:
    """Rows of photographs, one below the other."""
    grid = torch.cat([torch.cat(list(row[:columns].clamp(0, 1)), 2) for row in rows], 1)
    image = Image.fromarray((grid * 255).round().byte().permute(1, 2, 0).numpy())
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)


def main() -> None:
    """Print the table, and save the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate at its highest")
    parser.add_argument("--squares", type=int, default=16_000, help="squares cut to learn from; an eighth for usage")
    parser.add_argument("--split", choices=("dev", "report"), default="report")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=Path, help="PNG: photographs, and below them what came back, row by row")
    options = parser.parse_args()

    images = photographs(options.data)
    train = cuttings(images["train"], SIZE, options.squares, 0)
    held, many = whole(images[options.split], SIZE), cuttings(images[options.split], SIZE, options.squares // 8, 1)
    print(f"{len(images['train'])} photographs to learn from, {len(held)} of the split {options.split}; {SIZE} x {SIZE} pixels, "
          f"{options.steps} steps of {options.batch}")  # fmt: skip
    print(f"{'':26}{'bits':>6}" + "".join(f"{name:>17}" for name in COLUMNS))
    pictures = [held]
    for name, (bits, found) in baselines(train, held, options.first_seed).items():
        line(name, bits, [quality(found, held)])
        pictures += [found] if name in ("DCT", "PCA") else []
    for kind in options.kinds:
        rows, start = [], time.process_time()
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            model = trained(kind, seed, train, options)
            figures, found = measured(model, held, many)
            rows.append(figures)
        line(f"codec, {kind}", round(model.bits_per_image), rows)
        print(f"{'':26}{(time.process_time() - start) / options.seeds:.0f} seconds of processor time a seed; each: "
              + ", ".join(f"{row['PSNR']:.2f}" for row in rows), flush=True)  # fmt: skip
        pictures.append(found)
        if options.picture:
            save_picture(options.picture, pictures)


if __name__ == "__main__":
    main()
