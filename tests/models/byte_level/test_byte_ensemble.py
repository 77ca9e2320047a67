"""Ensembles: what they say is the formula, applied to the enumerated distributions of their members."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from hf_tokext import (
    ByteEnsembleConfig,
    ByteEnsembleForCausalLM,
    ByteLevelConfig,
    ByteTokenizer,
    byteify,
    complete,
    score_bytes,
)
from hf_tokext.errors import CheckpointError, TextError, UnsupportedModelError
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import Enumeration, tiny_llama
from tests.tiny_models import tiny

PAD, BOS, EOS = 256, 257, 258
SPACED = {small.fallback}
COMBINATIONS = ["mixture", "product"]


def byteified(make, seed=0, ends=None, markers=(), **options):
    """A small byte-level model; `ends` are texts of several ends of sequence."""
    tokenizer = make()
    tokenizer.add_special_tokens({"additional_special_tokens": list(markers)}, replace_extra_special_tokens=False)
    base = tiny_llama(len(tokenizer), seed)
    base.config.eos_token_id = base.generation_config.eos_token_id = None
    if ends is not None:
        base.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(ends)
    return byteify(base, tokenizer, **{"tolerance": 0, **options})[0]


def made(combination="mixture", weights=(1, 3), **options):
    members = [byteified(small.plain, 0, **options), byteified(small.fallback, 1, **options)]
    return ByteEnsembleForCausalLM.from_members(members, weights, combination)


def batch(tokenizer, texts):
    return tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")


def enumerated(member, make, text, ends=("</s>",)):
    """Probabilities of 256 bytes, bos and any end after a text, made to add up to one."""
    tokenizer = member.base_tokenizer
    exact = Enumeration(member.base, tokenizer, (tokenizer.bos_token_id,), make in SPACED)
    chances = exact.events(text)
    special = dict(zip(tokenizer.convert_ids_to_tokens(exact.special), chances[256:], strict=True))
    found = np.array([*chances[:256], special["<s>"], sum(special[end] for end in ends)])
    return found / found.sum()


def formula(parts, weights, combination):
    shares = np.array(weights) / np.sum(weights)
    if combination == "mixture":
        return shares @ np.stack(parts)
    found = np.prod([part**share for part, share in zip(parts, shares, strict=True)], axis=0)
    return found / found.sum()


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize(
    ("makes", "weights", "text"),
    [
        ([small.plain, small.fallback], [1, 3], b"aba"),
        ([small.plain, small.whole_words], [0.2, 0.3], b"aab"),
        ([small.characters, small.fallback], [1, 1], b"a\xc3\xa9"),
        ([small.plain, small.fallback, small.added], [3, 1, 2], b"ab"),
    ],
)
def test_logits_are_the_formula_on_enumerated_distributions(combination, makes, weights, text):
    members = [byteified(make, seed) for seed, make in enumerate(makes)]
    model, _ = ByteEnsembleForCausalLM.from_members(members, weights, combination)
    found = model(torch.tensor([list(text)])).logits[0].exp().numpy()
    assert found.shape == (len(text), 259)
    for at, row in enumerate(found, 1):
        parts = [enumerated(member, make, text[:at]) for member, make in zip(members, makes, strict=True)]
        expected = formula(parts, weights, combination)
        assert row[PAD] == 0
        np.testing.assert_allclose(np.delete(row, PAD), expected, atol=1e-12)


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("weights", [None, [0.1, 7]])
def test_a_model_with_itself_is_the_model(combination, weights):
    member = byteified(small.plain)
    model, tokenizer = ByteEnsembleForCausalLM.from_members([member, member], weights, combination)
    assert model.config.markers == member.config.markers
    given = batch(tokenizer, ["abca", "bc"])
    torch.testing.assert_close(model(**given).logits.exp(), member(**given).logits.exp(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_rows_add_up_to_one_and_nothing_impossible_gets_a_floor(combination):
    model, tokenizer = made(combination)
    found = model(**batch(tokenizer, ["aba", "a"])).logits.exp()
    torch.testing.assert_close(found.sum(-1), torch.tensor([[1.0] * 3, [259.0, 259.0, 1.0]]).double())
    assert found[0, :, ord("x")].eq(0).all()
    assert found[0, 1, ord("c")].gt(0) == (combination == "mixture")  # no token of the second member has a "c"


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_end_of_sequence_of_a_member_counts(combination):
    ends = ["</s>", "<unk>"]
    members = [byteified(small.plain), byteified(small.fallback, 1, ends=ends)]
    assert len(members[1].config.eos_token_id) == 2
    model, _ = ByteEnsembleForCausalLM.from_members(members, [1, 3], combination)
    assert model.generation_config.eos_token_id == EOS
    row = model(torch.tensor([[97, 98]])).logits[0, -1].exp().numpy()
    parts = [enumerated(members[0], small.plain, b"ab"), enumerated(members[1], small.fallback, b"ab", ends)]
    np.testing.assert_allclose(np.delete(row, PAD), formula(parts, [1, 3], combination), atol=1e-12)
    one_end = [parts[0], enumerated(members[1], small.fallback, b"ab")]
    assert abs(row[EOS] - formula(one_end, [1, 3], combination)[-1]) > 1e-4


def test_generation_ends_with_it():
    ends = ["</s>", "<unk>"]
    members = [byteified(small.plain), byteified(small.fallback, 1, ends=ends)]
    model, _ = ByteEnsembleForCausalLM.from_members(members)
    torch.manual_seed(0)
    found = model.generate(torch.tensor([[97, 98]]), max_new_tokens=8, do_sample=True, num_return_sequences=40).tolist()
    ended = [row for row in found if EOS in row]
    assert ended
    for row in ended:
        assert set(row[row.index(EOS) + 1 :]) <= {PAD}


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_an_end_of_sequence_that_is_read_is_each_members_own(combination):
    members = [byteified(small.plain), byteified(small.fallback, 1)]
    model, _ = ByteEnsembleForCausalLM.from_members(members, [1, 3], combination)
    found = model(torch.tensor([[97, EOS, 97]])).logits[0, -1].exp().numpy()
    parts = []
    for member in members:
        ends = member.config.eos_token_id
        row = member(torch.tensor([[97, ends[0], 97]])).logits[0, -1].exp().numpy()
        row = np.array([*row[:256], row[member.config.bos_token_id], sum(row[ends])])
        parts.append(row / row.sum())
    np.testing.assert_allclose(np.delete(found, PAD), formula(parts, [1, 3], combination), atol=1e-12)


def test_markers_are_those_that_all_members_have():
    members = [byteified(small.plain, markers=["<x>", "<y>"]), byteified(small.fallback, 1, markers=["<z>", "<x>"])]
    model, tokenizer = ByteEnsembleForCausalLM.from_members(members, [1, 3])
    assert model.config.markers == ["<pad>", "<s>", "</s>", "<x>"]
    ids = tokenizer("ab<x>a").input_ids
    assert ids == [97, 98, 259, 97]
    found = model(torch.tensor([ids])).logits[0].exp().numpy()
    parts = []
    for member in members:
        own = 256 + member.config.markers.index("<x>")
        row = member(torch.tensor([[97, 98, own, 97]])).logits[0].exp().numpy()
        kept = [*range(256), member.config.bos_token_id, member.config.eos_token_id[0], own]
        assert row[1].sum() - row[1, kept].sum() > 1e-6  # the marker that the other lacks
        parts.append(row[:, kept] / row[:, kept].sum(-1, keepdims=True))
    np.testing.assert_allclose(np.delete(found, PAD, axis=1), 0.25 * parts[0] + 0.75 * parts[1], atol=1e-12)


def test_bos_is_each_members_own():
    model, _ = made()
    torch.testing.assert_close(
        model(torch.tensor([[BOS, 97, 98]])).logits[:, 1:].exp(), model(torch.tensor([[97, 98]])).logits.exp()
    )
    renamed = small.plain()
    renamed.bos_token = None  # its texts are opened by the eos then, as GPT-2's are
    first = byteify(tiny_llama(len(renamed)), renamed, tolerance=0)[0]
    both, tokenizer = ByteEnsembleForCausalLM.from_members([first, first])
    assert first.config.bos_token_id == first.config.eos_token_id[0] != both.config.eos_token_id
    assert tokenizer.bos_token_id == both.config.bos_token_id == BOS
    found = both(torch.tensor([[BOS, 97]])).logits[0, -1].exp()
    row = first(torch.tensor([[first.config.bos_token_id, 97]])).logits[0, -1].exp()
    kept = row[:256].sum() + row[first.config.eos_token_id].sum()
    torch.testing.assert_close(found[EOS], row[first.config.eos_token_id[0]] / kept)
    assert found[BOS] == 0  # that id is the end already


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("options", [{"do_sample": False}, {"num_beams": 3, "num_return_sequences": 2}])
def test_generating_with_a_cache_equals_without(options, combination):
    model, tokenizer = made(combination)
    given = batch(tokenizer, ["aba", "a"])
    cached = model.generate(**given, max_new_tokens=4, **options)
    assert torch.equal(cached, model.generate(**given, max_new_tokens=4, use_cache=False, **options))


def test_a_batch_of_different_lengths_equals_single_texts():
    model, tokenizer = made()
    texts = ["aba", "a", "baab"]
    given = batch(tokenizer, texts)
    together, generated = model(**given).logits, model.generate(**given, max_new_tokens=4, do_sample=False)
    for row, made_row, text in zip(together, generated.tolist(), texts, strict=True):
        single = tokenizer(text, return_tensors="pt")
        alone = model(**single).logits[0]
        torch.testing.assert_close(row[-len(text) :].exp(), alone.exp(), atol=1e-12, rtol=0)
        assert row[: -len(text)].eq(0).all()
        new = model.generate(**single, max_new_tokens=4, do_sample=False)[0, len(text) :].tolist()
        assert made_row[4 : 4 + len(new)] == new


def test_rows_padded_on_the_right_and_rows_of_nothing_go_on_as_alone():
    model, tokenizer = made()
    texts = ["aba", "a"]
    given = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    found = model.generate(**given, **options)[:, 3:]
    for row, text in zip(found, texts, strict=True):
        assert torch.equal(row, model.generate(**tokenizer(text, return_tensors="pt"), **options)[0, len(text) :])
    nothing = model(torch.tensor([[97]]), attention_mask=torch.tensor([[0]])).logits[0, 0]
    torch.testing.assert_close(nothing.exp(), model(torch.tensor([[BOS]])).logits[0, 0].exp(), atol=1e-12, rtol=0)


def test_it_goes_on_from_a_cache_whose_rows_are_chosen():
    model, tokenizer = made()
    begun = model(**batch(tokenizer, ["aba", "baa", "aab"]), use_cache=True).past_key_values
    begun.batch_select_indices(torch.tensor([True, False, True]))
    begun.reorder_cache(torch.tensor([1, 0]))
    begun.batch_repeat_interleave(2)
    found = model(torch.tensor([[98]] * 4), past_key_values=begun, attention_mask=torch.ones(4, 4)).logits[:, -1]
    for row, text in zip(found, ["aab", "aab", "aba", "aba"], strict=True):
        alone = model(**tokenizer(text + "b", return_tensors="pt"), logits_to_keep=1).logits
        assert alone.shape[:2] == (1, 1)
        torch.testing.assert_close(row.exp(), alone[0, 0].exp(), atol=1e-12, rtol=0)
    copied = deepcopy(begun)
    more = model(torch.tensor([[97]] * 4), past_key_values=begun, attention_mask=torch.ones(4, 5)).logits
    assert torch.equal(
        model(torch.tensor([[97]] * 4), past_key_values=copied, attention_mask=torch.ones(4, 5)).logits, more
    )
    begun.reset()
    first = model(torch.tensor([[97]]), past_key_values=begun).logits
    assert torch.equal(first, model(torch.tensor([[97]])).logits)


def test_beams_find_the_best_text_of_a_length():
    model, _ = made()
    options = {"num_beams": 60, "max_new_tokens": 2, "min_new_tokens": 2, "length_penalty": 0.0, "early_stopping": True}
    found = model.generate(torch.tensor([[97]]), **options)[0].tolist()
    first, scores = model(torch.tensor([[97]])).logits[0, -1], {}
    for one in range(256):
        if first[one] > -np.inf:
            second = model(torch.tensor([[97, one]])).logits[0, -1]
            second[EOS] = -np.inf
            scores[one, int(second.argmax())] = float(first[one] + second.max())
    assert tuple(found[1:]) == max(scores, key=scores.get)


def test_a_member_for_which_the_text_is_impossible_has_no_say_in_a_mixture():
    model, tokenizer = made()
    row = model(torch.tensor([[97, 99, 97]])).logits[0]  # no token of the second member has a "c"
    alone, _ = ByteEnsembleForCausalLM.from_members([model.members[0]])
    torch.testing.assert_close(row[1:].exp(), alone(torch.tensor([[97, 99, 97]])).logits[0, 1:].exp())
    assert not torch.allclose(row[0].exp(), alone(torch.tensor([[97]])).logits[0, 0].exp())
    step = model(torch.tensor([[97, 99]]), use_cache=True).past_key_values
    torch.testing.assert_close(model(torch.tensor([[97]]), past_key_values=step).logits[0, 0].exp(), row[2].exp())
    with pytest.raises(TextError, match="every member gives no probability"):
        model(torch.tensor([[97, 120]]))
    product, _ = made("product")
    with pytest.raises(TextError, match="some member gives no probability"):
        product(**tokenizer("aca", return_tensors="pt"))
    assert product.generate(torch.tensor([[97]]), max_new_tokens=5, do_sample=False).shape == (1, 6)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_scores_are_those_of_the_logits(combination):
    model, _ = made(combination)
    texts = [b"abab", b"aa"]
    for text, score in zip(texts, score_bytes(model, texts), strict=True):
        logits = model(torch.tensor([[BOS, *text]])).logits[0]
        expected = logits[np.arange(len(text)), list(text)].numpy()
        np.testing.assert_allclose(score.log_probabilities, expected, atol=1e-12)
        assert (score.measure, score.dropped) == (f"{combination} of all_strings", 0)


def test_a_members_own_padding_is_no_padding_of_the_ensemble():
    """What opens a text after the end of another one is read, though the member has it for padding, too."""
    found = []
    for pad in (None, "<s>"):
        tokenizer = small.plain()
        tokenizer.pad_token = pad
        member, _ = byteify(tiny_llama(len(tokenizer)), tokenizer, tolerance=0)
        model, _ = ByteEnsembleForCausalLM.from_members([member])
        assert (model.config.pad_token_id, model.config.bos_token_id) == (PAD, BOS)
        found.append(model(torch.tensor([[97, EOS, BOS, 98]])).logits.exp())
    torch.testing.assert_close(*found, atol=1e-12, rtol=0)


def test_in_training_mode_scores_are_those_of_evaluation():
    tokenizer = small.plain()
    member, _ = byteify(tiny("gpt2", vocab_size=len(tokenizer)), tokenizer, tolerance=0)  # it has dropout
    model, _ = ByteEnsembleForCausalLM.from_members([member])
    (expected,) = score_bytes(model, "abcab")
    model.train()
    (found,) = score_bytes(model, "abcab")
    assert found.log_probability == pytest.approx(expected.log_probability, abs=1e-6)
    assert model.training and member.base.training


def test_what_the_members_drop_is_reported():
    members = [
        byteified(small.plain, 2, tolerance=0.2, measure="canonical"),
        byteified(small.fallback, 2, tolerance=0.2),
    ]
    model, _ = ByteEnsembleForCausalLM.from_members(members, [1, 3])
    (score,) = score_bytes(model, "ababaab")
    dropped = [score_bytes(member, "ababaab")[0].dropped for member in members]
    assert score.measure == "mixture of canonical, all_strings"
    assert score.dropped == pytest.approx(0.25 * dropped[0] + 0.75 * dropped[1]) and min(dropped) > 0


def test_what_the_members_read_on_as_other_spellings_is_reported(monkeypatch):
    monkeypatch.setattr("hf_tokext.models.byte_level.twins.ALIKE", 1)
    members = [byteified(small.plain, seed, tolerance=1e-2) for seed in (1, 2)]
    model, _ = ByteEnsembleForCausalLM.from_members(members, [1, 3])
    (score,) = score_bytes(model, "abcabcaabcabcab")
    merged = [score_bytes(member, "abcabcaabcabcab")[0].merged for member in members]
    assert score.merged == pytest.approx(0.25 * merged[0] + 0.75 * merged[1]) and max(merged) > 0


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_saved_and_loaded_it_is_the_same(combination, tmp_path):
    model, tokenizer = made(combination, markers=["<x>"])
    given = batch(tokenizer, ["aba", "a<x>"])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, device_map="auto", dtype="auto")
    assert isinstance(again, ByteEnsembleForCausalLM) and not again.training
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, ByteTokenizer) and loaded("a<x>").input_ids == tokenizer("a<x>").input_ids
    assert torch.equal(again(**given).logits, model(**given).logits)
    for name in ("markers", "weights", "combination", "eos_token_id", "pad_token_id", "bos_token_id"):
        assert getattr(again.config, name) == getattr(model.config, name)
    assert all(type(member) is ByteLevelConfig for member in again.config.members)
    assert again.generation_config.eos_token_id == EOS
    kinds = [member.base_tokenizer.backend_tokenizer.to_str() for member in again.members]
    assert kinds == [member.base_tokenizer.backend_tokenizer.to_str() for member in model.members]
    single = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    assert {each.dtype for each in single.parameters()} == {torch.float32}
    assert {member.base.config._attn_implementation for member in single.members} == {"eager"}
    assert single(**given).logits.dtype == torch.float32


def test_the_folder_names_the_installed_classes(tmp_path):
    model, _ = made()
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == {
        "AutoConfig": "hf_tokext_auto.ByteEnsembleConfig",
        "AutoModelForCausalLM": "hf_tokext_auto.ByteEnsembleForCausalLM",
    }
    code = (tmp_path / "hf_tokext_auto.py").read_text()
    assert "import ByteEnsembleConfig\n" in code and "import ByteEnsembleForCausalLM\n" in code
    assert type(AutoConfig.from_pretrained(tmp_path)) is ByteEnsembleConfig


def test_a_checkpoint_without_a_members_tokenizer_is_refused(tmp_path):
    model, _ = made()
    model.save_pretrained(tmp_path)
    for path in (tmp_path / "base_tokenizer_1").iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match="no tokenizer of its base in base_tokenizer_1/"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_in_a_subfolder_its_tokenizers_are_found(tmp_path):
    model, _ = made()
    model.save_pretrained(tmp_path / "inner")
    again = AutoModelForCausalLM.from_pretrained(tmp_path, subfolder="inner", dtype="auto")
    assert torch.equal(again(torch.tensor([[97]])).logits, model(torch.tensor([[97]])).logits)


def test_a_chat_template_is_kept_where_all_members_have_it():
    members = [byteified(small.plain), byteified(small.fallback, 1)]
    for member in members:
        member.base_tokenizer.chat_template = "{{ messages[0].content }}"
    assert ByteEnsembleForCausalLM.from_members(members)[1].chat_template == "{{ messages[0].content }}"
    members[1].base_tokenizer.chat_template = "{{ messages[1].content }}"
    assert ByteEnsembleForCausalLM.from_members(members)[1].chat_template is None


def test_what_is_no_ensemble_is_refused():
    member = byteified(small.plain)
    make = ByteEnsembleForCausalLM.from_members
    with pytest.raises(UnsupportedModelError, match="no members"):
        make([])
    with pytest.raises(UnsupportedModelError, match="no members"):
        ByteEnsembleForCausalLM(ByteEnsembleConfig())
    with pytest.raises(UnsupportedModelError, match="member 1 is a LlamaForCausalLM"):
        make([member, member.base])
    with pytest.raises(UnsupportedModelError, match="1 weights for 2 members"):
        make([member, member], [1.0])
    for weight in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UnsupportedModelError, match="above zero"):
            make([member, member], [1, weight])
    with pytest.raises(UnsupportedModelError, match="combination must be one of"):
        make([member], combination="sum")
    with pytest.raises(Exception, match="3 weights for 1 members"):
        ByteEnsembleConfig(members=[member.config], weights=[1, 2, 3])
    with pytest.raises(Exception, match="is a llama, not a ByteLevelConfig"):
        ByteEnsembleConfig(members=[{"model_type": "llama"}])
    member.config.bos_token_id = None
    with pytest.raises(UnsupportedModelError, match="names no bos"):
        make([member])


def test_what_it_is_not_for_is_refused():
    model, _ = made()
    ids = torch.tensor([[97, 98]])
    with pytest.raises(UnsupportedModelError, match="ByteEnsembleForCausalLM is for inference"):
        model(ids, labels=ids)
    with pytest.raises(UnsupportedModelError, match="256 bytes"):
        model.resize_token_embeddings(300)
    with pytest.raises(UnsupportedModelError, match="input_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 16))
    with pytest.raises(UnsupportedModelError, match="guidance_scale"):
        model.generate(ids, max_new_tokens=1, guidance_scale=1.5)
    with pytest.raises(UnsupportedModelError, match="its own generate"):
        complete(model, "ab")
    with pytest.raises(TextError, match="id 300 is neither"):
        model(torch.tensor([[97, 300]]))
    with pytest.raises(TextError, match="the prompt is empty"):
        model(torch.zeros((1, 0), dtype=torch.long))
