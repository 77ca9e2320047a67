from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_tokext.errors import TextError, VocabularyError
from tests.vocabulary.brackets import Brackets

DOMAIN = Brackets()
GRAMMAR = DOMAIN.grammar


def is_document(indices):
    """By the definition: opened, closed, and what is between cancels out."""
    text = "".join(DOMAIN.characters[index - 2] for index in indices[1:-1] if index > 1)
    if list(indices[:1]) != [0] or list(indices[-1:]) != [1] or min(indices[1:-1], default=2) < 2:
        return False
    text = text.replace("a", "").replace("b", "")
    while "()" in text or "[]" in text:
        text = text.replace("()", "").replace("[]", "")
    return not text


def test_what_is_read_to_the_end_are_the_documents():
    for indices in product(range(GRAMMAR.size - 1), repeat=5):
        try:
            accepted = GRAMMAR.complete(GRAMMAR.read(indices))
        except VocabularyError:
            accepted = False
        assert accepted == is_document(indices)


@given(st.lists(st.integers(2, GRAMMAR.size - 1), max_size=8), st.integers(1, 12))
def test_with_room_only_what_can_still_be_closed(indices, room):
    state = GRAMMAR.advance(GRAMMAR.start(), 0)
    for index in indices:
        if GRAMMAR.allowed(state)[index]:
            state = GRAMMAR.advance(state, index)
    found = GRAMMAR.within(state, room)
    for index in range(GRAMMAR.size):
        fits = GRAMMAR.allowed(state)[index] and 1 + GRAMMAR.distance(GRAMMAR.advance(state, index)) <= room
        if room >= GRAMMAR.distance(state):
            assert found[index] == fits
    assert found.any()  # where there is too little room, the nearest way out
    if room < GRAMMAR.distance(state):
        assert (GRAMMAR.distance(GRAMMAR.advance(state, int(np.flatnonzero(found)[0]))) + 1) == GRAMMAR.distance(state)


def test_what_may_not_stand_is_refused_with_its_place():
    with pytest.raises(VocabularyError, match="at place 2: token 3 may not stand here"):
        GRAMMAR.read([0, 4, 3])
    with pytest.raises(VocabularyError, match="token 99"):
        GRAMMAR.advance(GRAMMAR.start(), 99)


@given(st.lists(st.integers(0, GRAMMAR.size - 1), max_size=30))
def test_whatever_is_written_is_a_document(indices):
    assert is_document(DOMAIN.parse(DOMAIN.write(indices)))


def test_documents_are_spelt_by_the_texts_of_their_tokens():
    assert DOMAIN.spell("(a)") == (
        "<|brackets:open|><|brackets:round|><|brackets:a|><|brackets:/round|><|brackets:close|>"
    )
    with pytest.raises(TextError, match="neither a bracket nor a letter"):
        DOMAIN.spell("(?)")


@pytest.mark.parametrize("letters", ["aa", " ", "|", "<"])
def test_names_are_distinct_and_have_no_blanks(letters):
    with pytest.raises(VocabularyError, match="must be distinct"):
        Brackets(letters)
