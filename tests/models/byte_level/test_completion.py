"""Going on from prompts, and filling in the middle: what is chosen is what enumeration says."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import GenerationConfig

from hf_tokext import byteify, complete
from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.models.byte_level.completion import settle_prompt
from hf_tokext.models.byte_level.infilling import infilling_events
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import Enumeration, tiny_llama
from tests.tiny_models import tiny

FIM = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
PROMPTS = ["ab", "a", "bcab", "aab"]


def made(seed=0, markers=(), **options):
    tokenizer = small.plain()
    tokenizer.add_special_tokens({"additional_special_tokens": list(markers)}, replace_extra_special_tokens=False)
    return byteify(tiny_llama(len(tokenizer), seed), tokenizer, **{"tolerance": 0, **options})[0]


def ways(model, prompt, opening=(0,)):
    """Probabilities of the token sequences that a prompt may be the beginning of, the last token going past it."""
    exact = Enumeration(model.base, model.base_tokenizer, opening, spaced=False)
    found = {}
    for ids, spelt, chance in exact.strings(prompt):
        row = exact.row(ids)
        for index, piece in exact.pieces.items():
            if len(spelt + piece) > len(prompt) and (spelt + piece).startswith(prompt) and spelt != prompt:
                found[*opening, *ids, index] = chance * row[index]
        if spelt == prompt:
            found |= {(*opening, *ids, index): chance * row[index] for index in range(len(row))}
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
    found = ways(model, prefix.encode(), exact.opening)
    *ids, last = max(found, key=found.get)
    base = model.view.base
    assert settled.startswith(base.bytes_of([*ids[4:], last])[len(prefix) :])
    assert settled == b"" or last in base.trie.rank


def test_the_middle_may_begin_with_nothing_before_it():
    model = made(1, markers=FIM)
    pre, suf, mid = model.base_tokenizer.convert_tokens_to_ids(FIM)
    suffix = model.base_tokenizer.convert_tokens_to_ids("c")
    exact = Enumeration(model.base, model.base_tokenizer, (pre, suf, suffix, mid), spaced=False)
    (middle,) = complete(model, "", suffixes="c", mode="bytes", max_new_tokens=1)
    likeliest = int(exact.events(b"").argmax())
    assert middle == (bytes([likeliest]) if likeliest < 256 else b"")


def test_what_the_template_puts_before_a_text_stands_before_the_parts():
    tokenizer = small.plain()
    tokenizer.add_special_tokens({"additional_special_tokens": FIM}, replace_extra_special_tokens=False)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    model, _ = byteify(tiny_llama(len(tokenizer), 1), tokenizer, tolerance=0)
    pre, suf, mid = tokenizer.convert_tokens_to_ids(FIM)
    exact = Enumeration(model.base, tokenizer, (0, pre, suf, tokenizer.convert_tokens_to_ids("c"), mid), spaced=False)
    base = model.view.base
    for arrangement in ("prefix_suffix_middle", "suffix_prefix_middle"):
        (covers,) = model.view.texts(1)
        model.view.read([covers], [infilling_events(base, list(b"ab"), list(b"c"), arrangement)])
        expected = exact.events(b"ab")
        np.testing.assert_allclose(np.exp(covers.events())[:256], expected[:256], atol=1e-12)


def test_no_prompts_give_nothing():
    assert complete(made(), []) == complete(made(), [], mode="bytes") == []


@pytest.mark.parametrize("mode", ["boundary", "bytes"])
def test_strings_stop_it(mode):
    model = made()
    options = {"mode": mode, "max_new_tokens": 12, "do_sample": False}
    (free,) = complete(model, "ab", **options)
    (found,) = complete(model, "ab", **options, stop_strings="bb")
    assert free.startswith(found) and len(found) < len(free)
    assert b"bb" in found and b"bb" not in found[:-3]  # the last token may go past it
    config = GenerationConfig(stop_strings=["bb"], **{key: options[key] for key in ("max_new_tokens", "do_sample")})
    assert complete(model, "ab", mode=mode, generation_config=config) == [found]


def test_a_string_in_the_settled_token_stops_it():
    model = made(2)
    _, past = settled(model, b"a", 0)()
    assert past
    assert complete(model, "a", max_new_tokens=5, do_sample=False, stop_strings=[past.decode()]) == [past]


def test_settings_may_come_in_a_config():
    model = made(2)
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": 3, "temperature": 1.5}
    found = []
    for given in (options, {"generation_config": GenerationConfig(**options)}):
        torch.manual_seed(1)
        found.append([complete(model, "ab", **given) for _ in range(10)])
    assert found[0] == found[1] and len(set(map(tuple, found[0]))) > 1


def test_draws_of_one_prompt_share_no_token():
    model = made(2)
    torch.manual_seed(0)
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": 1}
    found = complete(model, ["ab", "c"], num_return_sequences=40, **options)
    assert len(found) == 80
    alone = {complete(model, "ab", **options)[0][:1] for _ in range(40)}
    assert len(alone) > 1 and {text[:1] for text in found[:40]} == alone
    assert len(complete(model, ["ab", "c"], num_beams=2, num_return_sequences=2, max_new_tokens=1)) == 4


def test_what_generate_would_wrap_results_in_is_left_out():
    model = made()
    options = {"max_new_tokens": 2, "do_sample": False}
    assert complete(model, "ab", return_dict_in_generate=True, **options) == complete(model, "ab", **options)


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
    with pytest.raises(TextError, match="1 suffixes for 2 prompts"):
        complete(made(markers=FIM), ["a", "b"], suffixes="c")
    with pytest.raises(TextError, match="no token sequence spells"):
        complete(model, "x")
    with pytest.raises(TextError, match="longer than the model's context of 64 tokens"):
        complete(made(tolerance=0.05), "c" * 100)


def test_what_is_written_ends_within_the_context():
    tokenizer = small.plain()
    model = byteify(tiny("gpt2", vocab_size=len(tokenizer)), tokenizer, "canonical")[0]  # its places end at 256
    options = {"do_sample": False, "eos_token_id": None}
    with pytest.raises(TextError, match="no room for 99 more; ask for at most ([0-9]+)") as refused:
        complete(model, ["a", "c" * 250], max_new_tokens=99, **options)
    most = int(re.search("at most ([0-9]+)", str(refused.value))[1])
    assert 0 < most < 10
    found = complete(model, ["a", "c" * 250], max_new_tokens=most, **options)
    assert found[0] == complete(model, "a", max_new_tokens=most, **options)[0]
    with pytest.raises(TextError, match=f"at most {most} "):
        complete(model, "c" * 250, max_new_tokens=most + 1, **options)


def test_bytes_written_until_the_context_is_full_are_kept():
    tokenizer = small.plain()
    model = byteify(tiny_llama(len(tokenizer), max_position_embeddings=32), tokenizer, "canonical")[0]
    options = {"mode": "bytes", "do_sample": False, "suppress_tokens": list(range(256, model.config.vocab_size))}
    short = complete(model, ["a", "ab"], max_new_tokens=15, **options)
    with pytest.warns(UserWarning, match="stopped before the end: .* context of 32 tokens"):
        found = complete(model, ["a", "ab"], max_new_tokens=400, **options)
    for known, each in zip(short, found, strict=True):
        assert each.startswith(known) and 15 < len(each) < 400
    with pytest.raises(TextError, match="longer than the model's context"):
        complete(model, "c" * 100, max_new_tokens=4, **options)
    with pytest.raises(TextError, match="longer than the model's context"):
        complete(model, "a", max_new_tokens=400, num_beams=2, **options)


def test_how_the_base_generates_is_saved_with_it(tmp_path):
    model = made(2)
    model.base.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, eos_token_id=[1, 5], max_new_tokens=4
    )
    model.save_pretrained(tmp_path)
    found = type(model).from_pretrained(tmp_path)
    assert found.base.generation_config.to_diff_dict() == model.base.generation_config.to_diff_dict()
    torch.manual_seed(0)
    wanted = complete(model, PROMPTS)
    torch.manual_seed(0)
    assert complete(found, PROMPTS) == wanted
    (tmp_path / "base_tokenizer" / "generation_config.json").unlink()  # as of a checkpoint from before
    assert type(model).from_pretrained(tmp_path).base.generation_config is not None
