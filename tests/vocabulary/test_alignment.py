import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from hf_tokext.vocabulary.alignment import align, digit_scheme
from hf_tokext.vocabulary.pieces import read_vocabulary
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
