"""Photographs of a folder, split by file, and pieces cut from them; what the scripts on images share."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
SPLITS = ("train", "dev", "report")  # eight files in ten, one, and one: to learn, to choose by, to report


def photographs(folder: Path) -> dict[str, list[Image.Image]]:
    """All images under a folder in RGB, by split, in the order of their names; of equal files only the first."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    different = {sha256(path.read_bytes()).digest(): path for path in reversed(paths)}
    paths = sorted(different.values())
    if len(paths) < 10:
        raise SystemExit(f"{folder} has {len(paths)} images; at least 10 are needed ({', '.join(sorted(SUFFIXES))})")
    found: dict[str, list[Image.Image]] = {name: [] for name in SPLITS}
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            found[{0: "report", 5: "dev"}.get(number % 10, "train")].append(
                ImageOps.exif_transpose(image).convert("RGB")
            )
    return found


def whole(images: list[Image.Image], size: int) -> torch.Tensor:
    """The largest square in the middle of each, made smaller: [n, 3, size, size] in 0 to 1."""
    return _stacked([ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC) for image in images])


def cuttings(images: list[Image.Image], size: int, count: int, seed: int, smallest: float = 0.5) -> torch.Tensor:
    """Squares cut at random, from `smallest` of the shorter side up to all of it, half of them mirrored; as `whole`."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(count):
        image = images[number % len(images)]
        side = min(image.size) * chance.uniform(smallest, 1)
        left, top = ((length - side) * chance.random() for length in image.size)
        part = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        found.append(ImageOps.mirror(part) if chance.random() < 0.5 else part)
    return _stacked(found)


def patches(images: list[Image.Image], side: int, count: int | None, seed: int = 0) -> torch.Tensor:
    """Squares of pixels as they are, [n, 3 * side * side] in 0 to 1: `count` of an image at random, or None for all."""
    chance, found = np.random.default_rng(seed), []
    for image in images:
        values = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
        height, width = values.shape[1:]
        if count is None:
            corners = [(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
        else:
            corners = [(chance.integers(height - side + 1), chance.integers(width - side + 1)) for _ in range(count)]
        found += [values[:, y : y + side, x : x + side].reshape(-1) for y, x in corners]
    return torch.from_numpy(np.stack(found))


def _stacked(images: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(image, np.float32) for image in images])).permute(0, 3, 1, 2) / 255
