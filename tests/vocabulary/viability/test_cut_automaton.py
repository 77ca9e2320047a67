"""The learned automaton marks texts as the pre-tokenizer cuts them, and in no other way."""

import json
from itertools import product

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.viability import cut_automaton
from hf_tokext.vocabulary.viability.cut_automaton import CutAutomaton
from hf_tokext.vocabulary.viability.cuts import Cutter
from hf_tokext.vocabulary.viability.letters import Letters
from tests.vocabulary.viability.bpe_tokenizers import CUTTERS


def _cutter(part: pre_tokenizers.PreTokenizer) -> Cutter:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = part
    return Cutter({"normalizer": None, "pre_tokenizer": json.loads(core.to_str())["pre_tokenizer"]})


@pytest.mark.parametrize("name", [name for name in CUTTERS if "prefix" not in name])
def test_all_short_texts_have_one_marking(name):
    cutter = _cutter(CUTTERS[name]())
    letters = Letters(cutter)
    automaton = CutAutomaton(cutter, letters.samples)
    assert len(letters.samples) < 20
    assert len(automaton.steps) < 60
    few = {samples[0]: None for samples in (letters.samples[letters.of(each)] for each in "as1 \n'!")}
    for text in map("".join, product(few, repeat=6)):
        assert automaton.marks(text) == [cutter.cuts(text)]


def test_characters_that_rules_name_are_sorts_of_their_own():
    letters = Letters(_cutter(CUTTERS["gpt2"]()))
    assert len({letters.of(each) for each in "aser'1! \n"}) == 9
    assert letters.of("\n") == letters.of("\t")
    assert letters.of("s") == letters.of("t")
    assert letters.of("a") == letters.of("\u00e9") == letters.of("\u4e2d") != letters.of("\u0660") == letters.of("1")
    names_newlines = Letters(_cutter(CUTTERS["llama3"]()))
    assert names_newlines.of("\n") != names_newlines.of("\t")
    assert names_newlines.of("S") == names_newlines.of("s") == names_newlines.of("\u017f") != names_newlines.of("a")


def test_a_sort_met_later_is_added():
    cutter = _cutter(CUTTERS["gpt2"]())
    automaton = CutAutomaton(cutter, ["a", " "])
    before = automaton.steps.copy()
    automaton.add("1")
    assert (automaton.steps[: len(before), :, :2] == before).all()
    for text in map("".join, product("a 1", repeat=4)):
        assert cutter.cuts(text) in automaton.marks(text)


def test_cuts_without_a_pattern_are_refused(monkeypatch):
    monkeypatch.setattr(cut_automaton, "MOST_STATES", 40)
    cutter = _cutter(pre_tokenizers.Split(Regex(r"(a+)b\1"), "isolated"))
    with pytest.raises(UnsupportedModelError, match="40 states are not enough.*all_strings"):
        CutAutomaton(cutter, ["a", "b"])
