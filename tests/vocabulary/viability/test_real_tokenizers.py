"""50 KB of many kinds of text through each real tokenizer's viable sequences; scripts/fuzz_viability.py reads more."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
NAMES = [
    "gpt2-tokenizer", "qwen3-tokenizer", "gemma3-tokenizer", "llama3-tokenizer", "llama2-tokenizer", "deepseek3-tokenizer",
    "title-tokenizer", "minilm-tokenizer",
]  # fmt: skip


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("fuzz_viability")
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.mark.parametrize("name", NAMES)
def test_every_beginning_of_real_encodings_is_accepted(fuzz, name, capsys):
    viability, core = fuzz.loaded(fuzz.sample(name))
    assert fuzz.completeness(viability, core, 50_000, None, seed=11)
    said = capsys.readouterr().out
    assert int(said.split(" ids of ")[1].split(" ")[0].replace(",", "")) >= 50_000, said
    assert fuzz.soundness(viability, core, 2, 30, seed=11)
    assert fuzz.beginnings(viability, core, 2, 2)


@pytest.fixture(scope="module")
def gpt2(fuzz):
    return fuzz.loaded(fuzz.sample("gpt2-tokenizer"))


def test_a_sequence_that_no_text_has_is_found(fuzz, gpt2, monkeypatch, capsys):
    """The check can fail: one id more or less is not an encoding."""
    viability, core = gpt2
    monkeypatch.setattr(viability, "allowed", lambda state, allowed=viability.allowed: allowed(state) | True)
    assert not fuzz.soundness(viability, core, 2, 30, seed=11)
    assert "NO BEGINNING" in capsys.readouterr().out


def test_a_beginning_that_is_refused_is_found(fuzz, gpt2, monkeypatch, capsys):
    """Nor can all encodings be read where the second id of one is left out."""
    viability, core = gpt2
    first, second = core.encode("a1").ids
    after = viability.advance(viability.start(), first)
    numbers = np.arange(len(viability.vocabulary))
    allowed = viability.allowed
    monkeypatch.setattr(viability, "allowed", lambda state: allowed(state) & ((state != after) | (numbers != second)))
    assert not fuzz.beginnings(viability, core, 2, 1)
    assert "REFUSED: b'1' of [b'a', b'1'], which are 'a1'" in capsys.readouterr().out
