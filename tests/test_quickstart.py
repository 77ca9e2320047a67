"""What the quickstart learns from and what it measures on, without running a model."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def quickstart(monkeypatch, tmp_path):
    """The script with its three verbs replaced by ones that write down what they are given."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("quickstart")
    given = {}
    figures = SimpleNamespace(bits_per_byte=1.0, tokens_per_byte=0.25, to_dict=dict)

    def transplanted(base, donor, out, *, train_on, texts, progress, **options):
        progress("rows", 0, 2)
        progress("rows", 2, 2)
        given.update(train_on=train_on, calibration=texts)
        return SimpleNamespace(to_markdown=str)

    def healed(folder, texts, out, *, eval_texts, **options):
        given.update(healing=texts, curve=eval_texts)
        return out, SimpleNamespace(tokens_seen=1)

    def measured(folder, texts):
        given.setdefault("measured", []).append(texts)
        return figures

    monkeypatch.setattr(module, "sample", lambda name: tmp_path / name)
    monkeypatch.setattr(module, "transplant_checkpoint", transplanted)
    monkeypatch.setattr(module, "heal_checkpoint", healed)
    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr(module, "plot_before_after", lambda *arguments: None)
    monkeypatch.setattr(sys, "argv", ["quickstart.py", str(tmp_path / "out")])
    module.main()
    return given


def test_nothing_is_learnt_from_what_is_measured_on(quickstart):
    held_out = quickstart["measured"][0]
    assert len(held_out) == 4 and quickstart["measured"] == [held_out] * 3
    for use in ("train_on", "calibration", "healing"):
        assert len(quickstart[use]) >= 8, use
        assert not [text for text in quickstart[use] for held in held_out if held[:500] in text], use


def test_the_recovery_curve_is_drawn_on_what_is_measured_on(quickstart):
    assert quickstart["curve"] == quickstart["measured"][0]


@pytest.mark.parametrize("given", ["", "made here", "/made there"])
def test_the_folder_is_made_absolute_without_tools_that_macos_lacks(given, tmp_path):
    """The lines of the shell script before it changes folder, run where every program but the shell is missing."""
    lines = (SCRIPTS / "quickstart.sh").read_text().splitlines()
    head = lines[: next(index for index, line in enumerate(lines) if line.startswith("cd "))]
    command = ["/bin/bash", "-c", "\n".join([*head, 'echo "$out"']), "quickstart.sh", *([given] if given else [])]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=True)
    expected = given if given.startswith("/") else f"{tmp_path}/{given or 'out/quickstart'}"
    assert done.stdout == f"{expected}\n" and done.stderr == ""
