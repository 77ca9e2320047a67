"""The depth codec trained on rendered scenes, and a real stereo pair through it, against simpler ways at equal bits.

    python scripts/repro_depth_codec.py --seeds 3 --device cpu
    python scripts/repro_depth_codec.py --seeds 1 --steps 100 --scenes 500    # a look

Everything is disparity (one over depth) of 64 x 64 pixels, each map in 0 to 1 of its own, as estimators of relative depth
give it. All ways learn from the same rendered scenes: floors, walls, boxes and balls. They are measured on other rendered
scenes, and on half overlapping squares of 120, 240 and 480 pixels of the Middlebury pair "motorcycle" (from the package
scikit-image), where its disparity was measured; holes are filled with their nearest neighbour for all ways alike. A map has
384 bits: 64 codes of 6 bits. `mean` is the mean map, `means of squares` the mean of each 8 x 8 pixels in 64 even steps,
drawn smoothly; DCT and PCA give their bits where the error falls most. `order` is how often two random points come back in
the right order, where they differ by more than a twentieth.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from rendered_depth import filled, scenes, squares, stereo_disparity
from samples import from_pip
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from transform_coding import dct, mean_of, pca, transform

from hf_tokext import DepthCodecConfig, DepthCodecImageProcessor, DepthCodecModel

SIZE, BITS, TABLE = 64, 384, 64
KINDS = {"vq": {"size": TABLE}, "fsq": {"levels": (8, 8)}}


def trained(kind: str, seed: int, train: torch.Tensor, options: argparse.Namespace) -> DepthCodecModel:
    """Train one codec."""
    torch.manual_seed(seed)
    made = KINDS[kind] if kind == "fsq" else {**KINDS[kind], "seed": seed}
    config = DepthCodecConfig(
        image_size=SIZE, hidden_sizes=(16, 32, 64), latent_dim=32, quantizer=kind, quantizer_options=made
    )
    model = DepthCodecModel(config).to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 50, 1) * (0.5 + 0.5 * math.cos(math.pi * step / options.steps))
    )
    chance = torch.Generator().manual_seed(seed)
    for _ in range(options.steps):
        maps = train[torch.randint(len(train), (options.batch,), generator=chance)]
        model(maps.to(options.device)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval()


def through(model: DepthCodecModel, maps: torch.Tensor) -> torch.Tensor:
    """Maps as codes give them back."""
    with torch.no_grad():
        parts = [model.decode(model.encode(part.to(model.device)).codes).cpu() for part in maps.split(64)]
    return torch.cat(parts)


def means_of_squares(maps: torch.Tensor) -> torch.Tensor:
    """The mean of each 8 x 8 pixels in 64 steps, drawn smoothly."""
    steps = (adaptive_avg_pool2d(maps, SIZE // 8) * (TABLE - 1)).round() / (TABLE - 1)
    return interpolate(steps, (SIZE, SIZE), mode="bilinear")


def quality(found: torch.Tensor, maps: torch.Tensor, known: torch.Tensor) -> tuple[float, float]:
    """Root of the mean squared error, and the share of pairs in the right order."""
    found, known = found.clamp(0, 1), known[:, None]
    error = float((found - maps)[known].square().mean().sqrt())
    chance = torch.Generator().manual_seed(0)
    place = torch.randint(SIZE * SIZE, (2, len(maps), 2000), generator=chance)
    true, given, sure = (each.flatten(1).float() for each in (maps, found, known))
    apart, guess = (each.gather(1, place[0]) - each.gather(1, place[1]) for each in (true, given))
    asked = (sure.gather(1, place[0]) * sure.gather(1, place[1]) > 0) & (apart.abs() > 0.05)
    return error, float((apart.sign() == guess.sign())[asked].float().mean())


def spread(values: list[float]) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) < 2 else f"{mean} +- {statistics.stdev(values):.4f}"


def save_picture(path: Path, rows: list[torch.Tensor], columns: int = 12, scale: int = 2) -> None:
    """Rows of maps, one below the other; near is bright."""
    grid = torch.cat([torch.cat(list(row[:columns, 0].clamp(0, 1)), 1) for row in rows], 0)
    image = Image.fromarray((grid * 255).round().byte().numpy())
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)


def main() -> None:
    """Print the table, and save the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument(
        "--data", type=Path, help="folder that scikit-image's wheel is unpacked in; else it is downloaded"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()

    processor = DepthCodecImageProcessor(size=SIZE)
    train, other = (
        processor(list(scenes(count, SIZE, seed)))["pixel_values"] for count, seed in ((options.scenes, 0), (300, 1))
    )
    with tempfile.TemporaryDirectory() as downloads:
        disparity = stereo_disparity(options.data or from_pip("scikit-image==0.26.0", Path(downloads)))
    whole = [filled(square) for square in squares(disparity, (120, 240, 480))]
    real = processor([each for each, _ in whole])["pixel_values"]
    known = torch.stack([processor(each.astype("float32"))["pixel_mask"][0] for _, each in whole])
    tests = {"rendered": (other, torch.ones(len(other), SIZE, SIZE, dtype=torch.bool)), "stereo pair": (real, known)}
    print(f"{len(train)} rendered scenes to learn from; {len(other)} others, {len(real)} squares of a stereo pair")
    print(f"{'':20}{'bits':>6}" + "".join(f"{name + ', ' + what:>22}" for name in tests for what in ("RMSE", "order")))

    def line(name: str, bits: int, figures: list[list[tuple[float, float]]]) -> None:
        cells = (spread([row[test][what] for row in figures]) for test in range(len(tests)) for what in (0, 1))
        print(f"{name:20}{bits:>6}" + "".join(f"{cell:>22}" for cell in cells), flush=True)

    flat = train.flatten(1)
    ways = {
        "mean": (0, mean_of(flat)),
        "DCT": (BITS, transform(flat, dct(SIZE, 1)[: SIZE * SIZE], BITS)),
        "PCA": (BITS, transform(flat, pca(flat), BITS)),
    }
    pictures = [real]
    for name, (bits, way) in ways.items():
        found = {test: way(maps.flatten(1)).view_as(maps) for test, (maps, _) in tests.items()}
        line(name, bits, [[quality(found[test], *tests[test]) for test in tests]])
        pictures += [found["stereo pair"]] if name == "PCA" else []
    smooth = {test: means_of_squares(maps) for test, (maps, _) in tests.items()}
    line("means of squares", BITS, [[quality(smooth[test], *tests[test]) for test in tests]])
    pictures.append(smooth["stereo pair"])
    for kind in KINDS:
        rows, start = [], time.process_time()
        for seed in range(options.seeds):
            model = trained(kind, seed, train, options)
            found = {test: through(model, maps) for test, (maps, _) in tests.items()}
            rows.append([quality(found[test], *tests[test]) for test in tests])
        line(f"codec, {kind}", BITS, rows)
        used = [int(model.encode(other.to(model.device)).codes.unique().numel()), TABLE]
        print(f"{'':26}{(time.process_time() - start) / options.seeds:.0f} seconds a seed; the last used "
              f"{used[0]} of {used[1]} codes", flush=True)  # fmt: skip
        pictures.append(found["stereo pair"])
    if options.picture:
        save_picture(options.picture, pictures)
        print(f"{options.picture}: the stereo pair's squares, PCA, means of squares, then the codecs")


if __name__ == "__main__":
    main()
