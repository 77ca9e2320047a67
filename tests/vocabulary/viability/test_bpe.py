"""The viable sequences of BPE tokenizers are the beginnings of encodings: by brute force over all short texts."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.vocabulary.pieces import CHARACTER_OF_BYTE, Vocabulary, read_vocabulary
from hf_tokext.vocabulary.viability.bpe import BpeViability
from hf_tokext.vocabulary.viability.families import viability_of
from tests.vocabulary.viability.bpe_tokenizers import MARK, byte_level, sentencepiece
from tests.vocabulary.viability.oracle import accepted, beginnings, encodings

AHEAD = 3  # characters that may have to follow before it shows that a sequence is the beginning of an encoding


def check(core: Tokenizer, alphabet: str, longest: int, ids: int, fixed=lambda text: True) -> tuple[int, int]:
    """Compare all sequences of up to `ids` ids with the encodings of all texts up to a length; count both."""
    vocabulary = read_vocabulary(core)
    viability = viability_of(vocabulary)
    assert isinstance(viability, BpeViability)

    def spelt(sequence) -> bytes:
        return b"".join(vocabulary.piece(index) for index in sequence)

    found = {}
    for text, sequence in encodings(core, alphabet, longest).items():
        if fixed(text) and spelt(sequence) in (text.encode(), viability.opening + text.encode()):
            found[text] = sequence
    wanted = {each for each in beginnings(found) if len(each) <= ids}
    whole = {each for each in found.values() if len(each) <= ids}
    ordinary = [index for index in vocabulary.ids if index not in vocabulary.special]
    got = accepted(viability, ids, ordinary)
    assert wanted <= got, [[vocabulary.piece(i) for i in each] for each in wanted - got]
    near = {each for each in got if len(spelt(each).decode(errors="replace")) <= longest - AHEAD}
    assert near <= wanted, [[vocabulary.piece(i) for i in each] for each in near - wanted]
    complete = {each for each in got if viability.complete(viability.read(each))}
    assert whole <= complete
    assert complete & near <= whole
    return len(near), len(wanted)


@pytest.mark.parametrize(
    ("cutter", "alphabet", "longest", "ids"),
    [
        ("none", "ab\u00e9", 7, 3),
        ("gpt2", "a '", 8, 3),
        ("gpt2", "s\n '", 7, 2),
        ("gpt2", "1! \u00e9", 7, 2),
        ("llama3", "a \n", 8, 3),
        ("llama3", "1 \n!", 7, 2),
        ("llama3", "e'r ", 7, 2),
        ("single digits", "1 a", 8, 3),
        ("digits from the right", "1a", 10, 3),
        ("several splits", "1!a ", 7, 2),
        ("punctuation", "a! ", 8, 3),
        ("gpt2 with prefix space", "a \n", 8, 3),
    ],
)
@pytest.mark.parametrize("ignore_merges", [False, True])
def test_byte_level(cutter, alphabet, longest, ids, ignore_merges):
    for seed in range(2):
        core = byte_level(cutter, alphabet, seed, ignore_merges=ignore_merges, unmerged=2)
        assert min(check(core, alphabet, longest, ids)) > 10


@pytest.mark.parametrize("added", [[("ab", False)], [("ab", False), ("ba", False)], [("a", False), ("abb", False)],
                                   [("ab", True), ("ba", False)], [("  ", False), ("b  a", True)]])  # fmt: skip
def test_added_tokens_that_overlap(added):
    for seed in range(3):
        assert min(check(byte_level("gpt2", "ab ", seed, added=added), "ab ", 8, 3)) > 10


@pytest.mark.parametrize("scheme", ["prepend", "gemma", "always", "first", "never"])
def test_byte_fallback(scheme):
    for missing in ("", "\u00e9", "\n\u4924"):
        alphabet = " b" + (missing or "\n")
        assert min(check(sentencepiece(scheme, alphabet, missing, len(missing)), alphabet, 7, 3)) > 10


def test_added_newlines_beside_byte_fallback():
    core = sentencepiece("gemma", " b\n", "", 0, added=[("\n\n", False), ("\n\n\n", False)])
    assert min(check(core, " b\n", 8, 3)) > 10


@pytest.mark.parametrize(
    "normalizer", [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.Lowercase()]
)
def test_texts_that_the_normalizer_changes_are_left_out(normalizer):
    alphabet = "eE\u0301\u0300\u00c8"
    core = byte_level("gpt2", alphabet, 1, normalizer=normalizer)
    vocabulary = read_vocabulary(core)
    viability = viability_of(vocabulary)
    for text, ids in encodings(core, alphabet, 4).items():
        if normalizer.normalize_str(text) == text:
            assert viability.complete(viability.read(ids))
        else:
            plain = byte_level("gpt2", alphabet, 1).encode(text).ids
            state, left = viability.start(), False
            for index in plain:
                if not viability.allowed(state)[index]:
                    left = True
                    break
                state = viability.advance(state, index)
            assert left, text


@pytest.mark.parametrize("accents", ["\u0301", "\u0301\u0316"])
def test_the_first_byte_of_an_accent_is_viable_if_one_stays_apart(accents):
    # U+0301 is composed with e and not with x, U+0316 with neither: what a byte that begins them may lead to hangs on
    # what stands before it.
    alphabet, normalizer = "ex" + accents, normalizers.NFC()
    for seed in range(2):
        core = byte_level("gpt2", alphabet, seed, normalizer=normalizer)
        near, wanted = check(core, alphabet, 6, 5, lambda text: normalizer.normalize_str(text) == text)
        assert wanted > near > 10


def test_added_runs_of_the_mark_are_tokens_of_the_model():
    # Gemma's: the raw text has spaces, so they are never matched there; the model gives the same id all the same.
    core = sentencepiece("gemma", " b", "", 3)
    run = json.loads(core.to_str())["model"]["vocab"][MARK * 2]
    core.add_tokens([AddedToken(MARK * 2, normalized=False)])
    ids = encodings(core, " b", 9)
    assert any(run in each for each in ids.values())
    viability = viability_of(read_vocabulary(core))
    wanted = {each for each in beginnings(ids) if len(each) <= 3}
    vocabulary = viability.vocabulary
    assert accepted(viability, 3, [index for index in vocabulary.ids if index not in vocabulary.special]) == wanted


def test_a_hypothesis_about_the_words_needs_tokens_that_fit():
    # After "x" one space stands alone only if a word follows it, and both letters there are take the space along.
    vocabulary = {"a": 0, "\u0120": 1, "\u0120a": 2, "\u0120\u0120": 3}
    core = Tokenizer(models.BPE(vocabulary, [("\u0120", "a"), ("\u0120", "\u0120")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    viability = viability_of(read_vocabulary(core))
    assert viability.allowed(viability.read([0, 1])).tolist() == [False, False, True, False]
    assert viability.complete(viability.read([0, 1]))


def test_special_tokens_stand_between_texts():
    core = byte_level("gpt2", "a ", 0)
    vocabulary = read_vocabulary(core)
    viability = viability_of(vocabulary)
    special = core.token_to_id("<s>")
    state = viability.start()
    assert viability.allowed(state)[special]
    assert viability.advance(state, special) == state
    with pytest.raises(ValueError, match="read-only"):
        viability.allowed(state)[0] = True


def test_unknown_tokens_are_never_viable():
    core = sentencepiece("gemma", "ab", "", 0)
    viability = viability_of(read_vocabulary(core))
    assert not viability.allowed(viability.start())[core.token_to_id("<unk>")]
    assert viability.allowed(viability.start())[core.token_to_id("<s>")]


def test_bytes_that_are_no_utf8_are_refused():
    core = Tokenizer(models.BPE({CHARACTER_OF_BYTE[byte]: index for index, byte in enumerate(b"\xc3\xa9a")}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    viability = viability_of(read_vocabulary(core))
    lead, end, letter = range(3)
    assert not viability.allowed(viability.start())[end]
    with pytest.raises(VocabularyError, match="at place 1: .* not viable"):
        viability.read([lead, letter])
    assert not viability.complete(viability.read([lead]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dropout": 0.1}, "dropout"),
        ({"end_of_word_suffix": "</w>"}, "end_of_word_suffix"),
        ({"continuing_subword_prefix": "##"}, "continuing_subword_prefix"),
    ],
)
def test_models_that_are_not_known(change, words):
    vocabulary = read_vocabulary(byte_level("none", "ab", 0))
    spec = vocabulary.spec | {"model": vocabulary.spec["model"] | change}
    changed = _with_spec(vocabulary, spec)
    with pytest.raises(UnsupportedModelError, match=f"{words}.*all_strings"):
        viability_of(changed)


def _with_spec(vocabulary: Vocabulary, spec: dict) -> Vocabulary:
    return Vocabulary(
        spec, vocabulary.kind, vocabulary.pieces, vocabulary.special, vocabulary.added, vocabulary.fallback
    )


def test_tokenizers_that_are_not_known():
    core = byte_level("none", "ab", 0)
    core.normalizer = normalizers.Strip()
    with pytest.raises(UnsupportedModelError, match="normalizer Strip.*all_strings"):
        viability_of(read_vocabulary(core))
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel()])
    with pytest.raises(UnsupportedModelError, match="leaves out part.*all_strings"):
        viability_of(read_vocabulary(core))
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(UnsupportedModelError, match="WordLevel.*all_strings"):
        viability_of(read_vocabulary(words))


def test_added_tokens_that_look_beside_them_are_refused():
    core = byte_level("none", "ab", 0)
    core.add_tokens([AddedToken("ab", single_word=True)])
    with pytest.raises(UnsupportedModelError, match="'ab' looks at what stands beside it"):
        viability_of(read_vocabulary(core))
