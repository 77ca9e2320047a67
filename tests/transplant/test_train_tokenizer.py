import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.transplant.train_tokenizer import BYTES, CHUNK, _refuse_losses, train_tokenizer
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.tokenizers import TEXT, byte_level, words
from tests.transplant.sentencepiece_like import sentencepiece_like

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


def test_one_string_is_not_taken_for_texts_of_one_letter():
    with pytest.raises(TextError, match="list of texts"):
        train_tokenizer(OLD, OTHER, 300)


CODE = "def café(x):\n    return x + 12  # naïve <0x41> <0x41> <0x41>\n\n\tif  a_b == 'ä':\n        pass\n" * 20
SENTENCES = "We see the rivers, and we see the boats on the rivers; boats and bridges of 1989. " * 20


def gemma_like():
    """No space before the text, and a pre-tokenizer that looks for spaces where none are left."""
    tokenizer = sentencepiece_like()
    core = tokenizer.backend_tokenizer
    core.normalizer = normalizers.Replace(" ", "▁")
    core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("<think>", normalized=False)])
    core.add_special_tokens([AddedToken(f"<unused{n}>", normalized=False) for n in range(400)])
    core.add_special_tokens([AddedToken("<gh_stars>", normalized=False), AddedToken("<|turn|>", normalized=False)])
    roles = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unused7>"}
    template = "<s>{% for m in messages %}<|turn|>{{ m.content }}<unused9>{% endfor %}"
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=template, **roles)


BASES = {"llama": sentencepiece_like(), "gemma": gemma_like()}
TRAINED = {name: train_tokenizer(base, [CODE, SENTENCES], 370) for name, base in BASES.items()}


@pytest.mark.parametrize("name", TRAINED)
@settings(max_examples=150, deadline=None)
@given(st.text(max_size=20) | st.text(st.sampled_from(" \t\nabé1_.<0x41>▁漢"), max_size=20))
def test_byte_fallback_gives_any_text_back(name, text):
    new = TRAINED[name]
    vocabulary, core = read_vocabulary(new), new.backend_tokenizer
    ids = core.encode(text, add_special_tokens=False).ids
    if any(token in text for token in new.get_added_vocab()):
        return
    assert new.unk_token_id not in ids
    # the mark itself and an empty text's leading space are lost by the base's normalizer
    expected = ("▁" if name == "llama" and text else "") + text
    assert b"".join(vocabulary.piece(i) for i in ids) == expected.replace("▁", " ").encode()
    assert core.decode(ids, skip_special_tokens=False) == text.replace("▁", " ")


@pytest.mark.parametrize("name", TRAINED)
def test_byte_tokens_are_kept_behind_the_special_ones(name):
    new = TRAINED[name]
    vocabulary = read_vocabulary(new)
    first = len(new.get_added_vocab())
    assert new.convert_tokens_to_ids(list(BYTES)) == list(range(first, first + 256))
    assert vocabulary.fallback == set(range(first, first + 256)) and not vocabulary.fallback & vocabulary.added
    assert len(new) == 370


@pytest.mark.parametrize("name", TRAINED)
def test_no_piece_crosses_words_and_ids_do_not_depend_on_neighbours(name):
    old, new = BASES[name], TRAINED[name]
    for section in ("normalizer", "pre_tokenizer", "decoder", "post_processor"):
        assert spec(new)[section] == spec(old)[section], section
    tokens = [token for token in new.get_vocab() if token not in BYTES and token not in new.get_added_vocab()]
    learnt = [token for token in tokens if len(token) > 1]
    assert len(learnt) > 50 and "▁rivers" in learnt
    assert not [token for token in learnt if "▁" in token.lstrip("▁") or {"\n", "\t"} & set(token.strip("\n\t"))]
    assert not [t for t in learnt if any(c.isalpha() for c in t) and any(c.isdigit() or c in ".,;_<" for c in t)]
    core = new.backend_tokenizer
    alone = [core.encode(word, add_special_tokens=False).ids for word in SENTENCES.split()]
    if name == "gemma":  # puts no space before a text
        alone = [core.encode((" " if i else "") + word, add_special_tokens=False).ids
                 for i, word in enumerate(SENTENCES.split())]  # fmt: skip
    assert core.encode(SENTENCES.strip(), add_special_tokens=False).ids == sum(alone, [])


def test_byte_tokens_count_in_the_least_size():
    with pytest.raises(VocabularyError, match="259 is too small: special tokens and alphabet alone are 259"):
        train_tokenizer(BASES["llama"], [SENTENCES], 259)
    assert len(train_tokenizer(BASES["llama"], [SENTENCES], 262)) == 262


def test_many_rare_characters_do_not_use_up_the_vocabulary():
    rare = "".join(chr(0x4E00 + n) for n in range(900))
    new = train_tokenizer(BASES["llama"], [SENTENCES * 20, rare], 400)
    assert len(new) == 400 and "▁rivers" in new.get_vocab()
    assert new.decode(new(rare, add_special_tokens=False).input_ids) == rare


def test_placeholders_go_and_what_has_a_use_stays():
    """Named, in the chat template, with a role, or with a name that says something."""
    vocabulary = read_vocabulary(TRAINED["gemma"])
    expected = {"<unk>", "<s>", "</s>", "<unused7>", "<unused9>", "<gh_stars>", "<|turn|>"}
    assert set(vocabulary.special.values()) == expected
    assert set(vocabulary.id_of_text) == expected | {"<think>"}
    assert TRAINED["gemma"].pad_token == "<unused7>" and len(BASES["gemma"].get_added_vocab()) == 407


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_saved_is_what_was_trained(name, tmp_path):
    TRAINED[name].save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again(CODE).input_ids == TRAINED[name](CODE).input_ids and len(again) == len(TRAINED[name])


def wordpiece(text=SENTENCES + " xyz Ä €"):
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    special = ["[UNK]", "[CLS]"]
    core.train_from_iterator(
        [text], trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", cls_token="[CLS]")


def test_wordpiece_keeps_the_characters_it_knows_though_the_text_lacks_them():
    old = wordpiece()
    new = train_tokenizer(old, ["boats and bridges " * 9], 400)
    assert not {token for token in old.get_vocab() if len(token.removeprefix("##")) == 1} - set(new.get_vocab())
    assert new.tokenize("boats Ä xyz") == ["boats", "Ä", "x", "##y", "##z"] and len(new) <= 400
    assert sorted(new.get_vocab().values()) == list(range(len(new)))
    small = train_tokenizer(old, ["boats and bridges " * 9], 70)  # too small for all: the ASCII ones
    assert len(small) <= 70 and small.tokenize("Ä xyz") == ["[UNK]", "x", "##y", "##z"]


def test_too_many_characters_are_refused():
    rare = " ".join(chr(0x4E00 + n) for n in range(500))
    with pytest.raises(VocabularyError, match="different characters"):
        train_tokenizer(wordpiece(), [rare], 400)
    core = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    with pytest.raises(VocabularyError, match="leave rare characters out"):
        train_tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>"), [rare], 400)


def test_unigram_with_byte_fallback():
    core = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), *((b, -9.0) for b in BYTES)], 0, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    new = train_tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>"), [SENTENCES], 340)
    text = "rivers 漢字 <0x41>é"
    ids = new(text, add_special_tokens=False).input_ids
    assert new.decode(ids) == " " + text and new.unk_token_id not in ids and len(new) <= 340


def test_lost_text_is_refused():
    _refuse_losses(words(), byte_level(), [TEXT])
    _refuse_losses(words(), words(), [TEXT])
    with pytest.raises(VocabularyError, match="loses [0-9]+ characters of its own text .*larger vocabulary"):
        _refuse_losses(byte_level(), words(), [TEXT])
