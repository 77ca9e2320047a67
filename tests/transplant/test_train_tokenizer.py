import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.transplant.train_tokenizer import CHUNK, train_tokenizer
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.tokenizers import byte_level

OTHER = "rivers, boats and bridges; rivers and boats again, under bridges. " * 8


def decorated():
    """A byte-level BPE with every part that a pipeline can have."""
    core = byte_level(300).backend_tokenizer
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **roles)


OLD = decorated()
NEW = train_tokenizer(OLD, [OTHER], 280)


def spec(tokenizer):
    return json.loads(tokenizer.backend_tokenizer.to_str())


def test_the_pipeline_is_kept():
    old, new = spec(OLD), spec(NEW)
    for section in ("normalizer", "pre_tokenizer", "decoder", "added_tokens"):
        assert new[section] == old[section], section
    assert type(NEW) is type(OLD) and new["model"]["type"] == old["model"]["type"] == "BPE"
    assert NEW("rivers").input_ids[0] == NEW.bos_token_id == 1


def test_the_special_tokens_keep_their_names_and_are_the_first_ids():
    assert NEW.special_tokens_map == OLD.special_tokens_map
    assert read_vocabulary(NEW).special == {0: "<pad>", 1: "<s>", 2: "</s>"}


def test_it_has_as_many_ids_as_asked_and_learns_from_the_text():
    assert len(NEW) == 280
    count = len(NEW(OTHER, add_special_tokens=False).input_ids)
    assert count < len(OLD(OTHER, add_special_tokens=False).input_ids)
    assert "Ġrivers" in NEW.get_vocab() and "Ġthe" not in NEW.get_vocab()


def normalized_to_bytes():
    """The same alphabet, made by a normalizer instead of the pre-tokenizer."""
    core = decorated().backend_tokenizer
    core.normalizer, core.pre_tokenizer = normalizers.ByteLevel(), pre_tokenizers.Split("Ġ", "merged_with_next")
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")


@pytest.mark.parametrize("old", [OLD, normalized_to_bytes()], ids=["pre-tokenizer", "normalizer"])
def test_all_256_bytes_have_a_token_though_the_text_lacks_them(old):
    vocabulary = read_vocabulary(train_tokenizer(old, [OTHER], 280))
    assert {vocabulary.piece(i) for i in vocabulary.ids if len(vocabulary.piece(i)) == 1} == {
        bytes([byte]) for byte in range(256)
    }


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20))
def test_no_text_loses_a_byte(text):
    ids = NEW.backend_tokenizer.encode(text, add_special_tokens=False).ids
    vocabulary = read_vocabulary(NEW)
    expected = normalizers.NFC().normalize_str(text)
    if not any(control in text for control in ("<pad>", "<s>", "</s>")):
        assert b"".join(vocabulary.piece(i) for i in ids) == expected.encode()


def test_the_old_tokenizer_is_left_alone():
    before = spec(OLD)
    train_tokenizer(OLD, [OTHER], 270)
    assert spec(OLD) == before


def test_the_same_text_gives_the_same_tokenizer():
    assert spec(train_tokenizer(OLD, [OTHER], 280)) == spec(NEW)


def test_long_texts_are_read_to_their_end():
    text = "x" + " y" * CHUNK + " zebrazebra" * 300
    assert "Ġzebrazebra" in train_tokenizer(OLD, [text], 275).get_vocab()


def test_a_small_text_gives_fewer_ids():
    assert 259 <= len(train_tokenizer(OLD, ["a b"], 5_000)) < 270


@pytest.mark.parametrize("texts", [[], [""], ["\n", "  "]])
def test_no_text_is_refused(texts):
    with pytest.raises(TextError, match="empty"):
        train_tokenizer(OLD, texts, 300)


def test_a_vocabulary_that_holds_the_alphabet_only_is_refused():
    with pytest.raises(VocabularyError, match="259 is too small: special tokens and alphabet alone are 259"):
        train_tokenizer(OLD, [OTHER], 259)
    assert len(train_tokenizer(OLD, [OTHER], 260)) == 260


def test_a_tokenizer_that_is_not_byte_level_keeps_its_kind():
    core = Tokenizer(models.Unigram())
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    core.train_from_iterator(
        ["some first text " * 20],
        trainers.UnigramTrainer(
            vocab_size=30, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
        ),
    )
    core.add_special_tokens([AddedToken("</s>", special=True)])
    old = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")
    new = train_tokenizer(old, [OTHER], 40)
    found = read_vocabulary(new)
    assert spec(new)["model"]["type"] == "Unigram" and found.kind == "metaspace" and len(found) <= 40
    assert {"<unk>", "</s>"} <= set(found.special.values())
    ids = new("Rivers and boats", add_special_tokens=False).input_ids
    assert b"".join(found.piece(i) for i in ids) == b" rivers and boats"
