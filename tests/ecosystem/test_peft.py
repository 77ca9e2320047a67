"""PEFT on transplanted checkpoints and on a model of bytes: what is learned, what is stored, and what comes back."""

import json

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from hf_tokext import transplant_tokenizer
from tests.ecosystem.checkpoints import is_tied, logits, losses, small, trainer
from tests.tiny_models import tiny
from tests.tokenizers import byte_level

NEW = ["<tool>", "rivers and boats"]
TEXT = "the cat <tool> sat on rivers and boats here"
NAMES = {"gpt2": "wte"}  # of the embedding; embed_tokens elsewhere
# PEFT asks a module for a name that transformers renamed
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]


def lora(**options) -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options)


def whole_vocabulary(tied: bool) -> LoraConfig:
    """LoRA on the layers, and the new vocabulary's matrices whole."""
    return lora(modules_to_save=["embed_tokens"] if tied else ["embed_tokens", "lm_head"], ensure_weight_tying=tied)


def stored(folder) -> list[str]:
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        return list(file.keys())


def proves_every_way_back(trained, tokenizer, checkpoint, tmp_path, text=TEXT):
    """Adapter saved and loaded, merged, merged and saved, loaded without PEFT: the same logits, the same tie."""
    truth = logits(trained, tokenizer, text)
    assert truth.shape[-1] == len(tokenizer)
    trained.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    again = AutoTokenizer.from_pretrained(tmp_path / "adapter")
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert torch.equal(logits(loaded, again, text), truth)
    assert len(loaded.get_input_embeddings().weight) == len(tokenizer)

    for name, model in (("merged", trained), ("loaded and merged", loaded)):
        merged = model.merge_and_unload()
        torch.testing.assert_close(logits(merged, tokenizer, text), truth, rtol=1e-4, atol=1e-5)
        merged.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        plain, words = (each.from_pretrained(tmp_path / name) for each in (AutoModelForCausalLM, AutoTokenizer))
        assert torch.equal(logits(plain, words, text), logits(merged, tokenizer, text))
        assert is_tied(plain) == checkpoint.tied == plain.config.tie_word_embeddings
        assert not [path.name for path in (tmp_path / name).iterdir() if "adapter" in path.name]


@pytest.mark.parametrize("kind", ["llama-tied", "llama-untied", "gpt2", "qwen2", "bytes"])
def test_only_the_rows_of_added_tokens_are_learned(kind, tmp_path):
    checkpoint = small(kind, tmp_path / "base")
    model, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    old_rows = len(tokenizer)
    assert tokenizer.add_tokens(NEW) == 2
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path / "base")  # the adapter is loaded onto the model that has the rows
    tokenizer.save_pretrained(tmp_path / "base")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = tokenizer.convert_tokens_to_ids(NEW)
    assert ids == [old_rows, old_rows + 1] and set(ids) <= set(tokenizer(TEXT)["input_ids"])
    matrices = [NAMES.get(kind, "embed_tokens")] + ([] if checkpoint.tied else ["lm_head"])
    trained = get_peft_model(model, lora(trainable_token_indices=dict.fromkeys(matrices, ids)))
    learned = {name for name, parameter in trained.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in learned)
    run = trainer(trained, tokenizer, tmp_path / "run")
    run.train_dataset = [{"input_ids": tokenizer(TEXT)["input_ids"]}] * 16
    run.train()
    assert losses(run)[-1] < losses(run)[0]

    trained.save_pretrained(tmp_path / "stored")
    assert all("lora_" in name or "token_adapter" in name for name in stored(tmp_path / "stored"))
    assert sum("trainable_tokens_delta" in name for name in stored(tmp_path / "stored")) == len(matrices)
    proves_every_way_back(trained, tokenizer, checkpoint, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    rows, was = plain.get_input_embeddings().weight, before[_embedding(plain)]
    assert torch.equal(rows[:old_rows], was[:old_rows])
    assert all(not torch.equal(rows[token], was[token]) for token in ids)
    head = plain.get_output_embeddings().weight
    assert torch.equal(head[:old_rows], before["lm_head.weight"][:old_rows])


def _embedding(model) -> str:
    return next(name for name, value in model.named_parameters() if value is model.get_input_embeddings().weight)


def learns_one_matrix(trained) -> bool:
    """Whether PEFT learns one matrix for embedding and head."""
    one, other = (each.modules_to_save["default"] for each in (trained.get_input_embeddings(), _head(trained)))
    return one.weight is other.weight


def _head(trained):
    return trained.base_model.model.get_output_embeddings()


@pytest.mark.parametrize("kind", ["llama-tied", "llama-untied", "qwen2", "bytes"])
def test_a_whole_new_vocabulary(kind, tmp_path):
    checkpoint = small(kind, tmp_path / "base")
    model, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = get_peft_model(model, whole_vocabulary(checkpoint.tied))
    run = trainer(trained, tokenizer, tmp_path / "run")
    run.train()
    assert losses(run)[-1] < losses(run)[0]
    assert learns_one_matrix(trained) == checkpoint.tied
    proves_every_way_back(trained, tokenizer, checkpoint, tmp_path, "the cat sat")
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert learns_one_matrix(loaded) == checkpoint.tied
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    moved = {name for name in before if not torch.equal(after[name], before[name])}
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= moved
    assert all("norm" not in name for name in moved)


def test_a_head_that_stays_while_the_embedding_is_learned(tmp_path):
    """ensure_weight_tying on a model whose matrices are two changes nothing about the head."""
    checkpoint = small("llama-untied", tmp_path / "base")
    model, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    head = model.lm_head.weight.clone()
    with pytest.warns(UserWarning, match="tie"):
        trained = get_peft_model(model, lora(modules_to_save=["embed_tokens"], ensure_weight_tying=True))
    trainer(trained, tokenizer, tmp_path / "run").train()
    proves_every_way_back(trained, tokenizer, checkpoint, tmp_path, "the cat sat")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(plain.lm_head.weight, head)
    assert not torch.equal(plain.model.embed_tokens.weight, checkpoint.model().model.embed_tokens.weight)


@pytest.mark.parametrize("kind", ["llama-tied", "llama-untied"])
def test_gradient_checkpointing_learns_the_same(kind, tmp_path):
    checkpoint = small(kind, tmp_path / "base")
    found, states = [], []
    for on in (False, True):
        torch.manual_seed(0)
        trained = get_peft_model(checkpoint.model(), whole_vocabulary(checkpoint.tied))
        passes = []
        trained.base_model.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_, into=passes: into.append(1))
        run = trainer(
            trained, checkpoint.tokenizer(), tmp_path / str(on), max_steps=3, activation_checkpointing=on,
            activation_checkpointing_kwargs={"use_reentrant": False} if on else None,
        )  # fmt: skip
        run.train()
        assert len(passes) == (6 if on else 3)
        found.append(losses(run))
        states.append({name: value for name, value in trained.named_parameters() if value.requires_grad})
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("what", ["whole vocabulary", "added tokens"])
@pytest.mark.parametrize("kind", ["llama-tied", "llama-untied"])
def test_a_resumed_run_equals_an_uninterrupted_one(kind, what, tmp_path):
    checkpoint = small(kind, tmp_path / "base")
    tokenizer = checkpoint.tokenizer()
    options = {"save_strategy": "steps", "save_steps": 2}

    def fresh():
        torch.manual_seed(0)
        rows = {"embed_tokens": [290, 291]} | ({} if checkpoint.tied else {"lm_head": [290, 291]})
        adapter = lora(trainable_token_indices=rows) if what == "added tokens" else whole_vocabulary(checkpoint.tied)
        return get_peft_model(checkpoint.model(), adapter)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:
            control.should_training_stop = state.global_step == 3

    whole = trainer(fresh(), tokenizer, tmp_path / "whole", **options)
    whole.train()
    trainer(fresh(), tokenizer, tmp_path / "stopped", callbacks=[Stop()], **options).train()
    resumed = trainer(fresh(), tokenizer, tmp_path / "stopped", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "stopped" / "checkpoint-2"))
    assert losses(resumed) == losses(whole) and len(losses(whole)) == 6
    for name, value in whole.model.named_parameters():
        assert torch.equal(resumed.model.get_parameter(name), value), name


@pytest.mark.parametrize("kind", ["llama-tied", "llama-untied", "bytes"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bf16(kind, dtype, tmp_path):
    """Mixed precision, over a base in float32 and over one in bfloat16, whose adapter PEFT keeps in float32."""
    checkpoint = small(kind, tmp_path / "base")
    tokenizer = checkpoint.tokenizer()
    trained = get_peft_model(checkpoint.model(dtype=dtype), whole_vocabulary(checkpoint.tied))
    run = trainer(trained, tokenizer, tmp_path / "run", bf16=True)
    run.train()
    assert losses(run)[-1] < losses(run)[0]
    trained.save_pretrained(tmp_path / "adapter")
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", dtype=dtype)
    for (name, one), (other, two) in zip(trained.named_parameters(), loaded.named_parameters(), strict=True):
        assert name == other and torch.equal(one, two), name
    merged = trained.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert is_tied(plain) == checkpoint.tied
    assert plain.model.layers[0].mlp.up_proj.weight.dtype == dtype
    for name, value in merged.state_dict().items():
        assert torch.equal(plain.state_dict()[name].to(value.dtype), value), name


def test_tokens_added_after_the_base_was_saved(tmp_path):
    """The tokenizer lies beside the adapter, and PEFT gives the base the rows that it asks for."""
    checkpoint = small("llama-tied", tmp_path / "base")
    model, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    tokenizer.add_tokens(NEW)
    model.resize_token_embeddings(len(tokenizer))
    trained = get_peft_model(model, whole_vocabulary(True))
    trainer(trained, tokenizer, tmp_path / "run").train()
    trained.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert len(loaded.get_input_embeddings().weight) == len(tokenizer)
    assert torch.equal(logits(loaded, tokenizer, TEXT), logits(trained, tokenizer, TEXT))


@pytest.mark.parametrize("rows", [300, 320])
def test_an_adapter_of_a_model_changed_in_memory_never_names_a_base_of_other_rows(tmp_path, rows):
    """By an equal number of ids PEFT believes that the embeddings are the base's own, and leaves them out."""
    tiny("llama", vocab_size=300).save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    donor = byte_level(290, text="rivers and boats, " * 50)
    base, _, _ = transplant_tokenizer(base, byte_level(290), donor, rows=rows, calibrate=False)
    get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])).save_pretrained(
        tmp_path / "adapter"
    )
    named = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    kept = any("embed_tokens" in name for name in stored(tmp_path / "adapter"))
    assert (named, kept) == ((None, False) if rows == 300 else (str(tmp_path / "base"), True))
