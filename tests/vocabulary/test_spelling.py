import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from hf_tokext.vocabulary.pieces import read_vocabulary
from hf_tokext.vocabulary.spelling import Speller
from tests.handmade import bpe, metaspace
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

TOKENIZERS = {"byte level": byte_level(300), "metaspace": sentencepiece_like()}
texts = st.text(st.sampled_from("abtheri <>/s.é漢\n0"), max_size=16)


@cache
def speller(kind):
    return Speller(read_vocabulary(TOKENIZERS[kind]))


def wordpiece(*tokens):
    core = Tokenizer(models.WordPiece({t: i for i, t in enumerate(("[UNK]", *tokens))}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return Speller(read_vocabulary(core))


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.one_of(st.binary(max_size=8), texts.map(str.encode)), max_size=4))
def test_every_spelling_joins_to_exactly_the_bytes_and_holds_no_control_token(kind, pieces):
    vocabulary = speller(kind).vocabulary
    for piece, ids in zip(pieces, speller(kind).spell(pieces), strict=True):
        assert b"".join(vocabulary.piece(i) for i in ids) == piece
        assert not set(ids) & set(vocabulary.special)


@settings(max_examples=100, deadline=None)
@given(st.text("abcd", max_size=8))
def test_there_is_a_spelling_exactly_when_every_byte_has_a_token(text):
    spelling = Speller(read_vocabulary(bpe(["a", "b", "c", "ab", "cab"], merges=[("a", "b"), ("c", "ab")])))
    assert bool(spelling.spell([text.encode()])[0]) == (bool(text) and "d" not in text)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_no_text_is_encoded_to_an_unreachable_id(kind, text):
    assert not set(TOKENIZERS[kind].encode(text, add_special_tokens=False)) & unreachable(kind)


@cache
def unreachable(kind):
    return speller(kind).unreachable()


def test_the_text_of_a_control_token_is_spelt_with_ordinary_tokens():
    ids = speller("byte level").spell([b"</s>"])[0]
    assert [speller("byte level").vocabulary.piece(i) for i in ids] == [b"<", b"/", b"s", b">"]


def test_no_space_is_put_before_a_piece():
    tokenizer = TOKENIZERS["metaspace"]
    assert tokenizer.tokenize("the") == ["▁the"]
    spelt = speller("metaspace").spell([b"the", b" the", b"  the"])
    assert [tokenizer.convert_ids_to_tokens(ids) for ids in spelt] == [["th", "e"], ["▁the"], ["▁", "▁the"]]


def test_a_piece_is_cut_by_the_tokenizers_own_rules():
    tokenizer = TOKENIZERS["byte level"]
    for text in (" the cat", "a  b", "the\n the"):
        assert speller("byte level").spell([text.encode()])[0] == tuple(
            tokenizer(text, add_special_tokens=False).input_ids
        )


def test_half_a_character_is_spelt_with_its_bytes():
    for kind, tokens in (("byte level", ["Ã", "æ", "¼"]), ("metaspace", ["<0xC3>", "<0xE6>", "<0xBC>"])):
        spelt = speller(kind).spell([b"\xc3", b"\xe6\xbc"])
        assert TOKENIZERS[kind].convert_ids_to_tokens([*spelt[0], *spelt[1]]) == tokens


def test_wordpiece_takes_the_longest_match_and_keeps_the_space_that_begins_a_word():
    found = wordpiece("cat", "##s", "##t", "c", "##at", "##ats")
    assert found.spell([b" cats", b" cat", b"ats", b"cat", b""]) == [(1, 2), (1,), (6,), (), ()]


def test_alone_a_piece_is_spelt_across_the_cuts_of_the_pre_tokenizer():
    core = bpe(["a", "Ġ", "b", "aĠ"]).backend_tokenizer
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    found = Speller(read_vocabulary(core))
    assert found.spell([b"a b"]) == [(1, 2, 3)]
    assert found.spell_alone(b"a b") == (4, 3)


def test_unreachable_are_tokens_that_no_merge_makes_and_byte_tokens_of_a_letter():
    assert Speller(read_vocabulary(bpe(["a", "b", "ab", "ba"], merges=[("a", "b")]))).unreachable() == {4}
    letters = metaspace(["▁", "a"])
    assert Speller(read_vocabulary(letters)).unreachable() == {3 + 0x20, 3 + 0x61}


def test_control_and_added_tokens_are_never_called_unreachable():
    tokenizer = bpe(["a", "b"], special=("</s>", "<|im_end|>"))
    tokenizer.add_tokens(["aba"])
    assert Speller(read_vocabulary(tokenizer)).unreachable() == frozenset()


BERT = (
    "[unused0]",
    "cat",
    "##s",
    "##s!",
    "caf\u00e9",
    "cafe",
    "!",
    "[",
    "]",
    "unused",
    "##0",
    "don't",
    "\u6f22",
    "##12",
)


def bert(lowercase):
    core = Tokenizer(models.WordPiece({t: i for i, t in enumerate(("[UNK]", *BERT))}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return core


@pytest.mark.parametrize(("lowercase", "changed"), [(False, []), (True, ["caf\u00e9"])])
def test_wordpiece_never_produces_tokens_that_its_words_are_cut_in(lowercase, changed):
    core = bert(lowercase)
    found = Speller(read_vocabulary(core)).unreachable()
    assert {core.id_to_token(i) for i in found} == {"[unused0]", "##s!", "don't", *changed}
    assert core.encode("[unused0]").tokens == ["[", "unused", "##0", "]"]


def digits(behaviour):
    tokenizer = bpe(["1", "2", "a", "12", "a1", "121"], merges=[("1", "2"), ("a", "1"), ("12", "1")])
    core = tokenizer.backend_tokenizer
    core.pre_tokenizer = pre_tokenizers.Sequence([behaviour, pre_tokenizers.ByteLevel(False, use_regex=False)])
    return core


@pytest.mark.parametrize(
    ("cut", "lost"),
    [
        (pre_tokenizers.Digits(individual_digits=True), {"12", "a1", "121"}),
        (pre_tokenizers.Digits(individual_digits=False), {"a1"}),
        (pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"), {"a1", "121"}),
    ],
)
def test_digits_that_a_scheme_never_leaves_together_are_unreachable(cut, lost):
    core = digits(cut)
    found = Speller(read_vocabulary(core)).unreachable()
    assert {core.id_to_token(i) for i in found} == lost


@pytest.mark.parametrize(
    ("pattern", "lost"),
    [
        (r"x\d{2}", {"a1", "121"}),  # whole only behind a letter
        (r"\d{2}(?=x)", {"a1", "121"}),  # only before one
        (r"x\d{2}x", {"a1", "121"}),
        (r" \d{2}", {"a1", "121"}),
        (r"\n\d+", {"a1"}),
        (r"\d", {"12", "a1", "121"}),
    ],
)
def test_a_token_that_some_neighbour_keeps_whole_is_reachable(pattern, lost):
    core = digits(pre_tokenizers.Split(Regex(rf"{pattern}|[\s\S]"), "isolated"))
    assert {core.id_to_token(i) for i in Speller(read_vocabulary(core)).unreachable()} == lost


def test_many_ids_are_looked_at_in_seconds():
    plain = {"[UNK]": 0} | {f"[w{number}]" if number % 2 else f"w{number}": number for number in range(1, 20_001)}
    core = Tokenizer(models.WordPiece(plain, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vocabulary, start = read_vocabulary(core), time.perf_counter()
    assert Speller(vocabulary).unreachable() == frozenset(range(1, 20_001, 2))
    assert time.perf_counter() - start < 30
