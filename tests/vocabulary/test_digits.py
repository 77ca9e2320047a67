import importlib.util
import json
import statistics
import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from hf_tokext import rewrite_digits
from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.alignment import digit_scheme
from hf_tokext.vocabulary.digit_ids import digit_strings
from hf_tokext.vocabulary.digit_patterns import SCHEMES, ends_before_more
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.handmade import bpe
from tests.tokenizers import byte_level
from tests.vocabulary.digit_oracle import DIGITS, Oracle, all_groups, bytes_behind, grouped, kinds, wrapped

KINDS = kinds()
OF_1234567 = {"single": "1+1+1+1+1+1+1", "left3": "3+3+1", "right3": "1+3+3"}
digits = st.text("0123456789", min_size=1, max_size=12)
numbers = st.one_of(
    digits,
    st.text("0123456789", min_size=90, max_size=110),
    st.builds("{}.{}".format, digits, digits),
    st.builds("{}.{}.{}".format, digits, digits, digits),
    st.integers(0, 10**15).map("{:,}".format),
    st.integers(0, 10**15).map("{:_}".format),
)
between = st.text("abcdx .,-+\n'#€é٣²１", max_size=4)
texts = st.lists(st.one_of(numbers, between), max_size=8).map("".join)
both = pytest.mark.parametrize(("kind", "scheme"), [(kind, scheme) for kind in KINDS for scheme in SCHEMES])


@cache
def rewritten(kind, scheme):
    return rewrite_digits(KINDS[kind], scheme)


@cache
def vocabulary(kind, scheme):
    return read_vocabulary(rewritten(kind, scheme))


def digit_pieces(kind, scheme, text):
    ids = rewritten(kind, scheme).encode(text, add_special_tokens=False).ids
    found = [vocabulary(kind, scheme).piece(i).decode(errors="replace").strip() for i in ids]
    return [piece for piece in found if set(piece) & DIGITS]


def normalized(core, text):
    return core.normalizer.normalize_str(text) if core.normalizer else text


@both
@settings(max_examples=60, deadline=None)
@given(text=texts)
@example("31.12.2024 and 3.14159, .12345; x.1234 1..2345 1.1234567.12345 1.123456.12345")
@example("1,234,567.89012 -1234567 0x12345 00012")
def test_every_run_is_cut_as_the_oracle_says_and_every_group_is_one_token(kind, scheme, text):
    assert digit_pieces(kind, scheme, text) == all_groups(normalized(KINDS[kind], text), scheme)


def test_the_oracle_itself():
    assert " ".join(all_groups("1234567 3.14159 1,234,567", "right3")) == "1 234 567 3 141 59 1 234 567"
    assert " ".join(all_groups("1234567 3.14159", "left3")) == "123 456 7 3 141 59"
    assert " ".join(all_groups("31.12.2024 x.1234 .1234 1..1234", "right3")) == "31 12 2 024 1 234 123 4 1 1 234"


@both
@settings(max_examples=60, deadline=None)
@given(text=texts)
def test_what_the_base_gives_back_the_new_one_gives_back(kind, scheme, text):
    old, new = KINDS[kind], rewritten(kind, scheme)
    if old.decode(old.encode(text).ids) == text:
        assert new.decode(new.encode(text).ids) == text


@both
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=20).filter(lambda text: not set(text) & DIGITS))
def test_text_without_digits_is_encoded_as_before(kind, scheme, text):
    old, new = KINDS[kind], rewritten(kind, scheme)
    if not set(normalized(old, text)) & DIGITS:  # a normalizer may make 2 of ²
        assert new.encode(text).ids == old.encode(text).ids


@both
def test_ids_stay_and_new_ones_are_ordinary_and_last(kind, scheme):
    old, new = KINDS[kind].get_vocab(), rewritten(kind, scheme).get_vocab()
    assert {token: new[token] for token in old} == old
    added = {token: index for token, index in new.items() if token not in old}
    width = 1 if scheme == "single" else 3
    assert {token.removeprefix("##") for token in added} <= set(digit_strings(width))
    assert sorted(new.values()) == list(range(len(new)))
    assert not set(added.values()) & rewritten(kind, scheme).get_added_tokens_decoder().keys()
    assert KINDS[kind].get_added_tokens_decoder() == rewritten(kind, scheme).get_added_tokens_decoder()


@both
def test_digit_scheme_names_it(kind, scheme):
    assert digit_scheme(vocabulary(kind, scheme)) == OF_1234567[scheme]


@cache
def oracle(kind, scheme):
    return Oracle(KINDS[kind], rewritten(kind, scheme), scheme)


PATTERNED = ["byte level", "byte level, digits alone in a pattern", "byte level, inverted pattern", "sentencepiece"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PATTERNED)
@settings(max_examples=150, deadline=None)
@given(text=texts)
@example("x =  1234567\n   42,   7 y")
@example("²00 ²12345")
def test_what_stands_beside_digits_is_cut_as_before(kind, scheme, text):
    assert rewritten(kind, scheme).encode(text).ids == oracle(kind, scheme).encode(text)


REAL = ["smollm2-135m", "gpt2-tokenizer", "llama2-tokenizer", "qwen3-tokenizer", "gemma3-270m"]
SCRIPT = Path(__file__).parents[2] / "scripts" / "samples.py"


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
def test_real_tokenizers_on_real_text(name):
    spec = importlib.util.spec_from_file_location("samples", SCRIPT)
    samples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(samples)
    core = Tokenizer.from_file(str(samples.sample(name) / "tokenizer.json"))
    new = rewrite_digits(core, "right3")
    by_hand = Oracle(core, new, "right3")
    numbered = "\n".join(f"{n:>9}  x[{n}] = {n / 7}, {n:,} v1.{n}.2024" for n in range(1, 10**7, 123457))
    for line in (Path(statistics.__file__).read_text() + numbered).splitlines():
        ids = new.encode(line, add_special_tokens=False).ids
        old = core.encode(line, add_special_tokens=False).ids
        assert new.decode(ids) == core.decode(old)
        assert ids == (by_hand.encode(line) if set(line) & DIGITS else old)


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [("byte level", "single"), ("byte level", "left3")]
    + [(kind, "right3") for kind in ("byte level", "sentencepiece", "unigram", "wordpiece")],
)
def test_a_long_run_of_digits_takes_ten_times_that_of_a_tenth(kind, scheme):
    core = rewritten(kind, scheme)

    def seconds(length):
        started = time.process_time()
        count = len(core.encode("1" * length, add_special_tokens=False).ids)
        assert count >= length / 3
        return time.process_time() - started

    few = min(seconds(20_000) for _ in range(3))
    assert min(seconds(200_000) for _ in range(2)) < 30 * few  # quadratic would be 100


@pytest.mark.long
def test_thirty_million_digits_do_not_reach_the_engines_limit_of_backtracking():
    # Oniguruma gives up, and the library panics, after ten million steps back: one per three digits, were there any
    head = ends_before_more("right3").partition("|[0-9]{3}(?=")[0]
    found = pre_tokenizers.Split(Regex(head), "isolated").pre_tokenize_str("1" * 30_000_001)
    assert [len(piece) for piece, _ in found] == [1, 30_000_000]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1_000, 1_001, 1_002, 100_000])
def test_long_runs_are_grouped_from_the_right(kind, length):
    run = ("1234567890" * (length // 10 + 1))[:length]
    assert digit_pieces(kind, "right3", f"x {run} y") == grouped(run, "x ", "right3")


@pytest.mark.parametrize("kind", ["byte level", "sentencepiece", "wordpiece"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_saved_and_loaded_by_auto_tokenizer_the_ids_are_equal(kind, scheme, tmp_path):
    base = wrapped(KINDS[kind])
    base.chat_template = "{{ messages }}"
    new = rewrite_digits(base, scheme)
    new.save_pretrained(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jinja", ".json", ".json"]
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("1234567 3.14159 x12", "a b\n 12", "the cat"):
        ids = rewritten(kind, scheme).encode(text, add_special_tokens=False).ids
        assert new(text, add_special_tokens=False)["input_ids"] == ids
        assert loaded(text, add_special_tokens=False)["input_ids"] == ids
    assert loaded.chat_template == base.chat_template


def test_every_kind_of_object_comes_back_as_its_kind_and_is_not_changed():
    base = byte_level()
    before = base.backend_tokenizer.to_str()
    spec = json.loads(before)
    assert rewrite_digits(spec, "right3")["model"]["vocab"]["007"] >= len(base)
    assert isinstance(rewrite_digits(base.backend_tokenizer, "right3"), Tokenizer)
    new = rewrite_digits(base, "right3")
    assert new.eos_token == "</s>" and new.tokenize("1234") == ["1", "234"]
    assert base.backend_tokenizer.to_str() == before and spec == json.loads(before)


def test_what_was_set_after_loading_is_kept(tmp_path):
    base = byte_level()
    told = {
        "padding_side": "left",
        "truncation_side": "left",
        "model_max_length": 77,
        "model_input_names": ["input_ids"],
        "chat_template": "{{ messages }}",
        "clean_up_tokenization_spaces": True,
        "split_special_tokens": True,
    }
    for name, value in told.items():
        assert getattr(base, name) != value
        setattr(base, name, value)
    new = rewrite_digits(base, "right3")
    new.save_pretrained(tmp_path)
    for each in (new, AutoTokenizer.from_pretrained(tmp_path)):
        assert {name: getattr(each, name) for name in told} == told


@pytest.mark.parametrize("text", ["999", "12345678", "COVID-19", "7up", " 42", "3"])
def test_added_tokens_that_would_be_cut_out_of_numbers_are_named(text):
    core = byte_level().backend_tokenizer
    core.add_tokens(["<extra_12>", "v1.2x", text])
    with pytest.raises(VocabularyError, match=f"its added tokens '{text}' begin or end with a digit"):
        rewrite_digits(core, "right3")


def test_added_tokens_that_cut_no_numbers_are_kept():
    core = byte_level().backend_tokenizer
    core.add_tokens(["<extra_12>", "v1.2x"])
    core.add_special_tokens(["madeupword0001"])
    new = rewrite_digits(core, "right3")
    assert new.encode("1<extra_12>3456").tokens == ["1", "<extra_12>", "3", "456"]
    core.add_tokens(["7"])
    assert rewrite_digits(core, "single").encode("171").tokens == ["1", "7", "1"]


def test_an_added_token_is_looked_at_as_it_is_matched():
    core = byte_level().backend_tokenizer
    core.normalizer = normalizers.NFKC()
    core.add_tokens([AddedToken("\N{FULLWIDTH DIGIT NINE}x", normalized=True)])
    assert len(core.encode("9x").ids) == 1
    with pytest.raises(VocabularyError, match="begin or end with a digit"):
        rewrite_digits(core, "left3")


def test_rewriting_again_changes_the_scheme():
    left = rewrite_digits(byte_level().backend_tokenizer, "left3")
    assert rewrite_digits(left, "left3").encode("1234567").tokens == ["123", "456", "7"]
    single = rewrite_digits(left, "single")
    assert single.encode("1234567").tokens == list("1234567")
    assert single.get_vocab() == left.get_vocab()


def test_merges_that_stop_short_are_completed():
    stuck = bpe([*"1234567890", "23"], merges=[("2", "3")]).backend_tokenizer
    for scheme in ("left3", "right3"):
        assert rewrite_digits(stuck, scheme).encode("123").tokens == ["123"]


def test_a_digit_that_the_vocabulary_lacks_is_added():
    new = rewrite_digits(Tokenizer(models.WordLevel({"<unk>": 0, "cat": 1}, unk_token="<unk>")), "single")
    assert new.encode("7").ids == [2 + 7]


def test_other_scripts_digits_are_cut_as_before():
    core = KINDS["byte level, digits alone first"]
    for text in ("٣٤٥", "a²½ ٣"):
        assert rewritten("byte level, digits alone first", "right3").encode(text).ids == core.encode(text).ids


def test_what_cannot_be_done_is_refused_by_name():
    with pytest.raises(VocabularyError, match="no digit scheme 'threes'; choose one of single, left3, right3"):
        rewrite_digits(byte_level(), "threes")
    with pytest.raises(VocabularyError, match="str is not|does not exist"):
        rewrite_digits("nowhere", "single")
    words = Tokenizer(models.BPE({"a": 0}, [], end_of_word_suffix="</w>"))
    with pytest.raises(VocabularyError, match="marks where words end"):
        rewrite_digits(words, "single")
    fives = bytes_behind(pre_tokenizers.FixedLength(5))
    with pytest.raises(VocabularyError, match="cannot be given the digit scheme 'right3': .* became .* instead of"):
        rewrite_digits(fives, "right3")
    masked = byte_level().backend_tokenizer
    masked.normalizer = normalizers.Replace("7", "0")
    with pytest.raises(VocabularyError, match="normalizer"):
        rewrite_digits(masked, "left3")
    other = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(VocabularyError, match="BERT's own pre-tokenizer"):
        rewrite_digits(other, "single")
