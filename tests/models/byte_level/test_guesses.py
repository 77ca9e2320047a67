"""Each kind of guess saves passes, and changes nothing."""

import pytest

from hf_tokext.models.byte_level import guesses
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.guesses import Guesses
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import tiny_llama

TEXT = b"abcabaabcbacabcaabbcaabcacbabc"


def passes(measure: str, text: bytes, stepped: bool, sharp: float = 1.0) -> tuple[int, float]:
    """Passes of the model that a text takes, and its log probability."""
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer))
    model.lm_head.weight.data.mul_(sharp)
    view = ByteView(model, tokenizer, measure, tolerance=0)
    texts, total = view.texts(1), 0.0
    for part in [text[at : at + 1] for at in range(len(text))] if stepped else [text]:
        (reading,) = view.read(texts, [part])
        total += float(reading.log_probabilities.sum())
    return view.runner.forwards, total


def test_the_tokenizers_own_spelling_saves_passes(monkeypatch):
    guessed, exact = passes("canonical", TEXT, stepped=False)
    for kind in ("whole", "behind"):
        monkeypatch.setattr(Guesses, kind, lambda self, *given: [])
    plain, same = passes("canonical", TEXT, stepped=False)
    assert guessed <= 3 < 10 < plain
    assert exact == pytest.approx(same, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "measure", "stepped"), [("behind", "all_strings", False), ("likely", "canonical", True)]
)
def test_guesses_save_passes(kind, measure, stepped, monkeypatch):
    sharp = 4.0 if kind == "likely" else 1.0  # a model that is sure of what comes next
    text = TEXT if measure == "canonical" else TEXT[:14]  # all its strings are kept
    guessed, exact = passes(measure, text, stepped, sharp)
    monkeypatch.setattr(Guesses, kind, lambda self, *given: [])
    plain, same = passes(measure, text, stepped, sharp)
    assert guessed < plain
    assert exact == pytest.approx(same, abs=1e-6)


def test_fuller_passes_are_fewer_and_change_nothing(monkeypatch):
    """As on a GPU, where a pass of many tokens takes the time of one."""
    monkeypatch.setattr(guesses, "FILLED", {"cpu": 1})
    some, exact = passes("canonical", TEXT, stepped=True)
    monkeypatch.setattr(guesses, "FILLED", {})
    fewer, same = passes("canonical", TEXT, stepped=True)
    assert fewer < some
    assert exact == pytest.approx(same, abs=1e-6)
