import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from hf_tokext.errors import TextError, VocabularyError
from tests.vocabulary.brackets import BracketTokenizer


def test_ids_are_the_tokens_and_come_back():
    tokenizer = BracketTokenizer()
    assert tokenizer("(a)[b]").input_ids == [0, 2, 6, 3, 4, 7, 5, 1]
    assert tokenizer.tokenize("a") == ["<|brackets:open|>", "<|brackets:a|>", "<|brackets:close|>"]
    assert tokenizer.decode([0, 2, 6, 3, 1]) == "(a)"
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 8)
    assert len(tokenizer) == 9


def test_batches_are_padded_and_cut_as_any():
    tokenizer = BracketTokenizer()
    batch = tokenizer(["(a)", "b"], padding=True, return_tensors="pt")
    assert batch.input_ids.tolist() == [[0, 2, 6, 3, 1], [0, 7, 1, 8, 8]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert tokenizer(["(a)b"], truncation=True, max_length=3).input_ids == [[0, 2, 6]]
    assert tokenizer.batch_decode(batch.input_ids) == ["(a)", "b"]
    assert tokenizer.decode(batch.input_ids) == ["(a)", "b"] == tokenizer.decode(batch.input_ids.numpy())
    assert tokenizer.decode(torch.tensor([0, 2])) == "()" and tokenizer.decode(np.array([0, 4])) == "[]"


def test_whatever_ids_are_decoded_the_text_is_a_document():
    tokenizer = BracketTokenizer()
    chance = np.random.default_rng(0)
    for _ in range(200):
        text = tokenizer.decode(chance.integers(0, len(tokenizer), 12))
        assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.parametrize("letters", ["ab", "xyz"])
def test_saved_and_loaded_it_is_the_same(letters, tmp_path):
    tokenizer = BracketTokenizer(domain_settings={"letters": letters}, padding_side="left")
    tokenizer.save_pretrained(tmp_path)
    found = BracketTokenizer.from_pretrained(tmp_path)
    text = f"({letters[0]})[{letters[1]}]"
    assert found(text).input_ids == tokenizer(text).input_ids and found.decode(found(text).input_ids) == text
    assert found.domain.settings == {"letters": letters} and found.padding_side == "left"
    stock = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert stock(tokenizer.domain.spell(text)).input_ids == tokenizer(text).input_ids


def test_what_is_no_document_is_refused(tmp_path):
    tokenizer = BracketTokenizer()
    with pytest.raises(TextError, match="neither"):
        tokenizer(["(a)", "?"])
    with pytest.raises(VocabularyError, match="not pairs or words"):
        tokenizer("a", "b")
    BracketTokenizer(domain_settings={"letters": "xyz"}).save_pretrained(tmp_path)
    with pytest.raises(VocabularyError, match="none of BracketTokenizer"):
        BracketTokenizer(tokenizer_file=str(tmp_path / "tokenizer.json"))
