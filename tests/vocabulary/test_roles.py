import pytest

from hf_tokext.vocabulary.pieces import read_vocabulary
from hf_tokext.vocabulary.roles import TEXTS_OF_ROLE, map_roles, roles
from tests.handmade import bpe


def vocabulary(*special, **named):
    return read_vocabulary(bpe(["a", "b"], special=special, **named))


def test_one_id_has_every_role_that_the_tokenizer_names():
    gpt2 = vocabulary("<|endoftext|>", **dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"))
    assert roles(gpt2) == {"eos": (0,), "bos": (0,), "unk": (0,)}


def test_what_the_tokenizer_names_comes_before_what_the_texts_suggest():
    qwen = vocabulary("<|endoftext|>", "<|im_end|>", eos_token="<|im_end|>", pad_token="<|endoftext|>")
    assert roles(qwen) == {"eos": (1, 0), "turn_end": (1,), "pad": (0,)}


@pytest.mark.parametrize("role", TEXTS_OF_ROLE)
def test_every_text_of_a_role_finds_every_other(role):
    texts = [text for text in TEXTS_OF_ROLE[role] if sum(text in known for known in TEXTS_OF_ROLE.values()) == 1]
    target = vocabulary("<|unrelated|>", *texts)
    for index, text in enumerate(texts):
        partners = map_roles(target, vocabulary(text))
        assert partners == dict.fromkeys(range(1, len(texts) + 1), 0), (index, text)


def test_equal_text_comes_before_equal_role():
    target = vocabulary("<|eot_id|>", "<|im_end|>")
    assert map_roles(target, vocabulary("<|im_end|>", "<|eot_id|>")) == {0: 1, 1: 0}


def test_a_role_that_the_base_lacks_has_its_stand_in():
    base = vocabulary("<pad>", "[SEP]", "[CLS]")
    target = vocabulary("<s>", "</s>", "<|im_end|>", "<|pad|>")
    assert map_roles(target, base) == {0: 2, 1: 1, 3: 0}  # nothing stands in for the end of a turn but eos itself
    assert map_roles(target, vocabulary("</s>")) == {1: 0, 2: 0, 3: 0}  # and nothing for bos
    assert map_roles(vocabulary("</s>"), vocabulary("<s>", "<|eot_id|>")) == {0: 1}


def test_a_marker_of_unknown_meaning_has_no_partner():
    assert map_roles(vocabulary("<|mystery|>", "</s>"), vocabulary("</s>", "<|other|>")) == {1: 0}


def test_the_end_of_sequence_of_the_base_is_never_lost():
    base = vocabulary("<|im_end|>", "</s>", eos_token="<|im_end|>")
    target = vocabulary("</s>", "<s>", eos_token="</s>")
    assert map_roles(target, base) == {0: 0}  # by text it would have been 1, and nothing would have had the base's end
    both = vocabulary("</s>", "<|im_end|>", eos_token="</s>")
    assert map_roles(both, base) == {0: 1, 1: 0}


def test_added_tokens_that_are_not_special_have_roles_too():
    tokenizer = bpe(["a"], special=("</s>",))
    tokenizer.add_tokens(["<think>", "<tool_call>"])
    found = read_vocabulary(tokenizer)
    assert not {1, 2, 3} & set(found.special)
    assert roles(found) == {"eos": (0,), "think_start": (2,), "tool_call_start": (3,)}
    assert map_roles(vocabulary("[THINK]"), found) == {0: 2}
