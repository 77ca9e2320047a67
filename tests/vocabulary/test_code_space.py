"""Codes of a modality as ids: the order in which they stand, and which may follow which."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.code_grammar import CODES, END, START, CodeGrammar
from hf_tokext.vocabulary.code_layout import LAYOUTS, CodeLayout
from hf_tokext.vocabulary.code_space import CodeSpace
from hf_tokext.vocabulary.space import Space
from hf_tokext.vocabulary.spaces import Spaces


def space(codebooks=(4, 3), base=20, layout="interleave", steps=None, first=10, name="image"):
    return CodeSpace(name, base, sum(codebooks), {}, codebooks, layout, steps, first, first + 1, first + 2)


@pytest.mark.parametrize(
    ("layout", "wanted"),
    [
        ("flat", [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]),
        ("interleave", [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]),
        ("delay", [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (1, 2)]),
    ],
)
def test_the_order_by_hand(layout, wanted):
    book, place = CodeLayout(layout, 2).order(3)
    assert list(zip(book.tolist(), place.tolist(), strict=True)) == wanted


@given(st.sampled_from(LAYOUTS), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 12), st.data())
def test_codes_become_ids_and_come_back(layout, codebooks, steps, data):
    here = space(tuple(codebooks), layout=layout)
    codes = torch.tensor([[data.draw(st.integers(0, size - 1)) for _ in range(steps)] for size in codebooks])
    ids = here.to_ids(codes)
    assert torch.equal(here.to_codes(ids), codes)
    assert all(index in here for index in ids.tolist())
    books, single = here.parts(ids)
    offsets = [20 + sum(codebooks[:book]) for book in books.tolist()]
    assert [start + code for start, code in zip(offsets, single.tolist(), strict=True)] == ids.tolist()
    order, place = here.order.order(steps)
    assert torch.equal(order, books) and torch.equal(codes[order, place], single)


@given(st.sampled_from(LAYOUTS), st.integers(1, 5), st.integers(1, 7))
def test_a_row_without_end_begins_like_every_longer_one(layout, books, steps):
    order = CodeLayout(layout, books)
    book, _ = order.order(steps)
    open_row = [order.book(count, None) for count in range(len(book))]
    same = next(
        (at for at, (one, other) in enumerate(zip(open_row, book.tolist(), strict=True)) if one != other), len(book)
    )
    assert order.begun(same) == steps  # they part where the row begins one place more
    assert [order.begun(count) for count in range(same + 1)] == [open_row[:count].count(0) for count in range(same + 1)]
    assert [order.book(count, steps) for count in range(len(book) + 1)] == [*book.tolist(), books]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("codebooks", "steps"), [((2,), None), ((2, 1), None), ((1, 2, 1), None), ((2, 1), 2), ((2,), 3)]
)
def test_the_grammar_lets_just_the_documents_stand(layout, codebooks, steps):
    """Against all documents of up to a length, written by the order of the layout."""
    here = space(codebooks, layout=layout, steps=steps)
    ids = here.grammar_ids.tolist()
    longest, wanted = 9, set()
    for length in range(1, 4) if steps is None else [steps]:
        if len(codebooks) * length + 2 <= longest:
            for each in product(*(product(range(size), repeat=length) for size in codebooks)):
                wanted.add((START, *map(ids.index, here.to_ids(torch.tensor(each)).tolist()), END))
    most = max(map(len, wanted))
    grammar, found, waiting = here.grammar, set(), [((), here.grammar.start())]
    while waiting:
        read, state = waiting.pop()
        if grammar.complete(state):
            found.add(read)
            continue
        assert grammar.distance(state) == min(len(each) - len(read) for each in wanted if each[: len(read)] == read)
        needs = grammar._count_needs(state)
        for index in np.flatnonzero(grammar.allowed(state)).tolist():
            after = grammar.advance(state, index)
            assert needs[index] == 1 + grammar.distance(after)
            if len(read) + 1 + grammar.distance(after) <= most:
                waiting.append(((*read, index), after))
    assert found == wanted


def test_a_continuous_document_has_placeholders_and_no_model_opens_it():
    here = CodeSpace("image", 12, 1, {}, (), "interleave", 2, 10, 11, 12)
    grammar = here.grammar
    assert here.grammar_ids.tolist() == [10, 11, 12]
    assert grammar.complete(grammar.read([0, 2, 2, 1]))
    assert not grammar.written_by_ids
    with pytest.raises(VocabularyError, match="0 codebooks"):
        here.to_codes([12, 12])


def test_what_is_no_row_of_codes_is_refused():
    here = space(steps=2)
    with pytest.raises(VocabularyError, match=r"codebook 1 of 'image' has the codes 0 to 2, and 3 stands at place 1"):
        here.to_ids(torch.tensor([[0, 1], [2, 3]]))
    with pytest.raises(VocabularyError, match="has 2 places, not 3"):
        here.to_ids(torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(VocabularyError, match=r"integers \[2, places\]"):
        here.to_ids(torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(VocabularyError, match=r"integers \[2, places\], not torch.float32"):
        here.to_ids(torch.zeros(2, 2))
    with pytest.raises(VocabularyError, match="order 'interleave'"):
        here.to_codes([20, 21, 24, 25])
    with pytest.raises(VocabularyError, match="3 ids are no codes"):
        here.to_codes([20, 24, 21])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layout": "sideways"}, "one of flat, interleave, delay"),
        ({"steps": 0}, "at least one place"),
        ({"first": 19}, "lie among its codes"),
        ({"base": -1}, "must have ids"),
    ],
)
def test_impossible_spaces_are_refused(changed, message):
    with pytest.raises(VocabularyError, match=message):
        space(**changed)


def test_spaces_with_common_ids_are_refused():
    Spaces([space(), space(base=30, first=13, name="speech"), Space("svg", 40, 9)])
    with pytest.raises(VocabularyError, match="share ids from 26"):
        Spaces([space(), space(base=26, first=13, name="speech")])
    with pytest.raises(VocabularyError, match="markers of 'image'"):
        Spaces([space(), space(base=30, first=12, name="speech")])
    with pytest.raises(VocabularyError, match="markers of 'speech'"):
        Spaces([space(), space(base=30, first=24, name="speech")])


def test_a_tokenizer_keeps_them(tmp_path):
    class Keeper:
        init_kwargs: dict = {}  # noqa: RUF012

    spaces = Spaces([space(), Space("svg", 40, 9, {"mode": "plain"})])
    assert spaces["image"].grammar and spaces["image"].order  # what is worked out is not kept
    spaces.write(Keeper)
    found = Spaces.read(Keeper)
    assert dict(found) == dict(spaces)
    assert list(found.codes) == ["image"]


def test_masks_are_shared():
    grammar = CodeGrammar((1000, 1000), CodeLayout("interleave", 2), None)
    state = grammar.read([START])
    for _ in range(50):
        state = grammar.advance(state, CODES)
        state = grammar.advance(state, CODES + 1000)
    assert grammar._masks.cache_info().currsize <= 5
    assert not grammar.allowed(state).flags.writeable
