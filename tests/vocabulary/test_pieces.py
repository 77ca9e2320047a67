import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.alignment import align, digit_scheme
from hf_tokext.vocabulary.pieces import read_vocabulary
from hf_tokext.vocabulary.roles import map_roles, roles
from hf_tokext.vocabulary.spelling import Speller
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

BYTE_LEVEL = byte_level(300)
SENTENCEPIECE = sentencepiece_like()


def test_lone_byte_symbol_is_a_byte_and_never_the_character_it_looks_like():
    """mergekit matched "ñ" (the symbol of byte F1) to SentencePiece's character ñ (bytes C3 B1)."""
    vocabulary = read_vocabulary(BYTE_LEVEL)
    assert vocabulary.piece(BYTE_LEVEL.convert_tokens_to_ids("ñ")) == b"\xf1"
    partner = read_vocabulary(SENTENCEPIECE).ids_of_piece[b"\xf1"]
    assert SENTENCEPIECE.convert_ids_to_tokens(partner) == ["<0xF1>"]


def test_real_token_outranks_byte_fallback_and_the_loser_is_unreachable():
    vocabulary = read_vocabulary(SENTENCEPIECE)
    real, fallback = (SENTENCEPIECE.convert_tokens_to_ids(token) for token in ("a", "<0x61>"))
    assert vocabulary.ids_of_piece[b"a"] == (real, fallback)
    unreachable = Speller(vocabulary).unreachable()
    assert fallback in unreachable and real not in unreachable
    assert SENTENCEPIECE.convert_tokens_to_ids("<0x41>") not in unreachable  # no token A


def test_spaces_match_across_encodings():
    anchors = align(read_vocabulary(SENTENCEPIECE), read_vocabulary(BYTE_LEVEL)).anchors
    assert BYTE_LEVEL.convert_ids_to_tokens(anchors[SENTENCEPIECE.convert_tokens_to_ids("▁the")]) == "Ġthe"
    assert BYTE_LEVEL.convert_ids_to_tokens(anchors[SENTENCEPIECE.convert_tokens_to_ids("<0x0A>")]) == "Ċ"


def test_added_tokens_that_are_not_special_are_literal():
    core = Tokenizer(models.BPE({"▁": 0, "a": 1}, [], byte_fallback=True))
    core.decoder = decoders.Replace("▁", " ")
    core.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁x", normalized=False)])
    vocabulary = read_vocabulary(core)
    assert [vocabulary.piece(i) for i in range(4)] == [b" ", b"a", b"\n\n", "▁x".encode()]


def test_an_added_token_that_the_model_has_too_is_what_the_model_makes_of_text():
    """Gemma lists its runs of spaces among the added tokens: no text has the mark, but the model gives these ids."""
    core = Tokenizer(models.BPE({"▁": 0, "a": 1, "▁▁": 2}, [("▁", "▁")]))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Replace("▁", " ")
    core.add_tokens([AddedToken("▁▁", normalized=False)])
    vocabulary = read_vocabulary(core)
    ids = core.encode("a  a").ids
    assert ids == [1, 2, 1]
    assert b"".join(vocabulary.piece(index) for index in ids) == b"a  a"


def test_wordpiece_and_unigram():
    wordpiece = Tokenizer(models.WordPiece({"[UNK]": 0, "cat": 1, "##s": 2, ",": 3}, unk_token="[UNK]"))
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vocabulary = read_vocabulary(wordpiece)
    assert [vocabulary.piece(i) for i in range(1, 4)] == [b" cat", b"s", b","] and 0 in vocabulary.special
    assert Speller(vocabulary).spell([b" cats", b"dog"]) == [(1, 2), ()]
    unigram = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("▁ab", -1.0), ("▁", -2.0), ("a", -3.0), ("b", -3.0)], unk_id=0)
    )
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    assert read_vocabulary(unigram).piece(1) == b" ab"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=12))
def test_spelling_joins_to_the_bytes(piece):
    for tokenizer in (BYTE_LEVEL, SENTENCEPIECE):
        vocabulary = read_vocabulary(tokenizer)
        (ids,) = Speller(vocabulary).spell([piece])
        assert b"".join(vocabulary.piece(i) for i in ids) == piece


def test_roles_many_to_one_and_end_of_sequence_never_lost():
    gpt2 = read_vocabulary(byte_level(300, bos_token="</s>", eos_token="</s>", unk_token="</s>"))
    llama = read_vocabulary(SENTENCEPIECE)
    assert roles(gpt2)["eos"] == roles(gpt2)["unk"] == (2,)
    assert map_roles(llama, gpt2)[2] == 2 and map_roles(llama, gpt2)[0] == 2
    assert map_roles(gpt2, llama)[2] == 2


def test_identical_and_different():
    vocabulary = read_vocabulary(BYTE_LEVEL)
    assert align(vocabulary, vocabulary).identical and not align(vocabulary, vocabulary).unreachable
    assert digit_scheme(vocabulary) == "1+1+1+1+1+1+1"
    assert not align(read_vocabulary(byte_level(310, text="x" * 500)), vocabulary).identical


def test_bad_tokenizers_are_refused(tmp_path):
    with pytest.raises(VocabularyError, match="does not exist"):
        read_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(VocabularyError, match="not valid JSON"):
        read_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {}}}))
    with pytest.raises(VocabularyError, match="empty vocabulary"):
        read_vocabulary(tmp_path)
