import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokext.errors import VocabularyError
from hf_tokext.transplant.plan import SOURCES, make_plan
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.handmade import bpe, metaspace

BASE = read_vocabulary(bpe(["a", "b", "c", "ab"], special=("</s>", "<|im_end|>"), eos_token="</s>"))
TARGET = read_vocabulary(
    bpe(["b", "a", "ab", "abc", "d", "bc", "c"], special=("<|eot_id|>", "<|odd|>"), merges=[("a", "b"), ("ab", "c")])
)


def plan(base=BASE, target=TARGET, **options):
    return make_plan(base, target, **{"base_rows": len(base)} | options)


def test_every_decision_by_hand():
    """0 turn's end, 1 unknown marker, 2 b, 3 a, 4 ab, 5 abc, 6 d, 7 bc (no merge makes it), 8 c, 9 padding."""
    made = plan(rows=10)
    anchors = ["anchor"] * 3
    assert made.source == ("role", "fallback", *anchors, "compose", "fallback", "quiet", "anchor", "quiet")
    assert made.copied == {0: 1, 2: 3, 3: 2, 4: 5, 8: 4}
    assert made.spelled == {1: (), 5: (5, 4), 6: ()}
    assert (made.made, made.quiet, made.rows, made.method) == ([1, 5, 6], [7, 9], 10, "compose")
    assert made.counts == {"role": 1, "anchor": 4, "compose": 1, "fallback": 2, "quiet": 2}


words = st.lists(st.text("abc", min_size=1, max_size=3), unique=True, min_size=1, max_size=10)
specials = st.lists(st.sampled_from(["</s>", "<s>", "<pad>", "<|im_end|>", "<|odd|>"]), unique=True, max_size=4)


@settings(max_examples=80, deadline=None)
@given(old=words, new=words, old_special=specials, new_special=specials, padding=st.integers(0, 3), data=st.data())
def test_every_row_has_one_source_and_what_it_needs(old, new, old_special, new_special, padding, data):
    base, target = read_vocabulary(bpe(old, special=old_special)), read_vocabulary(bpe(new, special=new_special))
    chosen = data.draw(st.dictionaries(st.sampled_from(new), st.sampled_from(old), max_size=2))
    made = plan(base, target, rows=len(target) + padding, overrides=chosen, base_rows=len(base) + 2)
    assert len(made.source) == made.rows == len(target) + padding
    parts = [set(made.copied), set(made.spelled), set(made.quiet)]
    assert sum(map(len, parts)) == made.rows and set.union(*parts) == set(range(made.rows))
    assert sum(made.counts.values()) == made.rows
    for index, source in enumerate(made.source):
        if source == "anchor" and index < len(target):
            assert target.piece(index) == base.piece(made.copied[index])
        elif source == "compose":
            spelling = made.spelled[index]
            assert spelling and b"".join(base.piece(i) for i in spelling) == target.piece(index)
        elif source == "fallback":
            assert made.spelled[index] == ()
        elif source == "role":
            assert index in target.special and made.copied[index] in base.special
    assert all(made.source[target.ids_of_piece[text.encode()][0]] == "override" for text in chosen)


def test_an_override_comes_before_role_and_bytes():
    made = plan(overrides={"<|eot_id|>": "</s>", "b": "c", "<|odd|>": "cab"})
    assert [made.source[i] for i in (0, 1, 2)] == ["override"] * 3
    assert (made.copied[0], made.copied[2], made.spelled[1]) == (0, 4, (4, 5))
    assert 1 not in made.copied


def test_an_override_may_name_a_token_that_no_text_is_encoded_to():
    assert plan(overrides={"bc": "b"}).source[7] == "override"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"nothing": "a"}, "'nothing', which is no token of the new tokenizer"), ({"a": "xyz"}, "cannot spell 'xyz'")],
)
def test_an_override_that_names_nothing_is_refused(overrides, message):
    with pytest.raises(VocabularyError, match=message):
        plan(overrides=overrides)


def test_what_makes_rows_is_named_by_where_the_method_looks():
    sources = {name: plan(method=name).source[5] for name in ("compose", "mean", "zero", "omp", "ridge", "neighbours")}
    assert sources == {
        "compose": "compose", "mean": "compose", "zero": "compose",
        "omp": "approximate", "ridge": "approximate", "neighbours": "approximate",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "rows"), [({}, 9), ({"rows": 11}, 11), ({"multiple": 64}, 64), ({"rows": 65, "multiple": 64}, 128)]
)
def test_rows_are_the_ids_or_what_was_asked_rounded_up(options, rows):
    made = plan(**options)
    assert made.rows == rows and made.quiet == [7, *range(9, rows)]


def test_rows_that_cannot_be_are_refused():
    with pytest.raises(VocabularyError, match="8 rows are too few for a tokenizer whose ids end at 8"):
        plan(rows=8)
    with pytest.raises(VocabularyError, match="at least 1, not 0"):
        plan(multiple=0)
    with pytest.raises(VocabularyError, match="ids up to 5 but its embedding only 5 rows"):
        plan(base_rows=5)


def test_the_same_vocabulary_keeps_every_row_padding_too():
    made = plan(BASE, BASE, base_rows=8)
    assert made.rows == 8 and made.copied == {i: i for i in range(8)} and not made.spelled
    assert made.source == ("role", "role", *["anchor"] * 6)
    assert plan(BASE, BASE, base_rows=8, multiple=16).quiet == list(range(8, 16))
    assert plan(BASE, BASE, base_rows=8, rows=6).copied == {i: i for i in range(6)}


def test_counts_stand_in_the_order_of_decisions():
    made = plan(overrides={"a": "b"}, multiple=16)
    assert list(made.counts) == [source for source in SOURCES if source in made.counts]


def test_byte_tokens_of_letters_are_quiet_and_byte_tokens_of_other_bytes_are_made():
    target = read_vocabulary(metaspace(["▁", "a"], eos_token="</s>"))
    made = plan(target=target)
    assert made.source[3 + 0x61] == "quiet" and made.source[3 + 256 + 1] == "anchor"
    assert made.source[3 + 0x62] == "anchor" and made.copied[3 + 0x62] == 3
    assert made.source[3 + 0x7A] == "fallback"


def test_warnings_of_the_alignment_are_the_plans():
    (warning,) = plan(target=read_vocabulary(bpe([*"1234567", "12"]))).warnings
    assert "numbers are cut differently" in warning
