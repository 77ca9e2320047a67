"""The scripts on photographs, at toy size: the split leaks nothing, baselines are what they are called, all runs through."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def folder(tmp_path):
    """Twenty different pictures, and copies of two of them under other names."""
    drawn = np.random.default_rng(0)
    for number in range(20):
        small = Image.fromarray(drawn.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize((60, 48), Image.Resampling.BICUBIC).save(tmp_path / f"{number:02}.png")
    for number in (0, 7):
        (tmp_path / f"copy of {number}.png").write_bytes((tmp_path / f"{number:02}.png").read_bytes())
    return tmp_path


def test_no_photograph_is_in_two_splits(folder):
    found = importlib.import_module("photographs").photographs(folder)
    assert {name: len(images) for name, images in found.items()} == {"train": 16, "dev": 2, "report": 2}
    assert len({image.tobytes() for images in found.values() for image in images}) == 20


def test_pieces_are_of_the_photographs(folder):
    module = importlib.import_module("photographs")
    images = module.photographs(folder)["train"]
    squares = module.cuttings(images, 16, 40, seed=1)
    assert squares.shape == (40, 3, 16, 16) and torch.equal(squares, module.cuttings(images, 16, 40, seed=1))
    assert len(squares.flatten(1).unique(dim=0)) == 40  # of 16 photographs, each piece another one
    patches = module.patches(images, 8, None)
    assert patches.shape == (16 * 6 * 7, 192)
    first = np.asarray(images[0], np.float32)[:8, 8:16].transpose(2, 0, 1).reshape(-1) / 255
    assert torch.equal(patches[1], torch.from_numpy(first))


def test_scalar_quantisers_are_the_best_there_are():
    lloyd = importlib.import_module("transform_coding").lloyd
    even = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    table, error = lloyd(even, 4)
    assert table.tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75], abs=1e-3)
    assert error == pytest.approx(0.5**2 / 12, rel=1e-3)  # of a uniform distribution
    normal = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double().sort().values
    assert lloyd(normal, 2)[1] == pytest.approx(0.3634, abs=0.003)  # Max, Quantizing for Minimum Distortion (1960)
    assert lloyd(normal, 8)[1] == pytest.approx(0.03454, abs=0.001)


def test_transforms_are_orthonormal_and_bits_help():
    module = importlib.import_module("transform_coding")
    basis = module.dct(8)
    torch.testing.assert_close(basis @ basis.t(), torch.eye(192), atol=1e-5, rtol=0)
    assert (basis[0] - basis[0, 0]).abs().max() < 1e-6  # the mean of all
    drawn = torch.Generator().manual_seed(0)
    values = torch.randn(4000, 6, generator=drawn) @ torch.randn(6, 24, generator=drawn) + 3
    errors = [
        float((module.transform(values, module.pca(values), bits)(values) - values).square().mean())
        for bits in (1, 6, 24, 48)
    ]
    mean = float((module.mean_of(values)(values) - values).square().mean())
    assert mean > errors[0] > errors[1] > errors[2] > errors[3] and errors[3] < 1e-3 * mean
    images = torch.rand(3, 3, 16, 8, generator=drawn)
    blocks = module.in_blocks(images, 8)
    assert torch.equal(blocks[1].view(3, 8, 8), images[0, :, 8:])
    assert torch.equal(module.from_blocks(blocks, images.shape, 8), images)


def test_the_script_on_the_codec(folder, monkeypatch, capsys, tmp_path):
    module = importlib.import_module("repro_image_codec")
    monkeypatch.setattr(
        "sys.argv",
        ["repro_image_codec.py", "--data", str(folder), "--seeds", "2", "--steps", "2", "--squares", "64", "--kinds", "fsq",
         "rvq", "--picture", str(tmp_path / "picture.png")],
    )  # fmt: skip
    module.main()
    said = capsys.readouterr().out
    assert "16 photographs to learn from, 2 of the split report" in said
    for name in ("DCT", "PCA", "k-means of blocks", "codec, fsq", "codec, rvq"):
        assert re.search(rf"^{name} +144 +\d+\.\d\d", said, re.MULTILINE), name
    assert Image.open(tmp_path / "picture.png").size == (2 * 32 * 2, 5 * 32 * 2)


@pytest.mark.long
def test_the_script_on_quantizers(folder, monkeypatch, capsys):
    module = importlib.import_module("repro_quantizers")
    monkeypatch.setattr(module, "PLAIN", {"rvq 2 of 64": module.PLAIN["rvq 2 of 64"]})
    monkeypatch.setattr("sys.argv", ["repro_quantizers.py", "--data", str(folder), "--seeds", "1", "--steps", "2"])
    module.main()
    said = capsys.readouterr().out
    for name in ("DCT", "PCA", "k-means", *module.KINDS, "rvq 2 of 64"):
        assert re.search(rf"^{re.escape(name)} +\d", said, re.MULTILINE), name
