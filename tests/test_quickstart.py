"""What the quickstart learns from, measures on and leaves behind; the cards that are kept; the release steps."""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_tokext.hub import write_card
from hf_tokext.transplant import transplant_checkpoint
from tests.tiny_models import tiny_folder
from tests.tokenizers import TEXT, byte_level

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
CARDS = sorted((ROOT / "model_cards" / "filled").glob("*.md"))


@pytest.fixture
def quickstart(monkeypatch, tmp_path):
    """The script with its three verbs replaced by ones that write down what they are given."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("quickstart")
    given = {}
    figures = SimpleNamespace(bits_per_byte=1.0, tokens_per_byte=0.25, to_dict=lambda: {"bits_per_byte": 1.0})

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
    monkeypatch.setattr(module, "write_card", lambda folder, **options: given.update(card=(folder, options)))
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


def test_the_card_is_of_the_healed_model_and_has_all_three_figures(quickstart, tmp_path):
    out = tmp_path / "out"
    healed, options = quickstart["card"]
    assert healed == out / "smollm2-python-healed" and options == {"bits": out / "bits.json", "overwrite": True}
    bits = json.loads((out / "bits.json").read_text())
    models = [tmp_path / "smollm2-135m", out / "smollm2-python", healed]
    assert bits == [{"model": str(model), "bits_per_byte": 1.0} for model in models]


@pytest.mark.parametrize("given", ["", "made here", "/made there"])
def test_the_folder_is_made_absolute_without_tools_that_macos_lacks(given, tmp_path):
    """The lines of the shell script before it changes folder, run where every program but the shell is missing."""
    lines = (SCRIPTS / "quickstart.sh").read_text().splitlines()
    head = lines[: next(index for index, line in enumerate(lines) if line.startswith("cd "))]
    command = ["/bin/bash", "-c", "\n".join([*head, 'echo "$out"']), "quickstart.sh", *([given] if given else [])]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=True)
    expected = given if given.startswith("/") else f"{tmp_path}/{given or 'out/quickstart'}"
    assert done.stdout == f"{expected}\n" and done.stderr == ""


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """The script, with results of a run in tmp_path/out; it keeps cards in tmp_path/filled."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("cards")
    (rebuilt,) = module.CHECKPOINTS.values()
    folder = tmp_path / "out" / rebuilt.folder
    tiny_folder("llama", tmp_path / "base", vocab_size=300)
    byte_level(300).save_pretrained(tmp_path / "base")
    transplant_checkpoint(tmp_path / "base", None, folder, train_on=[TEXT], vocab_size=280, texts=[TEXT])
    bits = [
        {"model": str(path), "bits_per_byte": number} for number, path in ((1.25, tmp_path / "base"), (1.5, folder))
    ]
    (tmp_path / "bits.json").write_text(json.dumps(bits))
    write_card(folder, bits=tmp_path / "bits.json")
    monkeypatch.setattr(module, "FILLED", tmp_path / "filled")
    monkeypatch.setattr(sys, "argv", ["cards.py", "--results", str(tmp_path / "out")])
    return SimpleNamespace(main=module.main, card=folder / "README.md", kept=tmp_path / "filled" / f"{folder.name}.md",
                           problems=module.problems, folder=folder)  # fmt: skip


def test_a_card_of_a_run_is_kept_with_its_figures_and_its_script(cards, tmp_path):
    assert cards.main() == 0
    text = cards.kept.read_text()
    assert "`bash scripts/quickstart.sh`" in text and "licence as its package states it: Apache-2.0" in text
    assert "| `base` | 1.2500 |" in text and "(this one) | 1.5000 |" in text
    assert text.count("<!-- card by") == 0 and str(tmp_path) not in text and cards.problems(text) == []
    assert text.replace(text.splitlines()[text.splitlines().index("# smollm2-python-healed") + 2] + "\n\n", "") in (
        cards.card.read_text()
    )


def test_a_card_without_a_run_behind_it_is_refused(cards, capsys):
    written = cards.card.read_text()
    cards.card.write_text(written.replace("1.5000", "0.5000"))
    assert cards.main() == 1 and "not as the run wrote it" in capsys.readouterr().err
    write_card(cards.folder, overwrite=True)
    assert cards.main() == 1 and "no measurements" in capsys.readouterr().err
    cards.card.unlink()
    assert cards.main() == 1 and "run `bash scripts/quickstart.sh`" in capsys.readouterr().err
    assert not cards.kept.exists()


def test_what_a_kept_card_must_not_be(cards):
    good = "Rebuilt by `bash scripts/quickstart.sh`; see https://example.org/home/x and out/home/x."
    assert cards.problems(good) == []
    assert cards.problems("nothing") == ["it does not say which script rebuilds it"]
    assert cards.problems("`bash scripts/gone.sh`") == ["there is no scripts/gone.sh"]
    for place in ("/home/me/x", "/tmp/x", "C:\\x", "C:/x", "~/x", "`/Users/me`"):
        assert len(cards.problems(f"{good} {place}")) == 1, place


def test_every_checkpoint_has_its_card(cards):
    """As soon as the first run has left one."""
    module = importlib.import_module("cards")
    assert not CARDS or [path.stem for path in CARDS] == sorted(module.CHECKPOINTS)
    assert {path.name: cards.problems(path.read_text(encoding="utf-8")) for path in CARDS} == {
        path.name: [] for path in CARDS
    }
    assert all((ROOT / rebuilt.script).is_file() for rebuilt in module.CHECKPOINTS.values())


@pytest.fixture
def release(tmp_path):
    """Runs a copy of the release script in an environment whose programs write down what they are asked."""
    for name in (
        "pyproject.toml",
        "constraints.txt",
        "scripts/release.sh",
        "scripts/environment.sh",
        "scripts/quickstart.sh",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    made = b"".join((tmp_path / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / ".hf_tokext-environment").write_text(hashlib.sha256(made).hexdigest())
    for name in ("python", "pytest"):
        program = tmp_path / "venv" / "bin" / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/asked"\ncase "$*" in *"$BREAK"*) exit 3 ;; esac\n'
        )
        program.chmod(0o755)

    def run(*steps, broken="nothing"):
        environment = os.environ | {"TOKEXT_VENV": str(tmp_path / "venv"), "PYTHON": sys.executable, "BREAK": broken}
        done = subprocess.run(
            ["bash", "scripts/release.sh", *steps], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").is_file() else []
        return done, [line.split(str(tmp_path))[0].strip() for line in asked]

    return run


def test_a_failed_step_is_named_and_the_others_run(release):
    done, asked = release("quickstart", "tests", broken="quickstart.py")
    assert done.returncode == 1 and asked == [
        "python scripts/quickstart.py",
        "pytest -m long",
    ]  # no card of a failed run
    outcomes = [line.split() for line in done.stdout.splitlines()[-2:]]
    assert [(words[0], *words[3:]) for words in outcomes] == [("quickstart", "failed", "(3)"), ("tests", "ok")]


def test_steps_that_went_well(release):
    done, asked = release("quickstart")
    assert done.returncode == 0 and done.stdout.endswith("ok\npassed\n")
    assert asked == ["python scripts/quickstart.py", "python scripts/cards.py"]


def test_a_step_that_there_is_not(release):
    done, asked = release("tests", "weel")
    assert done.returncode == 2 and asked == [] and "no step weel" in done.stderr and "examples" in done.stderr
