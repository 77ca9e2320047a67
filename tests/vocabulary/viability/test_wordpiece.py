import random
from itertools import product

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.vocabulary.pieces import read_vocabulary
from hf_tokext.vocabulary.viability.wordpiece import WordPieceViability
from tests.tokenizers import TEXT
from tests.vocabulary.viability.oracle import accepted_texts, beginnings, encodings


def wordpiece(strings, normalizer=None, cutter=None, **options):
    listed = dict.fromkeys(["[UNK]", *strings])
    core = Tokenizer(models.WordPiece({s: i for i, s in enumerate(listed)}, unk_token="[UNK]", **options))
    core.normalizer, core.pre_tokenizer = normalizer, cutter or pre_tokenizers.BertPreTokenizer()
    return core


def drawn(alphabet, longest, count, seed, always=()):
    every = ["".join(each) for size in range(1, longest + 1) for each in product(alphabet, repeat=size)]
    every += [f"##{each}" for each in every]
    random.Random(seed).shuffle(every)
    return [*always, *every[:count]]


def differences(core, alphabet, letters):
    """Where viability differs from the beginnings of the encodings of all texts up to so many letters.

    The ids of a text say nothing of its spaces, so that words are counted with one each.
    """
    vocabulary = read_vocabulary(core)
    viability = WordPieceViability(vocabulary)
    known = [ids for ids in encodings(core, alphabet, letters).values() if not set(ids) & set(vocabulary.special)]
    wanted = beginnings(dict(enumerate(known)))
    sizes = {index: letters_of(core, index) for index in vocabulary.ids if index not in vocabulary.special}
    kept = {*alphabet, *(letter for ids in wanted for index in ids for letter in core.id_to_token(index))}
    used = {index: size for index, size in sizes.items() if kept.issuperset(core.id_to_token(index).removeprefix("##"))}
    found = accepted_texts(viability, letters, used)
    return {
        "refused": [ids for ids in wanted if ids not in found and sum(sizes[index] for index in ids) <= letters],
        "accepted": [ids for ids in found if ids not in wanted],
        "not complete": [ids for ids, complete in found.items() if not complete],
    }


def letters_of(core, index):
    """Letters that a token takes of a text at most, the space before a word included."""
    string = core.id_to_token(index)
    return len(string) - 2 if string.startswith("##") and len(string) > 2 else len(string) + 1


NONE = {"refused": [], "accepted": [], "not complete": []}


@pytest.mark.parametrize("seed", range(6))
def test_the_longest_match_at_every_place_of_a_word(seed):
    core = wordpiece(drawn("ab", 4, 22, seed, ("a", "##a", "##b")))
    assert differences(core, "ab ", 7) == NONE


@pytest.mark.parametrize("seed", range(3))
def test_words_of_lower_case_and_of_no_accents(seed):
    strings = drawn("aé!A", 2, 22, seed, ("a", "!", "##a", "e", "##e", "##!"))
    core = wordpiece(strings, normalizers.BertNormalizer(lowercase=True))
    assert differences(core, "aAé! ", 6) == NONE


@pytest.mark.parametrize("seed", range(3))
def test_cased_words_and_characters_that_stand_alone(seed):
    strings = drawn("aA!中", 2, 22, seed, ("a", "!", "##a", "A", "中", "##中"))
    core = wordpiece(strings, normalizers.BertNormalizer(lowercase=False, strip_accents=False))
    assert differences(core, "aA!中 ", 6) == NONE


def test_words_of_any_characters_but_spaces():
    core = wordpiece(["a", "##a", "##a!", "##!", "!", "a!", "##!a", "a!!a"], cutter=pre_tokenizers.WhitespaceSplit())
    assert differences(core, "a! ", 7) == NONE


def test_a_word_that_is_spelt_as_what_continues_one_is_left_out():
    core = wordpiece(["a", "##a", "#", "###", "##!", "##a#"], cutter=pre_tokenizers.WhitespaceSplit())
    viability = WordPieceViability(read_vocabulary(core))
    literal = core.encode("##a").ids
    assert literal == [core.token_to_id("##a")]  # the word's own text is lost
    assert not viability.allowed(viability.start())[literal[0]]
    assert differences(core, "a# ", 6)["accepted"] == []


def test_no_word_is_longer_than_the_model_reads():
    core = wordpiece(["a", "##a", "##aa", "aaaaa"], max_input_chars_per_word=4)
    assert differences(core, "a ", 7) == NONE


def test_added_tokens_are_not_spelt_within_a_word():
    core = wordpiece(["a", "b", "##a", "##b", "##ab", "ab", "!"])
    core.add_tokens([AddedToken(each, normalized=False) for each in ("ba", "bab", "a!")])
    assert differences(core, "ab! ", 6) == NONE


def test_special_tokens_stand_anywhere_and_unknown_ones_nowhere():
    core = wordpiece(["a", "##a", "[unused0]"], normalizers.BertNormalizer())
    core.add_special_tokens(["[CLS]", "[UNK]"])
    vocabulary = read_vocabulary(core)
    viability = WordPieceViability(vocabulary)
    state = viability.read(core.encode("aa").ids)
    allowed = viability.allowed(state)
    assert [bool(allowed[core.token_to_id(each)]) for each in ("[CLS]", "[UNK]", "[unused0]", "a", "##a")] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert viability.advance(state, core.token_to_id("[CLS]")) == viability.start()
    assert not viability.allowed(viability.start())[core.token_to_id("##a")]


@pytest.mark.parametrize("letters, opening", [("ab", b" "), ("a!", b"")])
def test_the_text_opens_with_a_space_where_no_token_stands_alone(letters, opening):
    assert WordPieceViability(read_vocabulary(wordpiece(letters))).opening == opening


@pytest.mark.parametrize("lowercase, alphabet", [(True, "the "), (False, "he T")])
def test_a_trained_tokenizer(lowercase, alphabet):
    core = wordpiece([], normalizers.BertNormalizer(lowercase=lowercase))
    trainer = trainers.WordPieceTrainer(vocab_size=70, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    core.train_from_iterator([TEXT, "The cat, The dog!"], trainer)
    assert differences(core, alphabet, 6) == NONE


def test_words_that_hold_their_spaces_are_refused():
    core = wordpiece(["a"], cutter=pre_tokenizers.Punctuation())
    with pytest.raises(UnsupportedModelError, match="spaces"):
        WordPieceViability(read_vocabulary(core))
