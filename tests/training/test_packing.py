"""Texts as windows to learn from."""

import pytest

from hf_tokext.errors import TextError
from hf_tokext.training.packing import collate, pack
from tests.tokenizers import TEXT, byte_level


def test_every_id_stands_in_one_window():
    tokenizer = byte_level()
    packed = pack(tokenizer, [TEXT, "the cat"], 16)
    expected = [*tokenizer(TEXT)["input_ids"], 2, *tokenizer("the cat")["input_ids"], 2]
    assert [token_id for window in packed.windows for token_id in window[1:]] == expected
    assert {window[0] for window in packed.windows} == {1}
    assert {len(window) for window in packed.windows[:-1]} == {16} and len(packed.windows[-1]) <= 16


def test_padding_is_neither_attended_to_nor_learned():
    batch = collate([{"input_ids": [1, 5, 6]}, {"input_ids": [1, 7]}])
    assert batch["input_ids"].tolist() == [[1, 5, 6], [1, 7, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[1, 5, 6], [1, 7, -100]]


@pytest.mark.parametrize("texts", [[], [""], "text"])
def test_empty_text_is_refused(texts):
    with pytest.raises(TextError):
        pack(byte_level(), texts, 16)
