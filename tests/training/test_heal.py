"""Healing learns what it should, leaves the rest alone, and gives a plain model back."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_tokext.errors import CheckpointError, OutputExistsError, TextError, UnsupportedModelError, VocabularyError
from hf_tokext.measure import bits_per_byte
from hf_tokext.training import heal_model
from tests.tiny_models import tiny
from tests.tokenizers import TEXT, byte_level

CASES = [("llama", True), ("llama", False), ("gpt2", True), ("gpt_neox", False), ("gemma3", True)]
OPTIONS = {"steps": 8, "window": 32, "tokens_per_step": 64, "progress": False, "bf16": False}
NEW = [260, 261, 262, 270, 289, 299]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level()


def logits(model, train=False):
    torch.manual_seed(0)
    model.train(train)
    with torch.no_grad():
        found = model(input_ids=torch.arange(250, 282).reshape(2, 16)).logits
    model.eval()
    return found


def is_tied(model):
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("train", ["rows", "lora", "all"])
@pytest.mark.parametrize(("name", "tied"), CASES)
def test_loss_falls_and_the_saved_model_is_the_healed_one(tokenizer, name, tied, train, tmp_path):
    model = tiny(name, tied=tied, vocab_size=300)
    healed, report = heal_model(
        model, tokenizer, [TEXT], train=train, learning_rate=1e-2, eval_texts=["the cat sat"], eval_every=4, **OPTIONS
    )
    assert sum(report.losses[-2:]) < sum(report.losses[:2])
    assert [point.step for point in report.curve] == [0, 4, 8]
    assert report.curve[-1].bits_per_byte < report.curve[0].bits_per_byte
    assert report.curve[-1].bits_per_byte == pytest.approx(
        bits_per_byte(healed, tokenizer, ["the cat sat"]).bits_per_byte, rel=1e-5
    )
    assert type(healed) is type(model) and is_tied(healed) == tied
    assert all(parameter.requires_grad for parameter in healed.parameters())

    healed.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert is_tied(loaded) == tied
    assert not any(path.name.startswith("adapter") for path in tmp_path.iterdir())
    for mode in (False, True):
        assert torch.equal(logits(healed, mode), logits(loaded, mode))


@pytest.mark.parametrize(("name", "tied"), CASES)
def test_rows_touches_the_new_rows_only(tokenizer, name, tied):
    before = tiny(name, tied=tied, vocab_size=300)
    healed, report = heal_model(copy.deepcopy(before), tokenizer, [TEXT], train="rows", new_ids=NEW, **OPTIONS)
    matrices = {id(healed.get_input_embeddings().weight), id(healed.get_output_embeddings().weight)}
    old = dict(before.named_parameters())
    kept = torch.ones(300, dtype=torch.bool)
    kept[NEW] = False
    for name_, parameter in healed.named_parameters():
        if id(parameter) not in matrices:
            assert torch.equal(parameter, old[name_]), name_
            continue
        assert torch.equal(parameter[kept], old[name_][kept])
        assert not torch.equal(parameter[NEW], old[name_][NEW])
    assert report.trained_parameters == len(NEW) * 16 * (1 if tied else 2)


@pytest.mark.parametrize(("name", "tied"), CASES)
@pytest.mark.parametrize("train", ["rows", "lora"])
def test_merging_changes_no_logit(tokenizer, name, tied, train):
    options = {**OPTIONS, "train": train, "learning_rate": 1e-2}
    if (name, train) == ("gpt2", "lora"):  # PEFT would not tie it again on loading; the merged one is compared above
        with pytest.raises(UnsupportedModelError, match="merge it"):
            heal_model(tiny(name, vocab_size=300), tokenizer, [TEXT], merge=False, **options)
        return
    adapter, _ = heal_model(tiny(name, tied=tied, vocab_size=300), tokenizer, [TEXT], merge=False, **options)
    before = logits(adapter)
    merged = adapter.merge_and_unload()
    torch.testing.assert_close(logits(merged), before, rtol=1e-4, atol=1e-5)
    healed, _ = heal_model(tiny(name, tied=tied, vocab_size=300), tokenizer, [TEXT], **options)
    torch.testing.assert_close(logits(healed), before, rtol=1e-4, atol=1e-5)


def test_lora_leaves_norms_alone(tokenizer):
    before = tiny("llama", vocab_size=300)
    healed, _ = heal_model(copy.deepcopy(before), tokenizer, [TEXT], train="lora", **OPTIONS)
    new, old = dict(healed.named_parameters()), dict(before.named_parameters())
    assert set(new) == set(old)
    assert all(torch.equal(new[name], old[name]) for name in old if "norm" in name)
    assert all(not torch.equal(new[name], old[name]) for name in old if "proj" in name or "embed" in name)


def test_dtype_comes_back(tokenizer):
    before = tiny("llama", vocab_size=300, dtype=torch.bfloat16)
    healed, _ = heal_model(copy.deepcopy(before), tokenizer, [TEXT], train="rows", new_ids=NEW, **OPTIONS)
    assert {parameter.dtype for parameter in healed.parameters()} == {torch.bfloat16}
    assert torch.equal(healed.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight)
    assert torch.equal(healed.lm_head.weight[:260], before.lm_head.weight[:260])


@pytest.mark.parametrize("train", ["rows", "lora", "all"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_resumed_run_equals_an_uninterrupted_one(tokenizer, name, train, tmp_path, monkeypatch):
    options = {**OPTIONS, "train": train, "eval_texts": ["the cat sat"], "eval_every": 2, "save_every": 3}
    whole, report = heal_model(tiny(name, vocab_size=300), tokenizer, [TEXT], output_dir=tmp_path / "a", **options)

    from hf_tokext.training import recovery

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recovery.Recovery, "on_step_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            heal_model(tiny(name, vocab_size=300), tokenizer, [TEXT], output_dir=tmp_path / "b", **options)
    with pytest.raises(OutputExistsError, match="stopped run"):
        heal_model(tiny(name, vocab_size=300), tokenizer, [TEXT], output_dir=tmp_path / "b", **options)
    with pytest.raises(CheckpointError, match="differs in seed"):
        heal_model(
            tiny(name, vocab_size=300), tokenizer, [TEXT], output_dir=tmp_path / "b", resume=True, seed=1, **options
        )
    again, resumed = heal_model(
        tiny(name, vocab_size=300), tokenizer, [TEXT], output_dir=tmp_path / "b", resume=True, **options
    )
    assert resumed.resumed_from == 3
    assert resumed.losses == pytest.approx(report.losses, rel=1e-5)
    assert resumed.tokens_seen == report.tokens_seen
    assert [point.step for point in resumed.curve] == [point.step for point in report.curve] == [0, 2, 4, 6, 8]
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_tokens_seen_are_counted(tokenizer):
    _, report = heal_model(tiny("llama", vocab_size=300), tokenizer, [TEXT * 4], **OPTIONS)
    windows_in_text = -(-(len(tokenizer(TEXT * 4)["input_ids"]) + 1) // 31)
    assert windows_in_text > 16
    assert report.tokens_seen == pytest.approx(8 * 64, abs=32)  # the last window of the text is shorter
    assert report.passes == pytest.approx(16 / windows_in_text, abs=0.1)


def test_the_same_seed_gives_the_same_model(tokenizer):
    runs = [
        heal_model(tiny("llama", vocab_size=300), tokenizer, [TEXT], seed=s, **OPTIONS)[1].losses for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_what_cannot_be_healed_is_refused_before_anything_changes(tokenizer):
    model = tiny("llama", vocab_size=300, dtype=torch.bfloat16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for error, change in [
        (UnsupportedModelError, {"train": "nothing"}),
        (VocabularyError, {"new_ids": [300]}),
        (VocabularyError, {"new_ids": []}),
        (TextError, {"steps": 0}),
    ]:
        with pytest.raises(error):
            heal_model(model, tokenizer, [TEXT], **{**OPTIONS, **change})
    with pytest.raises(TextError):
        heal_model(model, tokenizer, [""], **OPTIONS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.dtype == torch.bfloat16
    with pytest.raises(UnsupportedModelError, match="looks ahead"):
        heal_model(tiny("bert", vocab_size=300), tokenizer, [TEXT], **OPTIONS)


def test_a_head_with_a_bias_is_not_learned_by_rows(tokenizer):
    model = tiny("llama", vocab_size=300)
    model.lm_head = torch.nn.Linear(16, 300)
    with pytest.raises(UnsupportedModelError, match="bias"):
        heal_model(model, tokenizer, [TEXT], train="rows", **OPTIONS)
