"""The models: what they compute, generate, keep and learn."""

import copy
import json
import pickle

import peft
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    LlamaConfig,
    Trainer,
    TrainingArguments,
)

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
from hf_tokext.models.side_channel.modeling_side_channel import (
    SideChannelForCausalLM,
    SideChannelForConditionalGeneration,
)
from tests.models.side_channel.conftest import CAUSAL, SEQ2SEQ, TABLES, batch, make
from tests.tiny_models import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT 0.21: the old name
EXACT = {"rtol": 0, "atol": 1e-12}


def inputs_of(name, ids, side):
    found = {"input_ids": ids, "side_ids": side, "attention_mask": torch.ones_like(ids)}
    return found | ({"labels": ids[:, :4].contiguous()} if name in SEQ2SEQ else {"labels": ids})


def logits(model, **inputs):
    with torch.no_grad():
        return model(**inputs).logits


def same_weights(one, other):
    """Bit for bit; logits may differ by rounding, since loaded weights lie elsewhere in memory."""
    ones, others = one.state_dict(), other.state_dict()
    assert ones.keys() == others.keys()
    assert all(torch.equal(value, others[key]) for key, value in ones.items())


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_the_backbone_reads_the_mixed_embeddings(name):
    model = make(name, {"shells": {"size": 12, "levels": 3, "weights": [0.5, 0.25]}})
    ids, side = batch(tables={"shells": model.config.side_tables["shells"]})
    inputs = inputs_of(name, ids, side)
    plain = tiny(name, dtype=torch.float64)
    encoder = plain.get_encoder() if name in SEQ2SEQ else plain
    embeds = encoder.get_input_embeddings()(ids).detach().clone()
    rows = model.side.tables["shells"].rows.weight.detach()
    for row, at in (side >= 0).any(-1).nonzero().tolist():
        there = [level for level in side[row, at].tolist() if level >= 0]
        embeds[row, at] = 0.5 * embeds[row, at] + 0.25 * sum(rows[level + 1] for level in there) / len(there)
    given = {key: value for key, value in inputs.items() if key not in ("input_ids", "side_ids")}
    torch.testing.assert_close(logits(model, **inputs), logits(plain, inputs_embeds=embeds, **given), **EXACT)


@pytest.mark.parametrize("tables", [{"a": {"size": 9}}, {"a": {"size": 9, "mixing": "concat"}}, {}])
@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_put_on_a_model_nothing_changes_at_first(name, tables):
    for dtype in (torch.float32, torch.bfloat16):
        plain = tiny(name, dtype=dtype)
        own = SideChannelForConditionalGeneration if name in SEQ2SEQ else SideChannelForCausalLM
        ids, side = batch(tables={"a": {"size": 9}})
        inputs = inputs_of(name, ids, side)
        before = logits(plain, **{key: value for key, value in inputs.items() if key != "side_ids"})
        model = own.from_backbone(plain, tables)
        assert model.dtype == dtype and not model.training
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        assert torch.equal(logits(model, **inputs), before)


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_a_mixed_batch_equals_singletons(name):
    model = make(name)
    ids, side = batch()
    side[1] = -1  # one sample has none
    inputs = inputs_of(name, ids, side)
    alone = [logits(model, **{key: value[row : row + 1] for key, value in inputs.items()}) for row in range(3)]
    torch.testing.assert_close(logits(model, **inputs), torch.cat(alone), **EXACT)
    without = logits(model, **{key: value[1:2] for key, value in inputs.items() if key != "side_ids"})
    torch.testing.assert_close(alone[1], without, **EXACT)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_padding_changes_nothing(name, left):
    if left and name == "bart":
        pytest.skip("Bart's own positions count padding")
    model = make(name)
    ids, side = batch(rows=1)
    inputs = inputs_of(name, ids, side)
    labels = inputs.pop("labels")
    if name in SEQ2SEQ:
        inputs["decoder_input_ids"] = labels
    expected = logits(model, **inputs)
    sides = (2, 0) if left else (0, 2)
    padded = inputs | {
        "input_ids": torch.nn.functional.pad(ids, sides, value=0),
        "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], sides, value=0),
        "side_ids": torch.nn.functional.pad(side, (0, 0, *sides), value=-1),
    }
    if name in CAUSAL:
        padded["position_ids"] = (padded["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    found = logits(model, **padded)
    if name in CAUSAL:
        found = found[:, 2:] if left else found[:, :-2]
    torch.testing.assert_close(found, expected, **EXACT)


def by_hand_greedy(model, name, ids, side, steps):
    """Without cache and without generate."""
    start = torch.full((len(ids), 1), model.config.decoder_start_token_id or 0)
    written = start if name in SEQ2SEQ else ids
    for _ in range(steps):
        if name in SEQ2SEQ:
            found = logits(model, input_ids=ids, side_ids=side, decoder_input_ids=written)
        else:
            more = torch.full((len(ids), max(written.shape[1] - side.shape[1], 0), side.shape[2]), -1)
            seen = torch.cat([side, more], dim=1)[:, : written.shape[1]]
            found = logits(model, input_ids=written, side_ids=seen, use_cache=False)
        written = torch.cat([written, found[:, -1].argmax(-1, keepdim=True)], dim=1)
    return written


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_generate_cached_uncached_and_by_hand_agree(name):
    model = make(name)
    ids, side = batch()
    expected = by_hand_greedy(model, name, ids, side, 5)
    options = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    named = {key: side[..., own] for key, own in model.config.columns.items()}
    for given in ({"use_cache": True}, {"use_cache": False}, {"cache_implementation": "static"}, {"side_ids": named}):
        if name in SEQ2SEQ and "cache_implementation" in given:
            continue
        found = model.generate(ids, **({"side_ids": side} | options | given))
        assert torch.equal(found, expected), given
    if name != "bart":  # this tiny one writes the same whatever it reads
        assert not torch.equal(model.generate(ids, **options), expected)
    torch.manual_seed(0)
    drawn = [model.generate(ids, side_ids=side, **(options | {"do_sample": True})) for _ in range(2)]
    assert drawn[0].shape == expected.shape and not torch.equal(*drawn)


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_beams_of_a_batch_equal_those_of_singletons_with_and_without_cache(name):
    model = make(name)
    ids, side = batch()
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    found = model.generate(ids, side_ids=side, **options)
    alone = [model.generate(ids[row : row + 1], side_ids=side[row : row + 1], **options) for row in range(3)]
    assert torch.equal(found, torch.cat(alone))
    assert torch.equal(found, model.generate(ids, side_ids=side, use_cache=False, **options))
    named = {key: side[..., own] for key, own in model.config.columns.items()}
    assert torch.equal(found, model.generate(ids, side_ids=named, **options))


@pytest.mark.parametrize("name", CAUSAL)
def test_side_ids_may_go_on_past_the_prompt_and_embeddings_are_for_the_backbone(name):
    model = make(name)
    ids, side = batch()
    options = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    longer = torch.cat([side, batch(seed=1, length=3)[1]], dim=1)
    expected = by_hand_greedy(model, name, ids, longer, 5)
    assert not torch.equal(expected, by_hand_greedy(model, name, ids, side, 5))
    for use_cache in (True, False):
        assert torch.equal(model.generate(ids, side_ids=longer, use_cache=use_cache, **options), expected)
    embeds = model.mix(ids, None, side)
    found = model.backbone.generate(inputs_embeds=embeds, **options)
    assert torch.equal(found, by_hand_greedy(model, name, ids, side, 5)[:, ids.shape[1] :])
    with pytest.raises(ValueError, match="inputs_embeds"):
        model.generate(inputs_embeds=embeds, side_ids=side, **options)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_saved_and_loaded_it_is_the_same(name, tied, tmp_path):
    model = make(name, tied=tied)
    with torch.no_grad():
        model.side.tables["tags"].weights.copy_(torch.tensor([0.3, 0.7]))
    model.save_pretrained(tmp_path)
    auto = AutoModelForSeq2SeqLM if name in SEQ2SEQ else AutoModelForCausalLM
    ids, side = batch()
    inputs = inputs_of(name, ids, side)
    for options in ({}, {"device_map": "cpu"}, {"device_map": {"": "cpu"}, "low_cpu_mem_usage": True}):
        loaded, info = auto.from_pretrained(tmp_path, dtype=torch.float64, output_loading_info=True, **options)
        assert type(loaded) is type(model) and not info["missing_keys"] and not info["unexpected_keys"]
        same_weights(loaded, model)
        torch.testing.assert_close(logits(loaded, **inputs), logits(model, **inputs), **EXACT)
        same = loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight
        assert same is (model.get_input_embeddings().weight is model.get_output_embeddings().weight)
    for each in (model, loaded):
        each.train()
    results = []
    for each in (model, loaded):
        torch.manual_seed(0)
        results.append(logits(each, **inputs))
    torch.testing.assert_close(*results, **EXACT)
    half = auto.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.side.tables["shells"].rows.weight.dtype == torch.bfloat16 and logits(half, **inputs).isfinite().all()


def test_the_folder_names_the_installed_classes(tmp_path):
    for name, auto, own in (
        ("llama", "AutoModelForCausalLM", "SideChannelForCausalLM"),
        ("t5", "AutoModelForSeq2SeqLM", "SideChannelForConditionalGeneration"),
    ):
        make(name).save_pretrained(tmp_path / name)
        entry = json.loads((tmp_path / name / "config.json").read_text())["auto_map"]
        assert entry == {"AutoConfig": "hf_tokext_auto.SideChannelConfig", auto: f"hf_tokext_auto.{own}"}
        assert f"from hf_tokext import {own}\n" in (tmp_path / name / "hf_tokext_auto.py").read_text()


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_a_plain_checkpoint_without_tables_leaves_nothing_random(name, tmp_path):
    """Rows that a checkpoint lacks begin at zero, the layers at the plain sum: what loads computes the same."""
    model = make(name, {})
    model.save_pretrained(tmp_path)
    config = SideChannelConfig.from_pretrained(tmp_path)
    config = SideChannelConfig(**(config.to_dict() | {"side_tables": TABLES}))
    config.side_tables["shells"]["weights"] = config.side_tables["tags"]["weights"] = [1.0, 1.0]
    ids, side = batch()
    inputs = inputs_of(name, ids, side)
    expected = logits(model, **(inputs | {"side_ids": None}))
    for _ in range(2):
        loaded = type(model).from_pretrained(tmp_path, config=config, dtype=torch.float64)
        assert not loaded.side.tables["shells"].rows.weight.any()
        torch.testing.assert_close(logits(loaded, **inputs), expected, **EXACT)


def test_made_without_memory_then_loaded(tmp_path):
    model = make("llama")
    model.save_pretrained(tmp_path)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(model.config)
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    ids, side = batch()
    same_weights(loaded, model)
    given = {"input_ids": ids, "side_ids": side}
    torch.testing.assert_close(logits(loaded, **given), logits(model, **given), **EXACT)
    fresh = SideChannelForCausalLM(
        SideChannelConfig(backbone_config=model.config.backbone_config, side_tables={"a": {"size": 50, "std": 0.5}})
    )
    rows = fresh.side.tables["a"].rows.weight
    assert not rows[0].any() and 0.3 < rows[1:].std() < 0.7


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_a_resized_vocabulary_is_known_everywhere(name, tmp_path):
    model = make(name, tied=True)
    model.resize_token_embeddings(101)
    assert model.config.vocab_size == model.backbone.config.vocab_size == 101
    assert model.get_output_embeddings().weight.shape[0] == 101
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    ids, side = batch()
    ids[0, 0] = 100
    inputs = inputs_of(name, ids, side)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.float64)
    assert logits(loaded, **inputs).shape[-1] == 101
    same_weights(loaded, model)
    torch.testing.assert_close(logits(loaded, **inputs), logits(model, **inputs), **EXACT)


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bart"])
def test_trainer_lowers_the_loss_and_moves_the_tables(name, checkpointing, tmp_path):
    model = make(name, dtype=torch.float32)
    ids, side = batch(rows=4)
    inputs = inputs_of(name, ids, side)
    rows = [{key: value[row] for key, value in inputs.items()} for row in range(4)]
    before = model(**inputs).loss.item()
    kept = copy.deepcopy(model.side)
    arguments = TrainingArguments(
        tmp_path, max_steps=3, per_device_train_batch_size=4, learning_rate=1e-2, report_to=[], save_strategy="no",
        activation_checkpointing=checkpointing, use_cpu=True, disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=rows).train()
    model.eval()
    assert model(**inputs).loss.item() < before
    for name_of, table in model.side.tables.items():
        old, new = kept.tables[name_of].rows.weight, table.rows.weight
        assert not torch.equal(old, new) and not new[0].any()
    assert not torch.equal(kept.tables["tags"].weights, model.side.tables["tags"].weights)


@pytest.mark.parametrize("name", ["llama", "gemma3", "t5"])
def test_gradient_checkpointing_gives_the_same_gradients(name):
    grads = []
    for checkpointing in (False, True):
        model = make(name)
        if checkpointing:
            model.activation_checkpointing_enable()
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        model(**inputs_of(name, *batch()), use_cache=False).loss.backward()
        grads.append([parameter.grad for parameter in model.side.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_peft_trains_the_tables_beside_lora_and_reloads(name, tmp_path):
    model = make(name, dtype=torch.float32)
    targets = ["q", "v"] if name == "t5" else ["q_proj", "v_proj"]
    task = "SEQ_2_SEQ_LM" if name == "t5" else "CAUSAL_LM"
    tuned = peft.get_peft_model(
        model, peft.LoraConfig(task_type=task, r=2, target_modules=targets, modules_to_save=["side"])
    )
    ids, side = batch()
    inputs = inputs_of(name, ids, side)
    optimizer = torch.optim.SGD([value for value in tuned.parameters() if value.requires_grad], lr=0.1)
    for _ in range(2):
        tuned(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    tuned.eval()
    assert not torch.equal(logits(tuned, **inputs), logits(make(name, dtype=torch.float32), **inputs))
    tuned.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(make(name, dtype=torch.float32), tmp_path).eval()
    assert torch.equal(logits(loaded, **inputs), logits(tuned, **inputs))
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    found = [each.generate(input_ids=ids, side_ids=side, **options) for each in (tuned, loaded)]
    assert torch.equal(*found)
    merged = loaded.merge_and_unload()
    assert type(merged) is type(model)
    torch.testing.assert_close(logits(merged, **inputs), logits(tuned, **inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "bart"])
def test_copies_and_pickles_are_the_same(name):
    model = make(name)
    inputs = inputs_of(name, *batch())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(logits(other, **inputs), logits(model, **inputs))


def test_ids_by_name_equal_the_tensor():
    model = make("llama")
    ids, side = batch()
    named = {key: side[..., own] for key, own in model.config.columns.items()}
    named["kinds"] = named["kinds"][..., 0]  # one level needs no axis
    assert torch.equal(logits(model, input_ids=ids, side_ids=named), logits(model, input_ids=ids, side_ids=side))
    only = torch.full_like(side, -1)
    only[..., 0] = side[..., 0]
    found = logits(model, input_ids=ids, side_ids={"kinds": named["kinds"]})
    assert torch.equal(found, logits(model, input_ids=ids, side_ids=only))
    with pytest.raises(TextError, match="no side table 'kin'; there are: kinds, shells, tags"):
        model(input_ids=ids, side_ids={"kin": side})
    with pytest.raises(TextError, match="'shells' have the shape"):
        model(input_ids=ids, side_ids={"shells": side[..., :2]})


def test_the_wrong_kind_is_refused():
    with pytest.raises(UnsupportedModelError, match="use SideChannelForConditionalGeneration"):
        SideChannelForCausalLM.from_backbone(tiny("t5"), TABLES)
    with pytest.raises(UnsupportedModelError, match="use SideChannelForCausalLM"):
        SideChannelForConditionalGeneration(SideChannelConfig(backbone_config=LlamaConfig()))
    with pytest.raises(UnsupportedModelError, match="LlamaForCausalLM is wanted"):
        SideChannelForCausalLM.from_backbone(tiny("llama").model, TABLES)
    with pytest.raises(TextError, match="and not both"):
        make("llama")(side_ids=None)


def test_backbones_that_look_tokens_up_again_are_refused():
    from transformers import Gemma3nTextConfig

    with pytest.raises(UnsupportedModelError, match="look tokens up again"):
        SideChannelForCausalLM(SideChannelConfig(backbone_config=Gemma3nTextConfig()))
