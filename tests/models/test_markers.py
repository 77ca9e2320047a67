"""Markers of tokenizers of fixed ids: none of them spells a character."""

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from hf_tokext import ByteTokenizer, GlyphTokenizer
from hf_tokext.errors import VocabularyError


@pytest.mark.parametrize("kind", [ByteTokenizer, GlyphTokenizer])
def test_markers_spell_no_character_of_ascii_either(kind, tmp_path):
    refused = pytest.raises(VocabularyError, match="in the byte alphabet")
    with refused:
        kind(pad_token="a")
    tokenizer = kind()
    size = len(tokenizer)
    for name, value in (("pad_token", "a"), ("eos_token", "é"), ("pad_token_id", 97)):
        with refused:
            setattr(tokenizer, name, value)
    for letter in (AddedToken("a", lstrip=True), AddedToken("a", special=True)):
        with refused:
            tokenizer.add_tokens([letter])
    with refused:
        tokenizer.add_tokens(["a"], special_tokens=True)
    with refused:
        tokenizer.add_special_tokens({"pad_token": "a"})
    assert len(tokenizer) == size and tokenizer.pad_token == "<pad>"
    tokenizer.add_tokens(["a"])  # changes nothing
    tokenizer.eos_token = "<pad>"
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    ids = loaded("banana", add_special_tokens=False).input_ids
    assert ids == list(b"banana") and loaded.decode(ids, skip_special_tokens=True) == "banana"


@pytest.mark.parametrize("kind", [ByteTokenizer, GlyphTokenizer])
@pytest.mark.parametrize("blank", [" ", "\n", "\t \u3000", ""])
def test_markers_are_not_blank(kind, blank):
    refused = pytest.raises(VocabularyError, match="is blank")
    with refused:
        kind(pad_token=blank)
    with refused:
        kind(eos_token=AddedToken(blank, special=True))
    tokenizer = kind()
    size = len(tokenizer)
    for refuse in (
        lambda: setattr(tokenizer, "pad_token", blank),
        lambda: tokenizer.add_special_tokens({"pad_token": blank}),
        lambda: tokenizer.add_tokens([blank], special_tokens=True),
        lambda: tokenizer.add_tokens([AddedToken(blank, special=True)]),
    ):
        with refused:
            refuse()
    assert len(tokenizer) == size and tokenizer.pad_token == "<pad>"
    text = f"a{blank}b"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("kind", [ByteTokenizer, GlyphTokenizer])
def test_tokens_that_texts_keep_may_be_blank(kind):
    tokenizer = kind()
    assert tokenizer.add_tokens(["    "]) == 1
    ids = tokenizer("a    b", add_special_tokens=False).input_ids
    assert ids == [97, len(tokenizer) - 1, 98] and tokenizer.decode(ids, skip_special_tokens=True) == "a    b"
