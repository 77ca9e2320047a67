"""Going on from prompts, and filling in the middle: what is chosen is what enumeration says."""

from collections import Counter

import numpy as np
import pytest
import torch

from hf_tokext import byteify, complete
from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.models.byte_level.completion import settle_prompt
from hf_tokext.models.byte_level.infilling import infilling_events
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import Enumeration, tiny_llama

FIM = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
PROMPTS = ["ab", "a", "bcab", "aab"]


def made(seed=0, markers=(), **options):
    tokenizer = small.plain()
    tokenizer.add_special_tokens({"additional_special_tokens": list(markers)}, replace_extra_special_tokens=False)
    return byteify(tiny_llama(len(tokenizer), seed), tokenizer, **{"tolerance": 0, **options})[0]


def ways(model, prompt):
    """Probabilities of the token sequences that a prompt may be the beginning of, the last token going past it."""
    exact = Enumeration(model.base, model.base_tokenizer, (0,), spaced=False)
    found = {}
    for ids, spelt, chance in exact.strings(prompt):
        row = exact.row(ids)
        for index, piece in exact.pieces.items():
            if len(spelt + piece) > len(prompt) and (spelt + piece).startswith(prompt) and spelt != prompt:
                found[0, *ids, index] = chance * row[index]
        if spelt == prompt:
            found |= {(0, *ids, index): chance * row[index] for index in range(len(row))}
    return found


def settled(model, prompt, temperature):
    (covers,) = model.view.texts(1)
    model.view.read([covers], [list(prompt)])
    return lambda: settle_prompt(model.view, covers, temperature)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("seed", [0, 2])
def test_the_likeliest_way_is_settled_on(prompt, seed):
    model = made(seed)
    expected = ways(model, prompt.encode())
    ids, past = settled(model, prompt.encode(), 0)()
    assert tuple(ids) == max(expected, key=expected.get)
    special = ids[-1] in (0, 1)
    assert past == (b"" if special else model.view.base.bytes_of(ids[1:])[len(prompt) :])


def test_ways_are_drawn_by_their_probability():
    model = made(2)
    expected = ways(model, b"ab")
    draw = settled(model, b"ab", 1.0)
    torch.manual_seed(0)
    found = Counter(tuple(draw()[0]) for _ in range(2000))
    total = sum(expected.values())
    assert set(found) <= set(expected)
    for way, chance in expected.items():
        share = chance / total
        assert abs(found[way] - 2000 * share) < 5 * np.sqrt(2000 * share * (1 - share)) + 1
    assert len(found) >= 3


@pytest.mark.parametrize("mode", ["boundary", "bytes"])
def test_a_batch_gives_what_each_prompt_gives_alone(mode):
    model = made()
    options = {"mode": mode, "max_new_tokens": 5, "do_sample": False}
    found = complete(model, PROMPTS, **options)
    assert found == [complete(model, prompt, **options)[0] for prompt in PROMPTS]
    assert complete(model, [prompt.encode() for prompt in PROMPTS], **options) == found
    assert complete(model.base, PROMPTS, model.base_tokenizer, measure="all_strings", tolerance=0, **options) == found


def test_bytes_are_the_greedy_bytes_of_the_view():
    model = made(3)
    (found,) = complete(model, "ab", mode="bytes", max_new_tokens=6, do_sample=False)
    text = b"ab"
    for byte in found:
        row = model(torch.tensor([list(text)])).logits[0, -1]
        assert int(row.argmax()) == byte
        text += bytes([byte])
    assert len(found) == 6 or int(model(torch.tensor([list(text)])).logits[0, -1].argmax()) > 255


def test_markers_that_are_spelt_in_a_string_are_read_as_such():
    model = made()
    options = {"mode": "bytes", "max_new_tokens": 4, "do_sample": False}
    assert complete(model, "<s>ab", **options) == complete(model, "ab", **options)
    with pytest.raises(TextError, match="no probability"):  # the bytes of "<", which no token has
        complete(model, b"<s>ab", **options)


def test_the_parts_stand_where_the_arrangement_wants_them():
    base = made(markers=FIM).view.base
    pre, suf, mid = (256 + base.marker_texts.index(text) for text in FIM)
    psm = infilling_events(base, list(b"cabc"), list(b"aa"), "prefix_suffix_middle")
    assert psm == [pre, *b"c", suf, *b"aa", mid, *b"abc"]  # the last token is "abc", which the middle may lengthen
    spm = infilling_events(base, list(b"cabc"), list(b"aa"), "suffix_prefix_middle")
    assert spm == [pre, suf, *b"aa", mid, *b"cabc"]
    assert infilling_events(base, [], list(b"a"), "prefix_suffix_middle") == [pre, suf, *b"a", mid]


@pytest.mark.parametrize("arrangement", ["prefix_suffix_middle", "suffix_prefix_middle"])
@pytest.mark.parametrize("prefix", ["a", "ab", "bc"])
def test_the_middle_is_what_enumeration_gives(arrangement, prefix):
    """Both seams: the prefix may end inside a token, and the suffix is whole tokens of its own."""
    model = made(1, markers=FIM)
    pre, suf, mid = model.base_tokenizer.convert_tokens_to_ids(FIM)
    suffix = model.base_tokenizer.convert_tokens_to_ids("c")
    exact = Enumeration(model.base, model.base_tokenizer, (pre, suf, suffix, mid), spaced=False)
    (middle,) = complete(model, prefix, suffixes="c", mode="bytes", arrangement=arrangement, max_new_tokens=3)
    text = prefix.encode()
    for byte in middle:
        chances = exact.events(text)
        assert chances.argmax() == byte
        text += bytes([byte])
    assert len(middle) == 3 or exact.events(text).argmax() > 255
    (settled,) = complete(model, prefix, suffixes="c", arrangement=arrangement, max_new_tokens=3)
    assert settled == b"" or exact.probability(prefix.encode() + settled) > 0


def test_the_middle_may_begin_with_nothing_before_it():
    model = made(1, markers=FIM)
    pre, suf, mid = model.base_tokenizer.convert_tokens_to_ids(FIM)
    suffix = model.base_tokenizer.convert_tokens_to_ids("c")
    exact = Enumeration(model.base, model.base_tokenizer, (pre, suf, suffix, mid), spaced=False)
    (middle,) = complete(model, "", suffixes="c", mode="bytes", max_new_tokens=1)
    likeliest = int(exact.events(b"").argmax())
    assert middle == (bytes([likeliest]) if likeliest < 256 else b"")


def test_bad_input_is_refused():
    model = made()
    with pytest.raises(UnsupportedModelError, match="mode must be one of boundary, bytes, not 'tokens'"):
        complete(model, "a", mode="tokens")
    with pytest.raises(TextError, match="prompt 1 is empty"):
        complete(model, ["a", ""])
    with pytest.raises(UnsupportedModelError, match="give tokenizer="):
        complete(model.base, "a")
    with pytest.raises(UnsupportedModelError, match="not trained to fill in the middle"):
        complete(model, "a", suffixes="b")
    with pytest.raises(UnsupportedModelError, match="arrangement must be one of"):
        complete(made(markers=FIM), "a", suffixes="b", arrangement="middle_out")
    with pytest.raises(UnsupportedModelError, match="measure must be one of"):
        complete(model.base, "a", model.base_tokenizer, measure="viterbi")
    with pytest.raises(TextError, match="no token sequence spells"):
        complete(model, "x")
    with pytest.raises(TextError, match="longer than the model's context of 64 tokens"):
        complete(made(tolerance=0.05), "c" * 100)
