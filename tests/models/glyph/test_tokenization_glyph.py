"""GlyphTokenizer: ids are UTF-16 units, equal to what stock transformers gives from the same file."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_tokext import GlyphTokenizer
from hf_tokext.errors import UnsupportedModelError, VocabularyError
from tests.tokenizers import byte_level

TEXTS = ["", "a", "héllo wörld", "é🙂x", "two\nlines\t\x00\x7f", "a</s>b<pad>", "漢字 " * 7, "</s", "\U0010ffff\uffff"]
ANY = st.characters(exclude_categories=())


@pytest.fixture(scope="module")
def stock(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    tokenizer.save_pretrained(folder)
    assert set(json.loads((folder / "tokenizer_config.json").read_text())) & {"auto_map"} == set()
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module", autouse=True)
def _pair(tokenizer, stock):
    global PAIR
    PAIR = (tokenizer, stock)


def units(text):
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2").tolist()


def joined(text):
    """The text with the halves of pairs that stand side by side made one character, as UTF-16 reads them."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def plain(encoding):
    return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in encoding.items()}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("A", [0x41]),
        ("\uffff", [0xFFFF]),
        ("\U0001f642", [0xD83D, 0xDE42]),
        ("\U00010000", [0xD800, 0xDC00]),
        ("\U0010ffff", [0xDBFF, 0xDFFF]),
        ("\ud7ff\ue000", [0xD7FF, 0xE000]),
        ("\udc00\ud800", [0xDC00, 0xD800]),
        ("\ufffd", [0xFFFD]),
    ],
)
def test_ids_are_utf_16(tokenizer, text, ids):
    assert tokenizer(text, add_special_tokens=False).input_ids == ids
    assert tokenizer.decode(ids) == text


def test_every_code_point_of_the_bmp_is_one_id(tokenizer):
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10000)]))
    assert tokenizer(text, add_special_tokens=False).input_ids == list(map(ord, text))
    assert tokenizer.vocab_size == 65536 and len(tokenizer) == 65540
    assert sorted(tokenizer.get_vocab().values()) == list(range(65540))
    names = ("pad", "bos", "eos", "unk")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [65536, 65537, 65538, 65539]


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet=ANY, max_size=30))
def test_every_text_comes_back_lone_surrogates_included(text):
    ours, _ = PAIR
    options = {"add_special_tokens": False, "split_special_tokens": True}
    ids = ours(text, **options).input_ids
    assert ids == units(text)
    assert ours.decode(ids) == joined(text)
    assert ours(ours.decode(ids), **options).input_ids == ids
    flat, starts = ours.encode_units([text, "x", text])
    assert flat.tolist() == [*ids, ord("x"), *ids] and starts.tolist() == [0, len(ids), len(ids) + 1, 2 * len(ids) + 1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=3), st.integers(3, 12), st.booleans())
def test_any_unicode_text_gives_what_stock_gives(texts, length, cut):
    ours, stock = PAIR
    options = {"truncation": cut, "max_length": length if cut else None, "padding": True}
    found, expected = ours(texts, **options), stock(texts, **options)
    assert plain(found) == plain(expected)
    for index, text in enumerate(texts):
        assert found[index].offsets == expected[index].offsets
        whole = stock(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert whole == units(text)
        assert stock.decode(whole) == text


OPTIONS = [
    {},
    {"add_special_tokens": False},
    {"padding": True},
    {"padding": "max_length", "max_length": 12, "truncation": True},
    {"truncation": True, "max_length": 1, "add_special_tokens": False},
    {"padding": True, "pad_to_multiple_of": 8, "return_tensors": "pt"},
    {"padding": True, "return_attention_mask": False, "return_tensors": "np"},
    {"split_special_tokens": True},
    {"return_offsets_mapping": True, "return_special_tokens_mask": True, "return_length": True},
    {"return_overflowing_tokens": True, "truncation": True, "max_length": 6, "stride": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_every_option_gives_what_stock_gives(tokenizer, stock, options, side):
    for each in (tokenizer, stock):
        each.padding_side = each.truncation_side = side
    try:
        for texts in (TEXTS, TEXTS[3], ["one"]):
            assert plain(tokenizer(texts, **options)) == plain(stock(texts, **options))
        cut = {"truncation": "longest_first", "max_length": 7, "padding": True}
        assert plain(tokenizer(TEXTS, TEXTS[::-1], **cut)) == plain(stock(TEXTS, TEXTS[::-1], **cut))
        words = [["ein", "Wort"], ["é🙂", "", "z"]]
        split = {"is_split_into_words": True, "return_offsets_mapping": True}
        assert plain(tokenizer(words, **split)) == plain(stock(words, **split))
    finally:
        for each in (tokenizer, stock):
            each.padding_side = each.truncation_side = "right"


def test_offsets_are_those_of_the_text(tokenizer):
    found = tokenizer("a🙂</s>\ud800é", add_special_tokens=False, return_offsets_mapping=True)
    assert found.input_ids == [97, 0xD83D, 0xDE42, 65538, 0xD800, 0xE9]
    assert found.offset_mapping == [(0, 1), (1, 2), (1, 2), (2, 6), (6, 7), (7, 8)]
    assert found.char_to_token(1) == 1 and found.token_to_chars(2) == (1, 2)


@pytest.mark.parametrize("options", [{}, {"padding": True, "return_tensors": "pt"}, {"padding": True}])
def test_lone_surrogates_through_every_path(tokenizer, options):
    found = plain(tokenizer(["a\ud83d", "b\ude42\ufffd"][: 1 if not options else 2], **options))["input_ids"]
    assert found[0][:3] == [65537, 97, 0xD83D]
    assert found[1:] == ([] if not options else [[65537, 98, 0xDE42, 0xFFFD]])
    assert tokenizer("x", "\udfff").input_ids[-1] == 0xDFFF
    words = tokenizer(["x", "\udfff"], is_split_into_words=True, add_special_tokens=False)
    assert words.input_ids == [120, 0xDFFF] and words.word_ids() == [0, 1]
    pairs = tokenizer([("a\ud800", "b"), ["c", "\udfff"]], add_special_tokens=False)
    assert pairs.input_ids == [[97, 0xD800, 98], [99, 0xDFFF]]
    tokens = tokenizer.tokenize("\ud800\ufffd🙂</s>")
    assert tokenizer.convert_tokens_to_ids(tokens) == [0xD800, 0xFFFD, 0xD83D, 0xDE42, 65538]
    cut = {"truncation": True, "max_length": 2, "return_overflowing_tokens": True, "add_special_tokens": False}
    assert tokenizer("\ud800\ud801\ud802", **cut).input_ids == [[0xD800, 0xD801], [0xD802]]


@pytest.mark.parametrize("make", [list, np.array, torch.tensor, lambda ids: np.array(ids, dtype=np.uint32), tuple])
def test_decode_takes_every_kind_of_ids(tokenizer, make):
    ids = [65537, 104, 0xD83D, 0xDE42, 65538, 0xE9, 65536]
    assert tokenizer.decode(make(ids)) == "<s>h🙂</s>é<pad>"
    assert tokenizer.decode(make(ids), skip_special_tokens=True) == "h🙂é"
    assert tokenizer.decode(104) == tokenizer.decode(make([104])) == "h" and tokenizer.decode([]) == ""
    assert tokenizer.batch_decode(make([ids, ids]), skip_special_tokens=True) == ["h🙂é", "h🙂é"]
    assert tokenizer.decode(make(ids)[1]) == "h" and tokenizer.decode(list(make(ids))) == "<s>h🙂</s>é<pad>"


@pytest.mark.parametrize("ids", [[65540], [97, 70000], [-1], [0.5], ["a"]])
def test_ids_that_are_none_are_refused(tokenizer, ids):
    with pytest.raises(VocabularyError):
        tokenizer.decode(ids)


def test_tokens_have_ids_and_parts_of_characters_have_none(tokenizer):
    # "é" alone is how the byte alphabet writes byte 0xE9, which is part of characters only
    assert tokenizer.convert_tokens_to_ids(["a", "Ã©", "é", "</s>", "no such token"]) == [97, 233, 65539, 65538, 65539]


def test_added_tokens_and_templates_survive(tmp_path):
    tokenizer = GlyphTokenizer(add_bos_token=False, add_eos_token=True, padding_side="left")
    assert tokenizer.add_tokens(["<img>", "my wörd", "a"]) == 3
    assert tokenizer.add_special_tokens({"extra_special_tokens": ["<x>"]}) == 1
    assert tokenizer.add_tokens(["<img>"]) == 0
    tokenizer.chat_template = "{% for m in messages %}<img>{{ m.content }}{% endfor %}"
    assert len(tokenizer) == 65543
    assert tokenizer("<img>🙂my wörd<x>").input_ids == [65540, 0xD83D, 0xDE42, 65541, 65542, 65538]
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    again = pickle.loads(pickle.dumps(tokenizer))
    stock = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert type(loaded) is type(again) is GlyphTokenizer
    assert (loaded.padding_side, loaded.add_bos_token, loaded.add_eos_token) == ("left", False, True)
    for text in ("my wörd<img>", "wörd", "é🙂"):
        ids = tokenizer(text).input_ids
        assert loaded(text).input_ids == again(text).input_ids == stock(text).input_ids == ids
        assert loaded.decode(ids, skip_special_tokens=True) == text
    chat = [{"role": "user", "content": "hi"}]
    assert loaded.apply_chat_template(chat, return_dict=False) == [65540, 104, 105]
    assert loaded.add_tokens(["<more>"]) == 1 and len(loaded) == 65544 and loaded("<more>").input_ids == [65543, 65538]


@pytest.mark.parametrize("text", ["é", "Ã©", "ðŁ"])
def test_tokens_that_spell_pieces_are_refused(text):
    with pytest.raises(VocabularyError, match="in the byte alphabet"):
        PAIR[0].add_tokens(["<img>", text])
    with pytest.raises(VocabularyError, match="in the byte alphabet"):
        GlyphTokenizer(pad_token=text)
    assert len(PAIR[0]) == 65540


def test_ids_follow_each_other_whatever_is_added():
    tokenizer = GlyphTokenizer(pad_token="</s>")
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (65536, 65537, 65536)
    assert tokenizer.add_tokens([" ", "<img>"]) == 2 and len(tokenizer) == 65541
    assert tokenizer("a <img>").input_ids == [65537, 97, 65539, 65540]
    assert tokenizer.decode([97, 65539, 98]) == "a b"


def test_what_is_no_tokenizer_of_code_points_is_refused(tokenizer, tmp_path):
    byte_level().save_pretrained(tmp_path)
    with pytest.raises(VocabularyError, match="not one of code points"):
        GlyphTokenizer.from_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="given, not learnt"):
        tokenizer.train_new_from_iterator(["x"], 300)
