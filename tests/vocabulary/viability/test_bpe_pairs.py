"""Merges and neighbours against the tokenizers package, for merges drawn at random, in any order."""

import random

import pytest
from tokenizers import models

from hf_tokext.vocabulary.viability.bpe_pairs import BpePairs, merge_pairs


def _drawn(seed: int) -> tuple[list[str], list[tuple[str, str]], int]:
    draw = random.Random(seed)
    base = draw.choice((1, 2, 3))
    tokens, merges = list("abc"[:base]), []
    for _ in range(draw.randint(1, 14)):
        pair = draw.choice(tokens), draw.choice(tokens)
        if pair not in merges and len("".join(pair)) <= 6:
            merges.append(pair)
            tokens += ["".join(pair)] if "".join(pair) not in tokens else []
    if seed % 2:
        draw.shuffle(merges)  # a merge may then come before those that make its parts, as in SentencePiece's
    return tokens, merges, base


@pytest.mark.parametrize("start", range(0, 600, 100))
def test_pairs_are_those_that_encode_to_themselves(start):
    kept = broken = 0
    for seed in range(start, start + 100):
        tokens, merges, base = _drawn(seed)
        model = models.BPE({token: index for index, token in enumerate(tokens)}, merges)
        pairs = BpePairs(tokens, merges, range(base))
        whole = [[each.id for each in model.tokenize(token)] == [index] for index, token in enumerate(tokens)]
        assert pairs.reachable.tolist() == whole
        for first in (index for index, reachable in enumerate(whole) if reachable):
            row = pairs.row(first)
            for second in (index for index, reachable in enumerate(whole) if reachable):
                stay = [each.id for each in model.tokenize(tokens[first] + tokens[second])] == [first, second]
                assert row[second] == stay, (seed, tokens[first], tokens[second], merges)
                kept, broken = kept + stay, broken + (not stay)
    assert kept > 100
    assert broken > 100


def test_without_merges_all_characters_stand_side_by_side():
    pairs = BpePairs(["a", "b", "ab"], [], [0, 1])
    assert pairs.reachable.tolist() == [True, True, False]
    assert pairs.row(0).tolist() == [True, True, False]


def test_merges_are_read_in_both_forms():
    assert merge_pairs(["a b", ["c", "d e"]]) == [("a", "b"), ("c", "d e")]
