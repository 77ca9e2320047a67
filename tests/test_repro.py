"""The two scripts that repeat papers, at toy size: they run through, compare like with like and compute nothing twice."""

import importlib
import json
import re
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a script as `python NAME.py ARGUMENTS` in an empty folder; gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def start(name, *arguments):
        module = importlib.import_module(name)
        monkeypatch.setattr("sys.argv", [f"{name}.py", *arguments])
        module.main()
        return capsys.readouterr().out

    return start


def kept(tmp_path, name):
    return json.loads((tmp_path / f"{name}.json").read_text())


def test_digits(run, monkeypatch, tmp_path):
    toy = ("--seeds", "2", "--steps", "2", "--held-out", "4")
    said = run("repro_digits", *toy)
    figures = kept(tmp_path, "repro_digits")
    schemes = ("single", "left3", "right3")
    assert set(figures) == {f"{s} | seed {n} | 2 steps | 4 held out" for s in schemes for n in range(2)}
    cost = {scheme: figures[f"{scheme} | seed 0 | 2 steps | 4 held out"]["tokens a problem"] for scheme in schemes}
    assert cost["left3"] == cost["right3"] < cost["single"] - 3  # the same problems, cut into fewer tokens
    table = {line.split("  ")[0]: line for line in said.splitlines()}
    assert re.search(r" 1 +0\.0", table["most common answer"]) and "+-" in table["left3"] and "+-" in table["right3"]
    assert "4 held-out problems" in said

    monkeypatch.setattr(importlib.import_module("repro_digits"), "result", None)  # would fail if it were called
    assert run("repro_digits", *toy).splitlines()[6:] == said.splitlines()[6:]


def test_digits_are_asked_what_was_not_trained_on(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("repro_digits")
    held = module.held_out(500)
    stream = module.training(0, held)
    learnt = {next(stream) for _ in range(5000)}
    assert len(held) == 500 and not [pair for pair in held if pair in learnt or pair[::-1] in learnt]
    alike = module.training(0, [])
    assert {next(alike) for _ in range(5000)} & set(held)  # small sums come again and again


def test_the_full_run_of_digits_keeps_its_names(run, monkeypatch, tmp_path):
    module = importlib.import_module("repro_digits")
    asked = []

    def result(scheme, seed, steps, device, held):
        asked.append(len(held))
        return dict.fromkeys([*module.GROUPS, "tokens a problem", "seconds"], 0.5)

    monkeypatch.setattr(module, "result", result)
    run("repro_digits")
    assert asked == [2_000] * 15
    assert list(kept(tmp_path, "repro_digits"))[:4] == [
        "single | seed 0 | 3000 steps", "left3 | seed 0 | 3000 steps", "right3 | seed 0 | 3000 steps",
        "single | seed 1 | 3000 steps",
    ]  # fmt: skip


def test_glyph(run, monkeypatch, tmp_path):
    (tmp_path / "font.hex").write_text("0041:" + "18" * 16 + "\n0042:" + "3C" * 16 + "\n4E00:" + "00FF" * 16 + "\n")
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(10):
        (texts / f"{number}.txt").write_text("A cat sat on B. " * 20)
    toy = ["--font", "font.hex", "--data", "texts", "--seeds", "2", "--steps", "2", "--batch", "2", "--length", "16"]
    toy += ["--hidden", "8", "--layers", "1", "--held-out", "4"]
    said = run("repro_glyph", *toy)
    figures = kept(tmp_path, "repro_glyph")
    variants = ("glyph", "random", "trainable")
    assert [" | ".join(key.split(" | ")[:2]) for key in figures] == [
        f"{v} | seed {n}" for n in range(2) for v in variants
    ]
    assert len(set(figures.values())) == 6 and all(
        10 < bits < 25 for bits in figures.values()
    )  # near 16 for 65,540 ids
    weights = {
        name: tuple(found) for name, *found in re.findall(r"(\w+) .*?([\d,]+) weights trained, ([\d,]+) frozen", said)
    }
    assert set(weights) == set(variants) and weights["trainable"][1] == "0"
    assert weights["glyph"] == weights["random"] and weights["glyph"][1] != "0"
    assert "font.hex: 65533 code points without a picture" in said and "\nunigram " in said

    monkeypatch.setattr(importlib.import_module("repro_glyph"), "trained", None)  # would fail if it were called
    assert run("repro_glyph", *toy) == said
