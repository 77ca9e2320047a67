"""Spellings that have met again go on as one, where little of the probability depends on it."""

import numpy as np
import pytest

from hf_tokext import byteify, score_bytes
from hf_tokext.models.byte_level import twins
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.contexts import Context
from hf_tokext.models.byte_level.heads import Head
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import tiny_llama

TEXT = b"abc" + b"c" * 12 + b"aab" + b"c" * 12  # spelt in 4 and in 6 ways, and then in one for more than 8 tokens


def even_llama(size):
    """A model that gives every spelling some probability."""
    model = tiny_llama(size, seed=1)
    for parameter in model.parameters():
        parameter.data.mul_(0.4)
    return model


def view(tolerance):
    tokenizer = small.plain()
    return ByteView(even_llama(len(tokenizer)), tokenizer, tolerance=tolerance)


def read(tolerance, stepped=False):
    """Log probabilities, what was merged, and how many tokens were run."""
    bytes_view = view(tolerance)
    (covers,) = bytes_view.texts(1)
    parts = [[byte] for byte in TEXT] if stepped else [list(TEXT)]
    readings = [bytes_view.read([covers], [part])[0] for part in parts]
    found = np.concatenate([reading.log_probabilities for reading in readings])
    return found, sum(reading.merged for reading in readings), bytes_view.runner.tokens


@pytest.mark.parametrize("stepped", [False, True])
def test_what_is_merged_is_reported_and_changes_little(stepped, monkeypatch):
    exact, none, _ = read(0)
    found, merged, ran = read(1e-3, stepped)
    assert none == 0 and 0 < merged < 1
    assert abs(found.sum() - exact.sum()) < 2 * merged
    monkeypatch.setattr(twins, "MERGED", 0)
    apart, none, more = read(1e-3, stepped)
    assert none == 0 and ran < more
    assert abs(apart.sum() - exact.sum()) < 0.01


def test_the_score_says_what_was_merged():
    tokenizer = small.plain()
    model, _ = byteify(even_llama(len(tokenizer)), tokenizer, tolerance=1e-3)
    (score,) = score_bytes(model, [TEXT])
    assert score.merged == pytest.approx(read(1e-3)[1])


def head(weight, end, *ids):
    context = None
    for index in ids:
        context = Context(context, index)
    return Head(context, weight, end, None)


def test_twins_end_alike_at_one_place_and_the_likelier_is_kept():
    alike = tuple(range(twins.ALIKE))
    known = twins.Twins()
    ran = head(-1.0, 9, 50, *alike)
    known.add(ran)
    known.add(head(-3.0, 9, 51, *alike))
    less = head(-2.0, 9, 52, *alike)
    more = head(-0.5, 9, 53, *alike)
    elsewhere, other = head(-4.0, 8, 54, *alike), head(-4.0, 9, 50, *alike[1:], 0)
    first, second = head(-1.0, 7, 1, 2), head(-2.0, 7, 1, 2)  # shorter than what twins have in common
    assert list(known.pairs([less, more, elsewhere, other, second, first])) == [(less, ran), (second, first)]


def test_a_tolerance_of_nothing_merges_nothing():
    assert twins.may_merge(0) == 0
    assert twins.may_merge(1e-4) == pytest.approx(2e-3)
    assert twins.may_merge(0.3) == twins.MOST_MERGED
