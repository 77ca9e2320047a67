"""What upstream asks of its own tokenizers, asked of every kind that this package hands out."""

import json
import pickle
from itertools import product

import pytest
from datasets import Dataset
from tokenizers import AddedToken
from transformers import AutoTokenizer, DataCollatorWithPadding

from hf_tokext.errors import UnsupportedModelError
from tests.ecosystem.tokenizer_cases import TEMPLATE, TEXTS, bare, ids

CHAT = [{"role": "user", "content": "the boats?"}, {"role": "assistant", "content": "under bridges"}]


def template(tokenizer):
    """Ids before and after a text."""
    body, whole = bare(tokenizer, "b"), ids(tokenizer, "b")
    at = next(i for i in range(len(whole)) if whole[i : i + len(body)] == body)
    return whole[:at], whole[at + len(body) :]


def same(one, other):
    assert type(one) is type(other)
    assert [ids(one, text) for text in TEXTS] == [ids(other, text) for text in TEXTS]
    assert one.special_tokens_map == other.special_tokens_map
    for name in ("bos", "eos", "pad", "unk"):
        assert getattr(one, f"{name}_token_id") == getattr(other, f"{name}_token_id")
    for name in ("padding_side", "truncation_side", "model_max_length", "chat_template", "added_tokens_decoder"):
        assert getattr(one, name) == getattr(other, name), name
    assert len(one) == len(other) and one.get_vocab() == other.get_vocab()
    assert one.apply_chat_template(CHAT, return_dict=False) == other.apply_chat_template(CHAT, return_dict=False)


@pytest.mark.parametrize("side", ["left", "right"])
def test_pickling(case, side):
    tokenizer = case.load()
    tokenizer.padding_side = tokenizer.truncation_side = side
    same(pickle.loads(pickle.dumps(tokenizer)), tokenizer)


@pytest.mark.parametrize("side", ["left", "right"])
def test_saved_and_loaded(case, side, tmp_path):
    loaded = case.load(padding_side=side, truncation_side=side)
    assert [ids(loaded, text) for text in TEXTS] == [ids(case.tokenizer, text) for text in TEXTS]
    assert loaded.special_tokens_map == case.tokenizer.special_tokens_map and loaded.chat_template == TEMPLATE
    loaded.model_max_length = 99
    for path in case.folder.glob("config.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    loaded.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    same(again, loaded)
    assert (again.padding_side, again.truncation_side, again.model_max_length) == (side, side, 99)
    saved = [json.loads((folder / "tokenizer.json").read_text()) for folder in (case.folder, tmp_path)]
    assert saved[0]["model"] == saved[1]["model"] and saved[0]["added_tokens"] == saved[1]["added_tokens"]


LENGTHS = (None, 7, 60)
COMBINATIONS = list(
    product((False, True, "max_length"), (False, True, "only_first"), LENGTHS, (None, 8), ("left", "right"))
)


@pytest.mark.parametrize("cut_side", ["left", "right"])
def test_padding_and_truncation_in_every_combination(case, cut_side):
    """Against a few lines of plain Python that say what the ids have to be."""
    tokenizer = case.load()
    tokenizer.truncation_side, tokenizer.model_max_length = cut_side, 32
    opening, closing = template(tokenizer)
    bodies = [bare(tokenizer, text) for text in TEXTS]
    assert tokenizer.pad_token_id is not None and max(map(len, bodies)) > 60
    for padding, truncation, length, multiple, side in COMBINATIONS:
        tokenizer.padding_side = side
        options = {"padding": padding, "truncation": truncation, "max_length": length, "pad_to_multiple_of": multiple}
        if padding and truncation and multiple and length and length % multiple:
            with pytest.raises(ValueError, match="not a multiple"):
                tokenizer(TEXTS, **options)
            continue
        limit = (length or 32) if truncation else 10**9
        expected = []
        for body in bodies:
            room = max(0, limit - len(opening) - len(closing))
            cut = body if len(body) <= room else body[len(body) - room :] if cut_side == "left" else body[:room]
            expected.append([*opening, *cut, *closing])
        width = {False: 0, True: max(map(len, expected)), "max_length": length or 32}[padding]
        width = -(-width // multiple) * multiple if multiple and padding else width
        masks = [[1] * len(row) for row in expected]
        for rows, filler in ((expected, tokenizer.pad_token_id), (masks, 0)):
            for row in rows:
                fill = [filler] * (width - len(row))
                row[:] = fill + row if side == "left" else row + fill
        found = tokenizer(TEXTS, **options, verbose=False)
        assert found["input_ids"] == expected, options
        assert found["attention_mask"] == masks, options
        if padding and len({len(row) for row in expected}) == 1:
            tensors = tokenizer(TEXTS, **options, return_tensors="pt", verbose=False)
            assert tensors["input_ids"].tolist() == expected and tensors["attention_mask"].tolist() == masks


def test_padding_afterwards(case):
    tokenizer = case.load()
    for side in ("left", "right"):
        tokenizer.padding_side = side
        apart = [tokenizer(text) for text in TEXTS]
        together = tokenizer(TEXTS, padding=True, return_tensors="pt")
        for found in (
            tokenizer.pad(apart, return_tensors="pt"),
            DataCollatorWithPadding(tokenizer)([dict(each) for each in apart]),
        ):
            assert found["input_ids"].tolist() == together["input_ids"].tolist()
            assert found["attention_mask"].tolist() == together["attention_mask"].tolist()


def test_overflow_keeps_everything(case):
    tokenizer, text = case.tokenizer, TEXTS[5]
    opening, closing = template(tokenizer)
    room = 9 - len(opening) - len(closing)
    found = tokenizer(text, truncation=True, max_length=9, return_overflowing_tokens=True, stride=0)
    rows = [row[len(opening) : len(row) - len(closing)] for row in found["input_ids"]]
    assert sum(rows, []) == bare(tokenizer, text) and all(0 < len(row) <= room for row in rows)


@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
def test_pairs(case, strategy):
    tokenizer = case.tokenizer
    one, two = "xyzzy qwertz plugh xyzzy", "zyx qq"
    a, b = bare(tokenizer, one), bare(tokenizer, two)
    found = tokenizer(one, two)
    of = found.sequence_ids()
    rows = [[i for i, s in zip(found["input_ids"], of, strict=True) if s == which] for which in (0, 1)]
    assert rows == [a, b]
    specials = [i for i, s in zip(found["input_ids"], of, strict=True) if s is None]
    assert set(specials) <= set(tokenizer.all_special_ids)
    assert ids(tokenizer, [one, two], text_pair=[two, one])[0] == found["input_ids"]
    assert ids(tokenizer, [(one, two)])[0] == found["input_ids"]

    whole = len(found["input_ids"])
    cut = tokenizer(one, two, truncation=strategy, max_length=whole - 3)
    of = cut.sequence_ids()
    lengths = [of.count(0), of.count(1)]
    assert len(cut["input_ids"]) == whole - 3
    gone = [len(a) - lengths[0], len(b) - lengths[1]]
    assert gone == {"longest_first": [3, 0], "only_first": [3, 0], "only_second": [0, 3]}[strategy]
    kept = [[i for i, s in zip(cut["input_ids"], of, strict=True) if s == which] for which in (0, 1)]
    assert kept == [a[: lengths[0]], b[: lengths[1]]]
    both = tokenizer([one, two], [two, one], padding=True, return_tensors="pt", return_token_type_ids=True)
    assert both["input_ids"].shape == both["token_type_ids"].shape == both["attention_mask"].shape


def test_words_that_are_cut_already(case):
    tokenizer, words = case.tokenizer, ["the", "boats", "é\U0001f642", "", "under", "a", "bridge"]
    found = tokenizer(words, is_split_into_words=True)
    assert "".join(words) == "".join(words[n] for n in dict.fromkeys(w for w in found.word_ids() if w is not None))
    for number, word in enumerate(words):
        own = [i for i, w in zip(found["input_ids"], found.word_ids(), strict=True) if w == number]
        assert own == bare(tokenizer, word), word
    batch = tokenizer([words, words[:2]], is_split_into_words=True, padding=True, return_tensors="pt")
    assert batch["input_ids"][0].tolist() == found["input_ids"]
    pair = tokenizer(words[:2], words[2:], is_split_into_words=True)
    of = pair.sequence_ids()
    assert [i for i, s in zip(pair["input_ids"], of, strict=True) if s == 1] == sum(
        (bare(tokenizer, word) for word in words[2:]), []
    )


def test_added_tokens_survive(case, tmp_path):
    tokenizer, before = case.load(), len(case.tokenizer)
    assert (
        tokenizer.add_tokens(
            [AddedToken("<tool>", normalized=False), AddedToken("<mid>", lstrip=True, rstrip=True, normalized=False)]
        )
        == 2
    )
    assert tokenizer.add_special_tokens({"extra_special_tokens": ["<|turn|>"]}) == 1
    text = "a<tool>b <mid> c<|turn|>"
    new = tokenizer.convert_tokens_to_ids(["<tool>", "<mid>", "<|turn|>"])
    assert new == [before, before + 1, before + 2] and len(tokenizer) == before + 3
    found = ids(tokenizer, text)
    assert [i for i in found if i in new] == new
    assert bare(tokenizer, "xyz") == bare(case.tokenizer, "xyz")
    for path in case.folder.glob("config.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(case.load())
    for other in (again, pickle.loads(pickle.dumps(tokenizer))):
        assert ids(other, text) == found and len(other) == len(tokenizer)
        assert other.convert_ids_to_tokens(new) == ["<tool>", "<mid>", "<|turn|>"]
        assert "<|turn|>" in other.all_special_tokens and "<tool>" not in other.all_special_tokens
        assert "<|turn|>" not in other.decode(found, skip_special_tokens=True)
        assert "<tool>" in other.decode(found, skip_special_tokens=True)


def test_chat_template(case):
    tokenizer = case.load()
    rendered = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert rendered == "".join(f"<s>{m['role']}: {m['content']}</s>" for m in CHAT)
    found = tokenizer.apply_chat_template(CHAT)
    assert found["input_ids"] == bare(tokenizer, rendered)
    assert found["input_ids"].count(tokenizer.eos_token_id) == 2


def test_map_over_processes(case):
    tokenizer, texts = case.tokenizer, TEXTS * 4
    rows = Dataset.from_dict({"text": texts}).map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=20),
        batched=True,
        batch_size=5,
        num_proc=2,
        remove_columns=["text"],
    )
    assert list(rows["input_ids"]) == ids(tokenizer, texts, truncation=True, max_length=20)


def test_training_anew(case, tmp_path):
    tokenizer = case.tokenizer
    corpus = ["boats under bridges over rivers " * 8, "the rivers and the boats"]
    if not case.trains:
        with pytest.raises(UnsupportedModelError, match="train"):
            tokenizer.train_new_from_iterator(corpus, 400)
        return
    trained = tokenizer.train_new_from_iterator(corpus, 400, show_progress=False)
    trained.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert ids(again, corpus[1]) == ids(trained, corpus[1])
    assert again.decode(bare(again, corpus[1])) == corpus[1]
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert len(bare(again, corpus[0])) <= len(bare(tokenizer, corpus[0]))
