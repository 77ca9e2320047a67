import copy
import json

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from hf_tokext.vocabulary import alignment
from hf_tokext.vocabulary.alignment import DIGIT_PROBE, PROBES, align, digit_scheme
from hf_tokext.vocabulary.pieces import read_vocabulary, tokenizer_spec
from tests.handmade import bpe, metaspace
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

BYTE_LEVEL = read_vocabulary(byte_level(300))
SENTENCEPIECE = read_vocabulary(sentencepiece_like())


@pytest.mark.parametrize(("target", "base"), [(BYTE_LEVEL, SENTENCEPIECE), (SENTENCEPIECE, BYTE_LEVEL)])
def test_anchors_are_all_pairs_of_equal_bytes_and_no_others(target, base):
    anchors = align(target, base).anchors
    assert all(target.piece(new) == base.piece(old) for new, old in anchors.items())
    known = {base.piece(i) for i in base.ids if i not in base.special}
    assert set(anchors) == {i for i in target.ids if i not in target.special and target.piece(i) in known}


def test_a_control_token_is_no_anchor_of_an_ordinary_token_that_looks_like_it():
    plain, control = read_vocabulary(bpe(["a", "ab"], special=())), read_vocabulary(bpe(["a"], special=("ab",)))
    for target, base, pairs in ((plain, control, {0: 1}), (control, plain, {1: 0})):
        aligned = align(target, base)
        assert aligned.anchors == pairs and aligned.roles == {}


def test_a_byte_token_takes_the_byte_token_and_a_letter_the_letter():
    target, base = (read_vocabulary(metaspace(tokens)) for tokens in (["▁", "a"], ["a", "▁"]))
    letter, byte = 3 + 256 + 1, 3 + 0x61
    anchors = align(target, base).anchors
    assert (anchors[letter], anchors[byte]) == (3 + 256, 3 + 0x61)
    only_letter = read_vocabulary(bpe(["a"]))
    assert align(target, only_letter).anchors == {letter: 1, byte: 1}


def test_a_vocabulary_beside_itself_is_the_identity():
    aligned = align(SENTENCEPIECE, SENTENCEPIECE)
    assert aligned.identical and aligned.warnings == () and not aligned.unreachable
    ordinary = set(SENTENCEPIECE.ids) - set(SENTENCEPIECE.special)
    assert aligned.anchors == {i: i for i in ordinary}
    assert aligned.roles == {i: i for i in SENTENCEPIECE.special}


def test_equal_pieces_with_other_control_tokens_are_not_identical():
    one = read_vocabulary(bpe(["a", "b"], special=("</s>",)))
    other = read_vocabulary(bpe(["</s>", "a", "b"], special=()))
    assert one.pieces == other.pieces
    assert not align(one, other).identical


def test_unreachable_ids_count_unless_their_partner_is_quiet_too():
    letters = ["a", "b", "c"]
    broken = read_vocabulary(bpe([*letters, "ab", "bc"], merges=[("a", "b")]))
    assert align(broken, read_vocabulary(bpe(letters))).unreachable == {5}
    assert align(broken, read_vocabulary(bpe([*letters, "bc"]))).unreachable == {5}
    assert align(broken, read_vocabulary(bpe(["bc", *letters], merges=[]))).unreachable == frozenset()


def test_ids_of_equal_bytes_are_one_group_the_used_one_first():
    found = read_vocabulary(metaspace(["▁", "a", "b"]))
    groups = align(found, BYTE_LEVEL).collisions
    at = {token: 259 + place for place, token in enumerate(["▁", "a", "b"])}
    assert set(groups) == {(at["▁"], 3 + 0x20), (at["a"], 3 + 0x61), (at["b"], 3 + 0x62)}


def digits_in_threes():
    core = Tokenizer(models.WordLevel({str(n): n for n in range(1000)} | {"<unk>": 1000}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d{1,3}"), "isolated")
    return core


def test_digit_schemes():
    assert digit_scheme(read_vocabulary(digits_in_threes())) == "3+3+1"
    assert digit_scheme(BYTE_LEVEL) == "1+1+1+1+1+1+1"
    assert digit_scheme(read_vocabulary(bpe([*"1234567", "12", "123"]))) == "3+1+1+1+1"


def test_numbers_cut_differently_are_a_warning():
    target = read_vocabulary(bpe([*"1234567", "12", "123"]))
    (warning,) = align(target, read_vocabulary(bpe([*"1234567"]))).warnings
    assert "1234567 is now 3+1+1+1+1, was 1+1+1+1+1+1+1" in warning


def test_text_that_the_new_tokenizer_changes_is_a_warning_even_where_the_ids_are_the_same():
    core = byte_level(300).backend_tokenizer
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    lossy = read_vocabulary(core)
    assert align(lossy, BYTE_LEVEL).identical
    named, lost = align(lossy, BYTE_LEVEL).warnings
    assert named == "normalizers differ: new ['NFKC', 'Lowercase'], old none"
    kept, changes = lost.split(": ")
    assert kept == "the new tokenizer does not keep what the old one kept"
    assert changes == "accents written as two characters, capital letters, full-width characters"
    assert not any("does not keep" in warning for warning in align(BYTE_LEVEL, lossy).warnings)


def test_ids_that_share_their_bytes_are_a_warning_unless_one_is_a_byte_token():
    tokenizer = bpe(["a", "Ġ"])
    tokenizer.add_tokens([" "])
    base = read_vocabulary(bpe(["a", "Ġ"]))
    (warning,) = align(read_vocabulary(tokenizer), base).warnings
    assert warning.startswith("1 groups of new ids share their bytes")
    quiet = align(SENTENCEPIECE, BYTE_LEVEL).warnings
    assert not any("share their bytes" in warning for warning in quiet)


def lower_cased():
    """A byte-level BPE behind a normalizer, with an added token that is in no text but in normalized ones."""
    core = Tokenizer.from_str(byte_level(300).backend_tokenizer.to_str())
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.add_tokens([AddedToken("\uff11\uff12\uff13")])
    return core


def wordpiece():
    letters = [*"abcdehlnorw1234567", "hello", "world"]
    pieces = ["[UNK]", *letters, *(f"##{letter}" for letter in letters), "##lo"]
    core = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return core


def unigram():
    pieces = ["<unk>", "\u2581", "\u2581a", "\u2581b", "Hello", "\u2581World", *"abcelodHW1234567", "123", "e\u0301"]
    core = Tokenizer(models.Unigram([(piece, -float(index + 1)) for index, piece in enumerate(pieces)], 0))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    return core


FAMILIES = {
    "byte-level": byte_level(300),
    "lower-cased": lower_cased(),
    "Llama 2": sentencepiece_like(),
    "Gemma": metaspace(
        ["\u2581", "\u2581\u2581", *"abcHelo", "\u2581a", "\u2581b", "He"], added=("\u2581\u2581", "\n")
    ),
    "WordPiece": wordpiece(),
    "Unigram": unigram(),
    "words": digits_in_threes(),
}
SPECS = {name: tokenizer_spec(tokenizer) for name, tokenizer in FAMILIES.items()}
PIECES = {name: sorted(Tokenizer.get_vocab(getattr(t, "backend_tokenizer", t))) for name, t in FAMILIES.items()}
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
SNIPPETS = [text[start:end] for text in (*PROBES.values(), "1234567", "<|x:1|>", "\uff11\uff12\uff13", "\u2581b", "\u0120b", "a|")
            for start in range(len(text)) for end in range(start + 1, len(text) + 1)]  # fmt: skip


@st.composite
def with_more(draw):
    """A tokenizer of some family, and the same with further added tokens: any texts, flags and places, known ones too."""
    name = draw(st.sampled_from(sorted(SPECS)))
    spec, more = SPECS[name], copy.deepcopy(SPECS[name])
    known = Tokenizer.get_vocab(getattr(FAMILIES[name], "backend_tokenizer", FAMILIES[name]))
    contents = st.one_of(st.sampled_from(SNIPPETS), st.sampled_from(PIECES[name]), st.text(min_size=1, max_size=3))
    for content in draw(st.lists(contents, min_size=1, max_size=3, unique=True)):
        flags = {flag: draw(st.booleans()) for flag in FLAGS}
        token = {"id": known.setdefault(content, len(known)), "content": content} | flags
        more["added_tokens"].append(token)
    for part in ("normalizer", "pre_tokenizer"):
        if draw(st.sampled_from([False] * 7 + [True])):
            del more[part]
    return spec, more


def encodes(spec):
    """Whether tokenizers can: it panics at letters of several bytes where a normalizer leaves nothing of an added token."""
    backend = Tokenizer.from_str(json.dumps(spec))
    try:
        for text in (DIGIT_PROBE, *PROBES.values()):
            backend.encode(text)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return False
    return True


def drop(spec, part):
    return spec, {key: value for key, value in spec.items() if key != part}


def added(name, content, index=None, **flags):
    spec = SPECS[name]
    token = dict.fromkeys(FLAGS, False) | {"id": index or len(read_vocabulary(spec)), "content": content} | flags
    return spec, spec | {"added_tokens": [*spec["added_tokens"], token]}


def known_id(name, content):
    return read_vocabulary(SPECS[name]).ids_of_piece[content][0]


@settings(max_examples=150, deadline=None)
@given(with_more())
@example(drop(SPECS["lower-cased"], "normalizer"))  # a part that is left out is one that differs
@example(added("lower-cased", "\uff11\uff12\uff13", normalized=False))  # no longer found in 1234567
@example(added("lower-cased", "\uff15\uff16", normalized=True))  # found in 1234567
@example(added("byte-level", "34"))
@example(added("Llama 2", "\u2581b", known_id("Llama 2", b" b"), special=True))  # stands for no text any more
@example(added("Unigram", "\u2581b", known_id("Unigram", b" b"), special=True))
def test_a_vocabulary_that_only_has_more_is_warned_of_as_if_all_were_compared(pair):
    assume(encodes(pair[1]))
    base, target = map(read_vocabulary, pair)
    found = align(target, base).warnings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_only_has_more", lambda *_: False)
        assert found == align(target, base).warnings


def test_tokens_that_are_in_no_probe_are_not_compared(monkeypatch):
    """The work that is saved: probes are encoded by neither vocabulary."""
    monkeypatch.setattr(alignment, "_other_rules", lambda *_: pytest.fail("compared"))
    for name in FAMILIES:
        base, target = map(read_vocabulary, added(name, "<|x:1|>", lstrip=True, special=True))
        assert align(target, base).warnings == ()
