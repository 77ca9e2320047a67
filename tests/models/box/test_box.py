"""Boxes and points become tokens of pixels and come back; what is neither is refused."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_tokext import TextError, VocabularyError
from hf_tokext.extend import domains_of, extend_model, keep_to_grammar, make_domain
from hf_tokext.models.box.domain import BoxDomain, BoxGrammar
from tests.tiny_models import tiny
from tests.tokenizers import byte_level

DOMAIN = BoxDomain()


@given(st.lists(st.integers(0, 335), min_size=4, max_size=4), st.booleans())
def test_a_text_comes_back(numbers, point):
    left, right = sorted(numbers[::2])
    top, bottom = sorted(numbers[1::2])
    text = f"({left},{top})" if point else f"({left},{top},{right},{bottom})"
    indices = DOMAIN.parse(text)
    assert DOMAIN.grammar.complete(DOMAIN.grammar.read(indices))
    assert DOMAIN.write(indices) == text and len(indices) == (4 if point else 6)
    assert DOMAIN.parse(f" ( {left} ,{top} ) ")[1:3] == indices[1:3]


@given(st.lists(st.integers(0, 6), max_size=9))
def test_whatever_was_written_is_a_box_or_a_point(indices):
    domain = BoxDomain(5)
    domain.parse(domain.write(indices))


def test_the_grammar_lets_just_boxes_and_points_stand():
    grammar = BoxGrammar(3)
    wanted = {(0, 2 + x, 2 + y, 1) for x, y in product(range(3), repeat=2)}
    wanted |= {
        (0, *(2 + each for each in box), 1)
        for box in product(range(3), repeat=4)
        if box[2] >= box[0] and box[3] >= box[1]
    }
    found, waiting = set(), [((), grammar.start())]
    while waiting:
        read, state = waiting.pop()
        assert grammar.distance(state) == min(len(each) - len(read) for each in wanted if each[: len(read)] == read)
        if grammar.complete(state):
            found.add(read)
        for index in np.flatnonzero(grammar.allowed(state)).tolist():
            waiting.append(((*read, index), grammar.advance(state, index)))
    assert found == wanted


@given(st.integers(2, 5000), st.integers(2, 5000), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_boxes_of_pictures_come_back_to_half_a_pixel_of_the_frame(width, height, shares):
    box = (*(min(shares[i], shares[i + 2]) for i in (0, 1)), *(max(shares[i], shares[i + 2]) for i in (0, 1)))
    box = tuple(share * side for share, side in zip(box, (width, height) * 2, strict=True))
    found = DOMAIN.from_frame(DOMAIN.to_frame(box, width, height), width, height)
    for number, back, side in zip(box, found, (width, height) * 2, strict=True):
        assert abs(number - back) <= side / 336 / 2 + 1e-6 * side


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12,30", "is no box"), ("(12)", "is no box"), ("(1,2,3)", "two or four numbers"), ("(0,336)", "336 is outside"),
        ("(5,5,4,9)", "the second corner"), ("(5,5,9,4)", "the second corner"), ("(-1,2)", "is no box"), ("", "is no box"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_refused(text, message):
    with pytest.raises(TextError, match=message):
        DOMAIN.parse(text)


def test_other_wrong_input_is_refused():
    with pytest.raises(VocabularyError, match="at least two pixels"):
        make_domain("box", {"size": 1})
    with pytest.raises(TextError, match="leaves a picture of 10 x 20"):
        DOMAIN.to_frame((0, 21), 10, 20)
    with pytest.raises(TextError, match="not 3"):
        DOMAIN.to_frame((0, 1, 2), 10, 20)
    assert DOMAIN.to_frame((10, 20), 10, 20) == "(335,335)"  # the far edges


def test_a_model_that_has_learnt_it_writes_boxes():
    model, tokenizer, _ = extend_model(tiny("llama", vocab_size=290), byte_level(), [BoxDomain(20)], calibrate=False)
    domain = domains_of(tokenizer)["box"]
    assert domain.settings == {"size": 20}
    prompt = tokenizer("the cat is at ", return_tensors="pt")
    torch.manual_seed(0)
    rows = model.generate(
        **prompt, max_new_tokens=8, do_sample=True, num_return_sequences=50,
        logits_processor=[keep_to_grammar(tokenizer, prompt["input_ids"].shape[1] + 8, only="box")],
    )  # fmt: skip
    for text in tokenizer.batch_decode(rows):
        (box,) = domain.documents(text)
        assert domain.spell(box) in text
