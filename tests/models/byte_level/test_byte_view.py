from functools import cache

import numpy as np
import pytest

from hf_tokext.errors import TextError
from hf_tokext.models.byte_level import covers as covers_module
from hf_tokext.models.byte_level import guesses, passage
from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.contexts import TokenForest, TokenRunner
from hf_tokext.models.byte_level.measures import AllStrings, Canonical
from hf_tokext.models.byte_level.score import score_bytes
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import Enumeration, tiny_llama
from tests.vocabulary.viability.oracle import beginnings, encodings

TEXTS = {
    "plain": (small.plain, [b"", b"a", b"ab", b"abc", b"aabca", b"cba"]),
    "regex": (small.regex, [b"", b"\n\na", b"\n\n\n", b" a a", b"  a"]),
    "whole_words": (small.whole_words, [b"", b"aab", b" aab", b"aaba"]),
    "characters": (small.characters, [b"", "aé".encode(), b"a\xc3", b"\xa9\xc3a", b"\xc3\xc3"]),
    "added": (small.added, [b"", b"abc", b"bca", b"abcab"]),
    "fallback": (small.fallback, [b"", b"a", b" a", b"ab", b"a b", b"\xc3\xa9a", b" "]),
    "unigram": (small.unigram, [b"", b"a", b" a", b"ab", b"a b", b"\xc3\xa9a", b" "]),
    "opened_once": (small.opened_once, [b"", b"a", b" a", b"  a", b"ab", b"a b", b" "]),
    "wordpiece": (small.wordpiece, [b"", b"a", b"ab", b"abba", b"a b", b"ab!", b"b a"]),
}
CASES = [pytest.param(make, text, id=f"{name}-{text!r}") for name, (make, texts) in TEXTS.items() for text in texts]
LONGEST = {2: 9, 3: 9, 4: 7}  # letters of the texts that are enumerated, by the size of the alphabet
SPACED = {small.fallback, small.unigram, small.opened_once, small.wordpiece}
LETTERS = {
    small.plain: "abc", small.regex: "a\n ", small.whole_words: "ab ", small.characters: "aé", small.added: "abc",
    small.fallback: "abé ", small.unigram: "abé ", small.opened_once: "ab ", small.wordpiece: "ab! ",
}  # fmt: skip


def enumeration(make, model, tokenizer, **options) -> Enumeration:
    return Enumeration(model, tokenizer, (tokenizer.bos_token_id,), make in SPACED, **options)


@pytest.mark.parametrize(("make", "text"), CASES)
def test_all_strings_equal_enumeration(make, text):
    tokenizer = make()
    model = tiny_llama(len(tokenizer))
    view = ByteView(model, tokenizer, tolerance=0)
    exact = enumeration(make, model, tokenizer)
    (covers,) = view.texts(1)
    (reading,) = view.read([covers], [text])
    np.testing.assert_allclose(np.exp(reading.log_probabilities.sum()), exact.probability(text), rtol=1e-12)
    np.testing.assert_allclose(np.exp(covers.events()), exact.events(text), atol=1e-12)
    assert np.exp(covers.events()).sum() == pytest.approx(1, abs=1e-12)
    assert not reading.dropped.any()


@pytest.mark.parametrize(("make", "text"), CASES)
def test_byte_by_byte_equals_at_once(make, text):
    tokenizer = make()
    model = tiny_llama(len(tokenizer))
    view = ByteView(model, tokenizer, tolerance=0)
    whole, single = view.texts(2)
    (reading,) = view.read([whole], [text], every=True)
    view.read([single], [b""])
    steps = [view.read([single], [[byte]], every=True)[0] for byte in text]
    found = np.array([float(step.log_probabilities[0]) for step in steps])
    np.testing.assert_allclose(found, reading.log_probabilities, atol=1e-12)
    for step, events in zip(steps, reading.events if text else [], strict=True):
        np.testing.assert_allclose(np.exp(step.events[0]), np.exp(events), atol=1e-12)
    np.testing.assert_allclose(np.exp(single.events()), np.exp(whole.events()), atol=1e-12)


@cache
def viable(make) -> set[tuple[int, ...]]:
    """Beginnings of the encodings of all texts over the letters."""
    return beginnings(encodings(make().backend_tokenizer, LETTERS[make], LONGEST[len(LETTERS[make])]))


@cache
def whole(make) -> set[tuple[int, ...]]:
    """The encodings."""
    return set(encodings(make().backend_tokenizer, LETTERS[make], LONGEST[len(LETTERS[make])]).values())


CANONICAL = [
    pytest.param(make, text, id=f"{name}-{text!r}")
    for name, (make, texts) in TEXTS.items()
    for text in texts
    if set(text.decode(errors="replace")) <= set(LETTERS[make]) and len(text) < 6
]


@pytest.mark.parametrize(("make", "text"), CANONICAL)
def test_canonical_equals_enumeration(make, text):
    """Every row of the model is kept to ids that some text's encoding goes on with."""
    tokenizer = make()
    model = tiny_llama(len(tokenizer))
    special = sorted(read_vocabulary(tokenizer).special)
    unknown = "<unk>" if "<unk>" in tokenizer.get_vocab() else None

    def allowed(ids):
        kept = np.array([(*ids, index) in viable(make) for index in range(len(tokenizer))])
        kept[special] = ids in whole(make)
        if unknown is not None:
            kept[tokenizer.convert_tokens_to_ids(unknown)] = False  # it stands for text that the tokenizer cannot spell
        return kept

    view = ByteView(model, tokenizer, "canonical", tolerance=0)
    exact = enumeration(make, model, tokenizer, allowed=allowed)
    (covers,) = view.texts(1)
    (reading,) = view.read([covers], [text])
    np.testing.assert_allclose(np.exp(reading.log_probabilities.sum()), exact.probability(text), rtol=1e-12)
    np.testing.assert_allclose(np.exp(covers.events()), exact.events(text), atol=1e-12)
    (covers,) = view.texts(1)
    (reading,) = view.read([covers], [text], whole=True)
    np.testing.assert_allclose(np.exp(reading.log_probabilities.sum()), exact.probability(text), rtol=1e-12)
    np.testing.assert_allclose(np.exp(covers.events()), exact.events(text), atol=1e-12)


@pytest.mark.parametrize("text", [b"\xc3\xc3", b"a\xa9"])
def test_invalid_utf8_is_no_canonical_text(text):
    tokenizer = small.characters()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, "canonical", tolerance=0)
    (reading,) = view.read(view.texts(1), [text])
    assert reading.log_probabilities[-1] == -np.inf


def test_runs_packed_and_equals_plain_sequences():
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer))
    packed = ByteView(model, tokenizer, tolerance=0)
    assert isinstance(packed.runner, TokenForest)
    plain = ByteView(model, tokenizer, tolerance=0, runner=TokenRunner(model))
    text = b"abcaabbcaabcabc"
    (one,), (other,) = (view.read(view.texts(1), [text], every=True) for view in (packed, plain))
    np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-10)
    np.testing.assert_allclose(np.exp(one.events), np.exp(other.events), atol=1e-12)
    assert packed.runner.forwards < plain.runner.forwards / 4


def test_batch_equals_single():
    tokenizer = small.fallback()
    model = tiny_llama(len(tokenizer))
    view = ByteView(model, tokenizer, tolerance=0)
    texts = [b"a b", b"", b"abababa", b"\xc3\xa9"]
    together = view.texts(len(texts))
    readings = view.read(together, texts)
    for text, covers, reading in zip(texts, together, readings, strict=True):
        (alone,) = view.texts(1)
        (single,) = view.read([alone], [text])
        np.testing.assert_allclose(reading.log_probabilities, single.log_probabilities, atol=1e-12)
        np.testing.assert_allclose(np.exp(covers.events()), np.exp(alone.events()), atol=1e-12)


def test_a_fork_goes_on_by_itself():
    tokenizer = small.plain()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, tolerance=0)
    (trunk,) = view.texts(1)
    view.read([trunk], [b"ab"])
    before = trunk.events()
    branch = trunk.fork()
    view.read([branch], [b"cab"])
    np.testing.assert_array_equal(trunk.events(), before)
    view.read([trunk], [b"aa"])
    for covers, text in ((branch, b"abcab"), (trunk, b"abaa")):
        (again,) = view.texts(1)
        view.read([again], [text])
        np.testing.assert_allclose(np.exp(covers.events()), np.exp(again.events()), atol=1e-12)


@pytest.mark.parametrize("make", [small.plain, small.fallback])
def test_markers_begin_a_new_text(make):
    """What stands before a marker is whole tokens; the sum goes over all ways to spell it."""
    tokenizer = make()
    model = tiny_llama(len(tokenizer))
    view = ByteView(model, tokenizer, tolerance=0)
    exact = enumeration(make, model, tokenizer)
    marker = 256 + exact.special.index(tokenizer.eos_token_id)
    (covers,) = view.texts(1)
    (reading,) = view.read([covers], [[*b"ab", marker, *b"a"]])
    assert np.exp(reading.log_probabilities[:3].sum()) == pytest.approx(exact.ends(b"ab")[tokenizer.eos_token_id])
    total = 0.0
    for ids, spelt, chance in list(exact.strings(b"ab")):
        if exact.text(spelt) == b"ab":
            opening = (tokenizer.bos_token_id, *ids, tokenizer.eos_token_id)
            after = Enumeration(model, tokenizer, opening, make in SPACED)
            total += chance * exact.row(ids)[tokenizer.eos_token_id] * after.probability(b"a")
    assert np.exp(reading.log_probabilities.sum()) == pytest.approx(total, rel=1e-12)


def test_a_text_may_name_its_first_marker_itself():
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer))
    view = ByteView(model, tokenizer, tolerance=0)
    first, second = view.texts(2)
    marker = 256 + sorted(read_vocabulary(tokenizer).special).index(tokenizer.bos_token_id)
    named, opened = view.read([first, second], [[marker, *b"abc"], list(b"abc")])
    np.testing.assert_allclose(named.log_probabilities, [0, *opened.log_probabilities], atol=1e-12)


def test_dropping_is_reported_and_bounded():
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer))
    text = b"abcabcaabcab"
    exact = enumeration(small.plain, model, tokenizer).probability(text)
    view = ByteView(model, tokenizer, tolerance=0.05)
    (reading,) = view.read(view.texts(1), [text])
    assert reading.dropped.sum() > 0
    assert np.exp(reading.log_probabilities.sum()) == pytest.approx(exact, rel=reading.dropped.sum() * 2)


def test_a_dropped_path_is_taken_up_again_where_no_other_is_left():
    """With half of all probability dropped, some bytes are left without a path."""
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer), seed=3)
    view = ByteView(model, tokenizer, tolerance=0.9)
    for text in (b"abcabcaabcab", b"cccccc", b"bbbabababab"):
        (whole,) = view.read(view.texts(1), [text])
        assert np.isfinite(whole.log_probabilities).all()
        (covers,) = view.texts(1)
        steps = [view.read([covers], [[byte]])[0].log_probabilities[0] for byte in text]
        assert np.isfinite(steps).all()


@pytest.mark.parametrize("stepped", [False, True])
def test_a_marker_may_follow_a_text_that_few_texts_end_as(stepped):
    """The way to end inside a token is dropped while bytes are read, and taken up again for the marker."""
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer))
    marker = 256 + sorted(read_vocabulary(tokenizer).special).index(tokenizer.eos_token_id)
    taken_up = 0
    for text in (b"a", b"ab", b"abcabcaabcab", b"bbbabababab"):
        found = []
        for tolerance in (0, 0.2):
            view = ByteView(model, tokenizer, tolerance=tolerance)
            (covers,) = view.texts(1)
            for part in [[byte] for byte in text] if stepped else [list(text)]:
                view.read([covers], [part])
            ended = any(head.end == len(text) for head in covers.heads)
            before = view.runner.forwards
            (reading,) = view.read([covers], [[marker]])
            found.append(float(reading.log_probabilities[0]))
            taken_up += not ended and view.runner.forwards > before + 1  # one is what follows the marker
        assert found[1] == pytest.approx(found[0], abs=1)
    assert taken_up


@pytest.mark.parametrize(("seed", "tolerance"), [(1, 0.6), (2, 0.3)])
def test_few_dropped_paths_are_tried_again(seed, tolerance):
    """Those with the largest share come first, not those of the shortest texts, which are likelier."""
    tokenizer = small.plain()
    view = ByteView(tiny_llama(len(tokenizer), seed), tokenizer, tolerance=tolerance)
    (covers,) = view.texts(1)
    text = b"abcabcaabcabaacbbabcacbcbabcabcaabbca"
    steps = [view.read([covers], [[byte]])[0].log_probabilities[0] for byte in text]
    assert np.isfinite(steps).all()
    assert view.runner.tokens < 5 * len(text)


def test_a_text_of_no_probability_is_never_a_number():
    tokenizer = small.characters()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, "canonical", tolerance=0)
    (covers,) = view.texts(1)
    (reading,) = view.read([covers], [b"a\xa9"], every=True)
    assert np.isneginf(reading.log_probabilities).any() and np.isneginf(reading.events[-1]).all()
    assert not covers.heads and np.isneginf(covers.events()).all()


def test_an_opening_space_that_was_dropped_is_taken_up_again():
    tokenizer = small.unigram()
    view = ByteView(tiny_llama(len(tokenizer), 1), tokenizer, "canonical", tolerance=1e-3)
    (reading,) = view.read(view.texts(1), [b"b"])
    assert np.isfinite(reading.log_probabilities).all()


@pytest.mark.parametrize("tolerance", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_some_path_is_left_at_every_place(seed, tolerance):
    """However much is dropped, each byte of a possible text keeps a head that leads to it."""
    tokenizer = small.plain()
    view = ByteView(tiny_llama(len(tokenizer), seed), tokenizer, tolerance=tolerance)
    for text in (b"abcabcaabcab", b"bbbabababab", b"aaaaaaaaaaaaaaaa"):
        (covers,) = view.texts(1)
        (reading,) = view.read([covers], [text], every=True)
        assert np.isfinite(reading.log_probabilities).all() and covers.heads
        np.testing.assert_allclose(np.exp(reading.events).sum(1), 1, atol=1e-9)


def test_a_byte_that_no_token_has_costs_nothing():
    tokenizer = small.unigram()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, tolerance=0.3)
    (covers,) = view.texts(1)
    view.read([covers], [b"ab" * 20])
    before = view.runner.tokens
    (reading,) = view.read([covers], [b"\xff"])
    assert np.isneginf(reading.log_probabilities[0]) and view.runner.tokens == before
    view.read([covers], [b"a"])
    assert view.runner.tokens == before


def test_paths_are_taken_up_again_in_few_passes():
    """A byte that no canonical text goes on with: all that was dropped is in vain, but not one pass after another."""
    tokenizer = small.characters()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, "canonical", tolerance=0.2)
    (covers,) = view.texts(1)
    view.read([covers], ["aé".encode() * 30])
    before = view.runner.forwards
    (reading,) = view.read([covers], [b"\xa9"])
    assert np.isneginf(reading.log_probabilities[0]) and view.runner.forwards - before <= 8


@pytest.mark.parametrize("make", [small.fallback, small.unigram, small.wordpiece])
def test_what_is_guessed_fits_what_stands_before(make):
    """The tokenizer's own spelling, run first, gives a later byte by byte reading nothing to do and changes no number."""
    tokenizer = make()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, tolerance=0)
    for text in (b"aabbabaab", b" a b a b a", b"bbbbbbbbb"):
        whole, single = view.texts(2)
        (reading,) = view.read([whole], [text])
        found = [float(view.read([single], [[byte]])[0].log_probabilities[0]) for byte in text]
        np.testing.assert_allclose(found, reading.log_probabilities, atol=1e-12)


def test_guesses_after_a_marker_follow_no_opening_space():
    """A tokenizer that opens only the first text with a space spells what follows a marker without one."""
    tokenizer = small.opened_once()
    for tolerance in (0, 1e-3):
        view = ByteView(tiny_llama(len(tokenizer)), tokenizer, tolerance=tolerance)
        marker = 256 + view.base.marker_texts.index("</s>")
        whole, single = view.texts(2)
        text = b"  aabbab"
        (reading,) = view.read([whole], [[97, marker, *text]])
        view.read([single], [[97, marker]])
        found = [float(view.read([single], [[byte]])[0].log_probabilities[0]) for byte in text]
        np.testing.assert_allclose(found, reading.log_probabilities[2:], atol=1e-12 if tolerance == 0 else 0.02)


def test_more_spellings_than_memory_has_room_for_are_refused(monkeypatch):
    tokenizer = small.plain()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, tolerance=0)
    monkeypatch.setattr(passage, "MOST_NUMBERS", 20 * len(view.base.trie.order))
    (covers,) = view.texts(1)
    with pytest.raises(TextError, match="more than 20 token sequences spell .*set a larger tolerance"):
        view.read([covers], [b"abcabcaabcabcab"])
    monkeypatch.undo()
    (reading,) = view.read([covers], [b"abcabcaabc"])  # nothing of it was kept half
    fresh = view.read(view.texts(1), [b"abcabcaabc"])[0]
    np.testing.assert_allclose(reading.log_probabilities, fresh.log_probabilities, atol=1e-12)


def test_a_likely_end_after_a_text_that_was_pruned():
    """Heads that are dropped at a place count there for a marker, however small the share that they were given."""
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer), seed=1)
    marker = 256 + sorted(read_vocabulary(tokenizer).special).index(tokenizer.eos_token_id)
    found = []
    for tolerance in (0, 5e-3):
        view = ByteView(model, tokenizer, tolerance=tolerance)
        (covers,) = view.texts(1)
        view.read([covers], [b"abcaab"])
        found.append(float(view.read([covers], [[marker]])[0].log_probabilities[0]))
    assert found[0] == pytest.approx(-5.155, abs=1e-3) and found[1] == pytest.approx(found[0], abs=0.05)


@pytest.fixture
def short_passages(monkeypatch):
    for measure in (AllStrings, Canonical):
        monkeypatch.setattr(measure, "passage", 5)
    monkeypatch.setattr(covers_module, "MARGIN", 1)


def drawn(make, seed, size):
    """A tokenizer, a model for it, a text of its letters, and the event of </s>."""
    tokenizer = make()
    letters = LETTERS.get(make, "ab ").encode()
    text = bytes(np.random.default_rng(seed).choice(list(letters), size)).decode("utf-8", "ignore").encode()
    marker = 256 + BaseTokens(tokenizer).marker_texts.index("</s>")
    return tokenizer, tiny_llama(len(tokenizer)), text, marker


@pytest.mark.parametrize("make", [*LETTERS, small.opened_once])
def test_passages_change_nothing(make, short_passages):
    tokenizer, model, text, marker = drawn(make, seed=3, size=19)
    view = ByteView(model, tokenizer, tolerance=0)
    for events in (list(text), [*text[:7], marker, *text]):
        whole, single = view.texts(2)
        (reading,) = view.read([whole], [events], every=True)
        found = [float(view.read([single], [[event]])[0].log_probabilities[0]) for event in events]
        np.testing.assert_allclose(found, reading.log_probabilities, atol=1e-12)
        np.testing.assert_allclose(np.exp(single.events()), np.exp(reading.events[-1]), atol=1e-12)


@pytest.mark.parametrize("make", [*LETTERS, small.opened_once])
def test_the_whole_alone_is_the_same(make, short_passages):
    """Read in passages, with markers in between, from what no text is, and at tolerances."""
    tokenizer, model, text, marker = drawn(make, seed=4, size=23)
    view = ByteView(model, tokenizer, "canonical", tolerance=0)
    for events in (list(text), [*text[:7], marker, *text], [*text, 0xC3, 0xC3]):
        each, whole = view.texts(2)
        sums = [
            float(view.read([covers], [events], whole=only)[0].log_probabilities.sum())
            for covers, only in ((each, False), (whole, True))
        ]
        assert sums[1] == pytest.approx(sums[0], abs=1e-12)
        np.testing.assert_allclose(np.exp(whole.events()), np.exp(each.events()), atol=1e-12)


def test_the_whole_alone_takes_the_tokens_of_the_text():
    tokenizer = small.plain()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, "canonical", tolerance=1e-4)
    text = b"abcabcaabcabcabbcabcaabcabcaabc" * 3
    tokens = []
    for only in (False, True):
        before = view.runner.tokens
        view.read(view.texts(1), [text], whole=only)
        tokens.append(view.runner.tokens - before)
    assert tokens[1] < len(tokenizer(text.decode()).input_ids) + 20 and 2 * tokens[1] < tokens[0], tokens


@pytest.mark.parametrize(("whole", "passes"), [(False, 2), (True, 1)])
def test_behind_a_prompt_that_ends_inside_a_token_its_spelling_goes_on(whole, passes):
    tokenizer = small.plain()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer, "canonical", tolerance=1e-3)
    text = b"abcabcaabcabcabbcabcaabcabcaabc" * 2
    for start in range(30):
        covers = view.texts(1)
        view.read(covers, [text[:start]])
        before = view.runner.forwards
        view.read(covers, [text[start:]], whole=whole)
        assert view.runner.forwards - before == passes, start


def test_scores_without_those_of_the_bytes():
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer))
    texts = ["abcaab", "ccab" * 5]
    for measure in ("canonical", "all_strings"):
        exact = score_bytes(model, texts, tokenizer, measure=measure, tolerance=0)
        short = score_bytes(model, texts, tokenizer, measure=measure, tolerance=0, per_byte=False)
        for one, other in zip(exact, short, strict=True):
            assert one.log_probability == pytest.approx(float(one.log_probabilities.sum()))
            assert other.log_probabilities is None and other.bytes == len(one.log_probabilities)
            assert other.log_probability == pytest.approx(one.log_probability, abs=1e-10)
            assert other.bits_per_byte == pytest.approx(one.bits_per_byte, abs=1e-10)


def test_passages_begin_with_the_tokenizers_own_spelling(monkeypatch):
    """Run ahead, it leaves a few passes for each passage, not one for each token."""
    monkeypatch.setattr(Canonical, "passage", 24)
    monkeypatch.setattr(covers_module, "MARGIN", 4)
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer))
    text = b"abcabcaabcabcabbcabcaabcabcaabc" * 2
    passes = []
    for least in (1, 1000):
        monkeypatch.setattr(guesses, "GUESSED", least)
        view = ByteView(model, tokenizer, "canonical", tolerance=1e-3)
        view.read(view.texts(1), [text])
        passes.append(view.runner.forwards)
    assert passes[0] < 0.6 * passes[1], passes


def test_what_is_run_ahead_keeps_to_the_context():
    """A text that just fits is read, though a guess at what comes next would not."""
    tokenizer = small.plain()

    def read(context, **known):
        model = tiny_llama(len(tokenizer), seed=3, max_position_embeddings=context)
        view = ByteView(model, tokenizer, "all_strings", tolerance=0.05)
        (covers,) = view.texts(1)
        vars(covers).update(known)
        return [float(view.read([covers], [[byte]])[0].log_probabilities[0]) for byte in b"abbaabbcabb"]

    assert read(8) == read(64)
    with pytest.raises(TextError, match="longer than the model's context"):
        read(8, longest=None)


@pytest.mark.parametrize("opened", [False, True])
def test_after_an_error_texts_are_as_they_were(opened, short_passages):
    tokenizer = small.plain()
    view = ByteView(tiny_llama(len(tokenizer)), tokenizer)
    first, second = view.texts(2)
    if opened:
        view.read([first, second], [b"ab", b"ab"])
    with pytest.raises(TextError, match="longer than the model's context"):
        view.read([first, second], [b"cabcab", b"abc" * 200])
    for covers in (first, second):
        (again,) = view.read([covers], [b"cab"])
        (fresh,) = view.texts(1)
        if opened:
            view.read([fresh], [b"ab"])
        expected = view.read([fresh], [b"cab"])[0]
        np.testing.assert_allclose(again.log_probabilities, expected.log_probabilities, atol=1e-12)


def test_what_is_dropped_at_the_opening_is_reported():
    tokenizer = small.fallback()
    model = tiny_llama(len(tokenizer))
    exact, found = (score_bytes(model, b"b", tokenizer, tolerance=tolerance)[0] for tolerance in (0, 0.3))
    lost = exact.log_probabilities.sum() - found.log_probabilities.sum()
    assert lost > 0.1 and found.dropped > 0.05 and exact.dropped == 0
