"""ByteTokenizer against the stock class that reads its own tokenizer.json: equal in everything that stock can do."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_tokext import ByteTokenizer
from hf_tokext.errors import TextError, UnsupportedModelError, VocabularyError

TEXTS = ["", "a", "héllo wörld", "é😊x", "two\nlines\t\x00\x7f", "a</s>b<pad>", "<s>", "漢字 " * 7, "</s", "x" * 40]


@pytest.fixture(scope="module")
def ours():
    return ByteTokenizer()


@pytest.fixture(scope="module")
def stock(ours, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    ours.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def plain(encoding):
    return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in encoding.items()}


OPTIONS = [
    {},
    {"add_special_tokens": False},
    {"padding": True},
    {"padding": "max_length", "max_length": 12},
    {"padding": "max_length", "max_length": 12, "truncation": True},
    {"truncation": True, "max_length": 5},
    {"truncation": True, "max_length": 1},
    {"truncation": True, "max_length": 1, "add_special_tokens": False},
    {"padding": True, "pad_to_multiple_of": 8},
    {"padding": True, "padding_side": "left"},
    {"padding": True, "return_tensors": "pt"},
    {"padding": True, "return_tensors": "np", "truncation": True, "max_length": 6},
    {"padding": True, "return_attention_mask": False},
    {"split_special_tokens": True},
    {"return_offsets_mapping": True, "return_special_tokens_mask": True, "return_length": True},
    {"return_overflowing_tokens": True, "truncation": True, "max_length": 6, "stride": 2},
    {"return_token_type_ids": True, "padding": True},
    {"truncation": "only_first", "max_length": 5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_every_option_gives_what_stock_gives(ours, stock, options, side):
    for tokenizer in (ours, stock):
        tokenizer.padding_side = tokenizer.truncation_side = side
    try:
        for texts in (TEXTS, TEXTS[2], ["one"], "", "a</s>b<pad>"):
            found, expected = ours(texts, **options), stock(texts, **options)
            assert plain(found) == plain(expected)
            assert [type(v) for v in found.values()] == [type(v) for v in expected.values()]
        assert ours.tokenize(TEXTS[3], "é") == stock.tokenize(TEXTS[3], "é")
        assert plain(ours(TEXTS, TEXTS[::-1], padding=True)) == plain(stock(TEXTS, TEXTS[::-1], padding=True))
        words = [["ein", "Wort"], ["é😊", "", "z"]]
        split = {"is_split_into_words": True, "return_offsets_mapping": True}
        assert plain(ours(words, **split)) == plain(stock(words, **split))
    finally:
        for tokenizer in (ours, stock):
            tokenizer.padding_side = tokenizer.truncation_side = "right"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4), st.integers(3, 20), st.booleans())
def test_any_text_gives_what_stock_gives(texts, length, cut):
    ours, stock = CACHE
    options = {"truncation": cut, "max_length": length if cut else None, "padding": True}
    found, expected = ours(texts, **options), stock(texts, **options)
    assert plain(found) == plain(expected)
    for index in range(len(texts)):
        assert found.tokens(index) == expected.tokens(index)
        assert found.word_ids(index) == expected.word_ids(index)
        assert found[index].offsets == expected[index].offsets
    assert ours.batch_decode(found["input_ids"]) == stock.batch_decode(expected["input_ids"])


@pytest.fixture(autouse=True, scope="module")
def _cache(ours, stock):
    global CACHE
    CACHE = (ours, stock)


def test_ids_are_bytes_and_markers_follow(ours):
    assert ours("é", add_special_tokens=False).input_ids == [0xC3, 0xA9]
    assert [ours.pad_token_id, ours.bos_token_id, ours.eos_token_id, ours.unk_token_id] == [256, 257, 258, 259]
    assert ours.vocab_size == 256 and len(ours) == 260
    assert ours.convert_tokens_to_ids(["a", "</s>", "no such token"]) == [97, 258, 259]


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_every_text_comes_back_lone_surrogates_included(text):
    ours = CACHE[0]
    ids = ours(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert max(ids, default=0) < 256
    assert ours.decode(ids) == text
    flat, starts = ours.encode_bytes([text, "x", text])
    assert flat.dtype == np.uint8 and ours.decode_arrays(flat, starts) == [text, "x", text]
    assert flat[: starts[1]].tolist() == ids


@given(st.binary(max_size=40))
def test_every_byte_comes_back(data):
    ours = CACHE[0]
    flat, starts = ours.encode_bytes([data])
    assert ours.decode_bytes(flat) == ours.decode_bytes(flat.tolist()) == data
    assert ours.decode(flat.tolist(), errors="escape") == ours.decode_arrays(flat, starts, "escape")[0]
    escaped = ours.decode(list(data), errors="escape")
    try:
        assert escaped == data.decode()
    except UnicodeDecodeError:
        with pytest.raises(TextError, match="is no UTF-8"):
            ours.decode(list(data), errors="strict")
        assert len(escaped) > 0


@pytest.mark.parametrize("options", [{}, {"padding": True, "return_tensors": "pt"}, {"return_offsets_mapping": True}])
def test_lone_surrogates_through_every_path(ours, options):
    text = "a\ud800b</s>\udfffé"
    ids = [97, 0xED, 0xA0, 0x80, 98, 258, 0xED, 0xBF, 0xBF, 0xC3, 0xA9]
    found = ours([text], add_special_tokens=False, **options)
    assert plain(found)["input_ids"] == [ids]
    assert ours.decode(ids) == text
    if "return_offsets_mapping" in options:
        spans = [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (3, 7), (7, 8), (7, 8), (7, 8), (8, 9), (8, 9)]
        assert found["offset_mapping"] == [spans]


def test_surrogates_in_pairs_words_and_overflow(ours):
    assert ours("a", "\ud800").input_ids == ours("a", "\ue042").input_ids[:-3] + [0xED, 0xA0, 0x80]
    words = ours(["x", "\udfff"], is_split_into_words=True, add_special_tokens=False)
    assert words.input_ids == [120, 0xED, 0xBF, 0xBF]
    cut = {"truncation": True, "max_length": 2, "return_overflowing_tokens": True, "add_special_tokens": False}
    assert ours("\ud800\ud801", **cut).input_ids == [[0xED, 0xA0], [0x80, 0xED], [0xA0, 0x81]]
    assert ours("\ue042", add_special_tokens=False).input_ids == list("\ue042".encode())


@pytest.mark.parametrize("kind", [list, tuple])
def test_surrogates_in_a_batch_of_pairs(ours, kind):
    found = ours([kind(("a\ud800", "b")), kind(("c", "\ud800")), "d"])
    other = ours([kind(("a\ue042", "b")), kind(("c", "\ue042")), "d"])
    assert found.input_ids == [[{0xEE: 0xED, 0x81: 0xA0, 0x82: 0x80}.get(i, i) for i in row] for row in other.input_ids]
    words = [kind((["a", "\ud800"], ["\udfff"]))]
    found = ours(words, is_split_into_words=True, add_special_tokens=False)
    assert found.input_ids == [[97, 0xED, 0xA0, 0x80, 0xED, 0xBF, 0xBF]]
    assert ours("\ud800", "").input_ids == [257, 0xED, 0xA0, 0x80]  # as stock, which sees no pair in it


def test_tokens_are_those_of_the_ids(ours):
    for text in ("a\ud800</s>é", "\ue042"):
        tokens = ours.tokenize(text)
        assert ours.convert_tokens_to_ids(tokens) == ours(text, add_special_tokens=False).input_ids
    assert ours.tokenize("a", add_special_tokens=True) == ["<s>", "a"]


def test_strict_refuses_surrogates_and_bytes_that_are_no_text():
    strict = ByteTokenizer(errors="strict")
    with pytest.raises(TextError, match="character 1 .*U\\+D800"):
        strict("a\ud800")
    with pytest.raises(TextError, match="character 1 "):
        strict("a", "b\ud800")
    with pytest.raises(TextError, match="character 4 "):
        strict("</s>\ud800")
    with pytest.raises(TextError, match="byte 1 "):
        strict.decode([97, 255])
    with pytest.raises(VocabularyError, match="errors must be one of"):
        ByteTokenizer(errors="ignore")


@pytest.mark.parametrize(
    "make",
    [list, np.array, torch.tensor, lambda ids: np.array(ids, dtype=np.uint16), tuple],
    ids=["list", "array", "tensor", "uint16", "tuple"],
)
def test_decode_takes_every_kind_of_ids(ours, make):
    ids = [257, 104, 105, 258, 0xC3, 0xA9, 256]
    assert ours.decode(make(ids)) == "<s>hi</s>é<pad>"
    assert ours.decode(make(ids), skip_special_tokens=True) == "hié"
    assert ours.decode(make([104])) == "h" and ours.decode(104) == "h" and ours.decode([]) == ""
    assert ours.decode(make(ids)[1]) == "h" and ours.decode(list(make(ids))) == "<s>hi</s>é<pad>"
    batch = make([ids, ids]) if make is not tuple else (tuple(ids), tuple(ids))
    assert ours.batch_decode(batch, skip_special_tokens=True) == ["hié", "hié"]


@pytest.mark.parametrize(
    "ids", [[260], [97, 260, 98], [-1], [97, -1, 98], [0.5], ["a"], "a", 260, 0.5, [np.float64(97)]]
)
def test_ids_that_are_none_are_refused(ours, ids):
    with pytest.raises(VocabularyError):
        ours.decode(ids)
    with pytest.raises(VocabularyError):
        ours.decode_bytes(ids)


def test_what_no_id_stands_for_is_no_text(ours):
    for ids in (np.zeros(0, np.uint8), np.zeros(0, np.int64)):
        assert ours.decode_arrays(ids, np.zeros(1, np.int64)) == []
        assert ours.decode_arrays(ids, np.zeros(3, np.int64)) == ["", ""]
    assert ours.decode_arrays(np.array([97, 258, 98]), np.array([0, 2, 3])) == ["a", "b"]


def test_tokens_and_offsets_are_those_of_the_ids_or_an_error():
    tokenizer, texts = ByteTokenizer(), ["abcdef", "<img>"]
    cut = {"truncation": True, "max_length": 4}
    kept, added, side, opened = tokenizer(texts), tokenizer(texts), tokenizer(texts, **cut), tokenizer("a")
    texts[0] = "zz"
    assert kept.tokens(0) == ["<s>", *"abcdef"] and kept[1].offsets[1:] == [(i, i + 1) for i in range(5)]
    tokenizer.truncation_side = "left"
    with pytest.raises(VocabularyError, match="has changed since"):
        side.tokens()
    tokenizer.add_bos_token = False
    with pytest.raises(VocabularyError, match="encode the text again"):
        opened.word_ids()
    tokenizer.add_bos_token = True
    tokenizer.padding_side = "left"
    assert tokenizer(["a", "bc"], padding=True).tokens() == ["<pad>", "<s>", "a"]
    tokenizer.add_tokens(["<img>"])
    with pytest.raises(VocabularyError, match="encode the text again"):
        added.tokens(1)
    assert kept.tokens(1) == ["<s>", *"<img>"]


@pytest.mark.parametrize("options", [{"truncation": "only_second", "max_length": 3}, {"padding_side": "middle"}])
def test_what_stock_refuses_is_refused(ours, stock, options):
    for each in (ours, stock):
        with pytest.raises(Exception, match="Second sequence not provided|middle"):
            each(["abcdef", "b"], padding=True, **options)


@pytest.mark.parametrize("letter", ["é", "Ġ"])
def test_letters_of_the_byte_alphabet_are_no_tokens(letter, tmp_path):
    tokenizer = ByteTokenizer()
    refused = pytest.raises(VocabularyError, match="in the byte alphabet")
    with refused:
        tokenizer.add_tokens(["<img>", letter])
    with refused:
        tokenizer.add_special_tokens({"extra_special_tokens": [letter]})
    with refused:
        ByteTokenizer(pad_token=letter)
    assert len(tokenizer) == 260 and tokenizer.add_tokens(["a", " ", "éa"]) == 3 and len(tokenizer) == 262
    assert tokenizer("a éa", add_special_tokens=False).input_ids == [97, 260, 261]
    stock = PreTrainedTokenizerFast(tokenizer_object=ByteTokenizer().backend_tokenizer)
    stock.add_tokens([letter])
    stock.save_pretrained(tmp_path)
    with refused:
        ByteTokenizer.from_pretrained(tmp_path)


def test_markers_may_be_missing_or_one():
    none = ByteTokenizer(pad_token=None)
    assert none(["a"], return_tensors="np").input_ids.tolist() == [[256, 97]]
    with pytest.raises(ValueError, match="does not have a padding token"):
        none(["a", "bc"], padding=True)
    one = ByteTokenizer(pad_token="</s>")
    assert (one.pad_token_id, one.bos_token_id, one.eos_token_id, len(one)) == (256, 257, 256, 259)


def test_added_tokens_and_templates_survive(tmp_path):
    tokenizer = ByteTokenizer(add_bos_token=False, add_eos_token=True, padding_side="left", errors="escape")
    tokenizer.add_tokens(["<img>", "word"])
    tokenizer.chat_template = "{% for m in messages %}<img>{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded) is ByteTokenizer
    assert (loaded.padding_side, loaded.errors, loaded.add_eos_token) == ("left", "escape", True)
    for text in ("a word<img>", "wor", "é"):
        assert loaded(text).input_ids == tokenizer(text).input_ids
        assert loaded.decode(loaded(text).input_ids, skip_special_tokens=True) == text
    assert tokenizer("a<img>").input_ids == [97, 260, 258]
    chat = [{"role": "user", "content": "hi"}]
    assert loaded.apply_chat_template(chat, return_dict=False) == tokenizer.apply_chat_template(chat, return_dict=False)
    stock = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert stock("a word<img>").input_ids == tokenizer("a word<img>").input_ids


def test_pickles_and_maps_over_processes(ours):
    again = pickle.loads(pickle.dumps(ours))
    assert again(TEXTS).input_ids == ours(TEXTS).input_ids
    encoding = pickle.loads(pickle.dumps(ours("é😊")))
    assert encoding.tokens() == ours("é😊").tokens() and encoding["input_ids"] == ours("é😊")["input_ids"]


def test_what_is_no_byte_tokenizer_is_refused(tmp_path):
    from tests.tokenizers import byte_level

    byte_level().save_pretrained(tmp_path)
    with pytest.raises(VocabularyError, match="not one of bytes"):
        ByteTokenizer.from_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="given, not learnt"):
        ByteTokenizer().train_new_from_iterator(["x"], 300)
