"""What a tokenizer does with a text."""

import pytest

from hf_tokext.errors import TextError
from hf_tokext.measure import vocabulary_use
from tests.tokenizers import TEXT, byte_level, words


def test_counts():
    found = vocabulary_use(words(), ["the cat the zzz", "mat"])
    assert (found.tokens, found.used, found.unknown, found.vocabulary) == (5, 4, 1, 6)
    assert found.never_used == 2
    assert found.share_used == pytest.approx(4 / 6)
    assert found.tokens_per_byte == pytest.approx(5 / 18)
    assert found.per_text == (pytest.approx(4 / 15), pytest.approx(1 / 3))
    assert found.to_dict()["never_used"] == 2


def test_unk_that_only_fills_the_role_is_not_unknown():
    tokenizer = byte_level(bos_token="<s>", eos_token="</s>", unk_token="</s>")
    assert vocabulary_use(tokenizer, [TEXT + "</s>"]).unknown == 0


@pytest.mark.parametrize("texts", [[], [""], "text"])
def test_empty_text_is_refused(texts):
    with pytest.raises(TextError):
        vocabulary_use(words(), texts)
