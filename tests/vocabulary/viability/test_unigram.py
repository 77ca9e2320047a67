import random
from itertools import product

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.vocabulary.pieces import read_vocabulary
from hf_tokext.vocabulary.viability.unigram import UnigramViability
from hf_tokext.vocabulary.viability.utf8_beginnings import characters, size_of
from tests.tokenizers import TEXT
from tests.vocabulary.viability.oracle import accepted_texts, beginnings, encodings

TIES = [-1.0, -2.0, -3.0, -1.5, -0.1, -0.2, -0.3, -4.0]  # sums of tenths are equal or not by their rounding
BYTES = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
SPACE = pre_tokenizers.Metaspace


def unigram(strings, seed, scores=TIES, unk_id=0, byte_fallback=False, before=()):
    """A Unigram model with scores drawn from few values, so that many paths tie."""
    rng = random.Random(seed)
    scored = [(string, rng.choice(scores)) for string in strings]
    return Tokenizer(models.Unigram([("<unk>", 0.0), *before, *scored], unk_id, byte_fallback))


def drawn(alphabet, longest, count, seed, always=()):
    """Some of the strings over an alphabet."""
    every = ["".join(each) for size in range(1, longest + 1) for each in product(alphabet, repeat=size)]
    random.Random(seed).shuffle(every)
    return list(dict.fromkeys([*always, *every[:count]]))


def differences(core, alphabet, letters, short):
    """Where viability differs from the beginnings of the encodings of all texts that are given back, up to `letters`.

    Sequences are listed up to so many bytes that all their texts can be continued within `letters`; whether the whole
    is the encoding of a text is compared too.
    """
    vocabulary = read_vocabulary(core)
    viability = UnigramViability(vocabulary)
    known = {}
    for text, ids in encodings(core, alphabet, letters).items():
        if not set(ids) & set(vocabulary.special):
            spelt, own = b"".join(map(vocabulary.piece, ids)), text.encode()
            if spelt in (viability.opening + own, own) or (not ids and not text) or set(ids) & vocabulary.added:
                known[text] = ids
    wanted = beginnings(known)
    used = sorted({index for ids in known.values() for index in ids} | spellable(vocabulary, alphabet))
    found = accepted_texts(viability, short, {index: len(vocabulary.piece(index)) for index in used})
    whole = set(known.values())
    return {
        "refused": [ids for ids in wanted if ids not in found and not reads(viability, ids)],
        "accepted": [ids for ids in found if ids not in wanted],
        "completeness": [ids for ids, complete in found.items() if complete != (ids in whole)],
    }


def spellable(vocabulary, alphabet):
    """Ids of all tokens over the alphabet, byte-fallback tokens of its one-byte characters too."""
    kept = {*alphabet.encode()} | {0x20}
    return {i for i in vocabulary.ids if i not in vocabulary.special and set(vocabulary.piece(i)) <= kept}


def reads(viability, ids):
    try:
        viability.read(ids)
    except VocabularyError:
        return False
    return True


NONE = {"refused": [], "accepted": [], "completeness": []}


@pytest.mark.parametrize("seed", range(6))
def test_one_word(seed):
    core = unigram(drawn("abc", 3, 14, seed, "ab"), seed)
    assert differences(core, "abc", 7, 5) == NONE


@pytest.mark.parametrize("seed", range(4))
def test_without_an_unknown_token_words_with_an_unknown_character_have_no_encoding(seed):
    core = unigram(drawn("abc", 3, 14, seed, "abc"), seed, unk_id=None)
    assert differences(core, "abc", 7, 5) == NONE


def test_a_string_with_a_character_that_is_none_alone_needs_the_unknown_token():
    core = unigram(["a", "ab", "ba"], 0, unk_id=None)
    vocabulary = read_vocabulary(core)
    viability = UnigramViability(vocabulary)
    ids = vocabulary.ids_of_piece
    after_a = viability.allowed(viability.read(ids[b"a"]))
    assert core.encode("aab").ids == [*ids[b"a"], *ids[b"ab"]]  # "b" was never looked for alone
    assert after_a[ids[b"ab"][0]]
    with pytest.raises(Exception, match="unk"):
        core.encode("ba")  # here it is
    assert not viability.allowed(viability.start())[ids[b"ba"][0]]


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("seed", range(2))
def test_words_that_begin_with_the_mark(seed, scheme, split):
    core = unigram(drawn("ab▁", 3, 16, seed, "ab▁"), seed)
    core.pre_tokenizer = SPACE(prepend_scheme=scheme, split=split)
    assert differences(core, "ab ", 7, 5) == NONE


@pytest.mark.parametrize("seed", range(3))
def test_words_that_are_cut_at_spaces_and_punctuation(seed):
    core = unigram(drawn("a▁!", 3, 18, seed, "a▁!1"), seed)
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"), SPACE(prepend_scheme="first")]
    core.pre_tokenizer = pre_tokenizers.Sequence([steps[0], SPACE(prepend_scheme="always")])
    assert differences(core, "a1! \n", 5, 4) == NONE
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [SPACE(prepend_scheme="always"), steps[1], pre_tokenizers.Digits(individual_digits=True)]
    )
    assert differences(core, "a1! ", 5, 4) == NONE


@pytest.mark.parametrize("seed", range(3))
def test_normalizers_leave_the_texts_that_they_do_not_change(seed):
    core = unigram(drawn("a▁'A", 3, 18, seed, "a▁'A"), seed)
    core.pre_tokenizer = SPACE(prepend_scheme="always")
    core.normalizer = normalizers.Sequence(
        [
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Replace("''", '"'),
            normalizers.Lowercase(),
        ]
    )
    assert differences(core, "aA '", 6, 4) == NONE


@pytest.mark.parametrize("kind", [normalizers.NFC, normalizers.NFKC, normalizers.NFD])
def test_marks_that_combine_with_what_stands_before(kind):
    core = unigram(["a", "e", "▁", "é", "́", "̣", "á", "q́", "ẹ", "▁e"], 3)
    core.pre_tokenizer, core.normalizer = SPACE(prepend_scheme="always"), kind()
    assert differences(core, "qe \u0323\u0301é", 5, 5) == NONE


@pytest.mark.parametrize("seed", range(4))
def test_bytes_of_characters_that_are_no_string(seed):
    core = unigram(drawn("aé▁", 3, 12, seed, "a▁"), seed, byte_fallback=True, before=BYTES)
    core.pre_tokenizer = SPACE(prepend_scheme="always")
    assert differences(core, "a éè", 5, 5) == NONE


def test_of_the_bytes_only_those_that_spell_an_unknown_character():
    core = unigram(["a", "▁", "é"], 0, byte_fallback=True, before=BYTES)
    core.pre_tokenizer = SPACE(prepend_scheme="never")
    vocabulary = read_vocabulary(core)
    viability = UnigramViability(vocabulary)
    state = viability.read(core.encode("a").ids)
    byte_ids = {vocabulary.piece(i)[0]: i for i in vocabulary.fallback}
    for lead in range(256):
        able = lead not in b"a " and (lead < 0x80 or 0xC2 <= lead < 0xF5)
        assert viability.allowed(state)[byte_ids[lead]] == able
    after = viability.advance(state, byte_ids[0xC3])
    assert not viability.complete(after)
    allowed = set(np.flatnonzero(viability.allowed(after)).tolist())
    assert allowed == {byte_ids[byte] for byte in range(0x80, 0xC0)} - {byte_ids[0xA9]}


@pytest.mark.parametrize("scheme", ["always", "first"])
def test_added_tokens_are_never_spelt_by_others(scheme):
    core = unigram(drawn("ab▁", 2, 14, 5, "ab▁"), 5)
    core.pre_tokenizer = SPACE(prepend_scheme=scheme)
    core.add_tokens([AddedToken(each, normalized=False) for each in ("ba", "bab", "aab")])
    assert differences(core, "ab ", 7, 5) == NONE


def test_special_tokens_stand_where_a_text_may_end_and_open_a_new_one():
    core = unigram(["a", "▁", "▁a", "<", "s", ">", "<s"], 1)
    core.pre_tokenizer = SPACE(prepend_scheme="always")
    core.add_special_tokens(["<s>"])
    vocabulary = read_vocabulary(core)
    viability = UnigramViability(vocabulary)
    special = core.token_to_id("<s>")
    state = viability.read(core.encode("a<s").ids)
    assert viability.allowed(state)[special] and not viability.allowed(state)[core.token_to_id(">")]
    assert not viability.allowed(state)[core.token_to_id("<unk>")]
    assert viability.advance(state, special) == viability.start()
    with pytest.raises(VocabularyError, match="at place 1: id 1000000 is not viable"):
        viability.read([core.token_to_id("▁a"), 10**6])


def trained():
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = SPACE()
    core.normalizer = normalizers.NFKC()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    core.train_from_iterator([TEXT], trainer)
    return core


def test_a_trained_tokenizer():
    assert differences(trained(), "the ", 6, 5) == NONE


def test_long_words_of_a_trained_tokenizer_and_their_neighbours():
    core = trained()
    vocabulary = read_vocabulary(core)
    viability = UnigramViability(vocabulary)
    rng = random.Random(0)
    letters = "thecasonmdgl "
    for _ in range(60):
        text = "".join(rng.choice(letters) for _ in range(60)).strip()
        text = " ".join(text.split())
        ids = core.encode(text, add_special_tokens=False).ids
        place = rng.randrange(1, len(ids))
        allowed = viability.allowed(viability.read(ids[:place]))
        for index in vocabulary.ids_of_piece.values():
            read = [*ids[:place], *index]
            spelt = b"".join(map(vocabulary.piece, read)).decode().removeprefix(" ")
            assert allowed[index[0]] == (core.encode(spelt, add_special_tokens=False).ids == read)


def test_rules_that_look_further_are_refused():
    core = unigram(["a"], 0)
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"a(?=bc)"), "isolated")
    with pytest.raises(UnsupportedModelError, match="pre_tokenizer Split"):
        UnigramViability(read_vocabulary(core))
    core.pre_tokenizer, core.normalizer = None, normalizers.Replace("abc", "b")
    with pytest.raises(UnsupportedModelError, match="normalizer Replace"):
        UnigramViability(read_vocabulary(core))
    core.normalizer = None
    core.add_tokens([AddedToken("bc", single_word=True)])
    with pytest.raises(UnsupportedModelError, match="'bc'"):
        UnigramViability(read_vocabulary(core))


def test_characters_by_the_beginning_of_their_bytes():
    every = [(point, chr(point).encode()) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for beginning in (
        b"a",
        b"\xc3",
        b"\xe0",
        b"\xed",
        b"\xe2\x96",
        b"\xf0\x9f\x98",
        b"\xf4",
        "é".encode(),
        b"\xe0\x80",
        b"\xc0",
    ):
        wanted = [point for point, spelt in every if spelt.startswith(beginning)]
        assert [point for part in characters(beginning) for point in part] == wanted
    assert [size_of(lead) for lead in (0x61, 0x80, 0xC1, 0xC3, 0xE2, 0xF0, 0xF5)] == [1, 0, 0, 2, 3, 4, 0]
