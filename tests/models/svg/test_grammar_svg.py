import random
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hf_tokext.models.svg.domain import SVGDomain
from hf_tokext.models.svg.grammar_svg import DEEPEST
from hf_tokext.vocabulary.grammar import Grammar
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor

DOMAIN = SVGDomain()
GRAMMAR = DOMAIN.grammar


KINDS = [*range(8), DOMAIN.index("at:d"), DOMAIN.index("d:M"), DOMAIN.index(":a"), DOMAIN.index("x20")]


def shortest(state):
    """Fewest tokens to the end, by breadth first over one token of each kind."""
    waiting, steps, seen = [state], 0, {state}
    while not any(map(GRAMMAR.complete, waiting)):
        after = []
        for each in waiting:
            for index in np.array(KINDS)[GRAMMAR.allowed(each)[KINDS]].tolist():
                following = GRAMMAR.advance(each, index)
                if following not in seen and following.depth <= state.depth + 1:
                    seen.add(following)
                    after.append(following)
        waiting, steps = after, steps + 1
    return steps


def test_the_distance_is_the_fewest_tokens_to_the_end():
    draw = random.Random(0)
    for _ in range(12):
        state = GRAMMAR.start()
        for _ in range(draw.randint(0, 12)):
            kinds = np.flatnonzero(GRAMMAR.allowed(state))
            index = int(draw.choice(kinds[:8].tolist() + [draw.choice(kinds.tolist())]))
            if index == 1:
                break
            after = GRAMMAR.advance(state, index)
            assert GRAMMAR.distance(after) <= GRAMMAR.distance(state) + GRAMMAR.longest_step
            state = after
        if state.depth <= 3:
            assert GRAMMAR.distance(state) == shortest(state)


def test_elements_lie_in_each_other_only_so_deep():
    indices = [0] + [DOMAIN.index("el:g")] * DEEPEST
    allowed = GRAMMAR.allowed(GRAMMAR.read(indices))
    assert not allowed[DOMAIN.index("el:g")] and not allowed[DOMAIN.index("element")] and allowed[DOMAIN.index("/")]
    assert GRAMMAR.allowed(GRAMMAR.read(indices[:-1]))[DOMAIN.index("el:g")]


def test_an_attribute_stands_once():
    state = GRAMMAR.read([DOMAIN.index(token) for token in ("drawing", "el:path", "at:d", "d:M")])
    assert not GRAMMAR.allowed(state)[DOMAIN.index("at:d")] and GRAMMAR.allowed(state)[DOMAIN.index("at:id")]
    inner = GRAMMAR.advance(state, DOMAIN.index("el:path"))
    assert GRAMMAR.allowed(inner)[DOMAIN.index("at:d")]
    assert not GRAMMAR.allowed(inner)[DOMAIN.index("d:M")]


def test_what_a_random_model_writes_is_well_formed():
    base = 2
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=base + len(DOMAIN.tokens), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    count = 0
    for length in (8, 14, 30):
        for mode in ({"do_sample": True, "num_return_sequences": 24}, {"num_beams": 4, "num_return_sequences": 4}, {"do_sample": False}):  # fmt: skip
            processor = GrammarLogitsProcessor([(DOMAIN, base)], length, only="svg", eos_token_id=0)
            prompt = torch.ones((1, 1), dtype=torch.long)
            found = model.generate(prompt, max_length=length, logits_processor=[processor], **mode)
            for row in found[:, 1:].tolist():
                indices = [index - base for index in row if index]
                assert GRAMMAR.complete(GRAMMAR.read(indices))
                ElementTree.fromstring(DOMAIN.write(indices))
                count += 1
    assert count == 3 * 29


@pytest.mark.parametrize("mode", ["lossless", "quantised"])
def test_tokens_of_a_kind_are_alike_wherever_they_stand(mode):
    grammar = SVGDomain(mode).grammar
    draw, stands = random.Random(0), 0
    for _ in range(12):
        state = grammar.start()
        while not grammar.complete(state) and stands < 250:
            allowed = grammar.allowed(state)
            assert (grammar._count_needs(state) == Grammar._count_needs(grammar, state)).all()
            assert all(grammar.follow(state, index) is None for index in np.flatnonzero(~allowed)[:50].tolist())
            found = np.flatnonzero(allowed).tolist()
            kinds = {grammar._kinds[index]: index for index in draw.sample(found, len(found))}
            assert all(grammar.follow(state, index) == grammar.advance(state, index) for index in kinds.values())
            state, stands = grammar.advance(state, draw.choice(list(kinds.values()))), stands + 1
    assert stands == 250
