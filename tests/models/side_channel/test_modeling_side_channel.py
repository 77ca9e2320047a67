"""The models: what they compute, generate, keep and learn."""

import copy
import pickle

import pytest
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    LlamaConfig,
)

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
from hf_tokext.models.side_channel.modeling_side_channel import (
    SideChannelForCausalLM,
    SideChannelForConditionalGeneration,
)
from tests.models.side_channel.conftest import CAUSAL, SEQ2SEQ, TABLES, batch, inputs_of, logits, make, same_weights
from tests.tiny_models import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT 0.21: the old name
EXACT = {"rtol": 0, "atol": 1e-12}


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
        if not tables:
            with pytest.raises(TextError, match=r"must be \[3, 6, 0\]"):
                model(**inputs)
            del inputs["side_ids"]
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


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bart"])
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
    for wrong in ([[1]], {"kinds": [[1]]}):
        with pytest.raises(TextError, match="side_ids must be a tensor"):
            model(input_ids=ids, side_ids=wrong)
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


@pytest.mark.parametrize(
    "backbone",
    [
        transformers.Gemma3nTextConfig(),
        transformers.Gemma4TextConfig(),
        transformers.DeepseekV4Config(),
        transformers.BltConfig(),
        transformers.Qwen4ExpTextConfig(ple_layer_ids=[1], eos_token_id=2),
    ],
    ids=lambda config: config.model_type,
)
def test_backbones_that_look_tokens_up_again_are_refused(backbone):
    with torch.device("meta"), pytest.raises(UnsupportedModelError, match="look tokens up again"):
        SideChannelForCausalLM(SideChannelConfig(backbone_config=backbone))


def test_backbones_that_take_no_embeddings_or_no_cache_are_refused():
    for config, name in (
        (transformers.CpmAntConfig(hidden_size=8, num_hidden_layers=1, vocab_size=9), "inputs_embeds"),
        (transformers.MambaConfig(hidden_size=8, num_hidden_layers=1, state_size=2, vocab_size=9), "past_key_values"),
    ):
        with torch.device("meta"), pytest.raises(UnsupportedModelError, match=f"takes no {name}"):
            SideChannelForCausalLM(SideChannelConfig(backbone_config=config))


def test_a_causal_model_is_not_mixed_by_the_whole_batch():
    with pytest.raises(UnsupportedModelError, match="decides by all positions at once"):
        SideChannelForCausalLM.from_backbone(tiny("llama"), {"shells": {"size": 4, "mixing": "published"}})


def test_a_model_on_disk_takes_no_tables(tmp_path):
    tiny("llama").save_pretrained(tmp_path)
    places = {"model.embed_tokens": "disk", "model.layers": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    offloaded = AutoModelForCausalLM.from_pretrained(
        tmp_path, device_map=places | {"lm_head": "cpu"}, offload_folder=tmp_path / "disk"
    )
    with pytest.raises(UnsupportedModelError, match="lie on disk"):
        SideChannelForCausalLM.from_backbone(offloaded, TABLES)


@pytest.mark.parametrize("mixing", ["published", "published_concat"])
def test_by_the_published_rules_no_side_ids_are_ids_of_none(mixing):
    model = make("t5", {"shells": {"size": 4, "levels": 2, "mixing": mixing}})
    if mixing == "published_concat":
        with torch.no_grad():
            model.side.tables["shells"].mlp[2].bias.fill_(0.5)
    inputs = inputs_of("t5", batch()[0], torch.full((3, 6, 2), -1))
    found = logits(model, **(inputs | {"side_ids": None}))
    assert torch.equal(found, logits(model, **inputs))
    plain = tiny("t5", dtype=torch.float64)
    del inputs["side_ids"]
    assert torch.equal(found, logits(plain, **inputs)) is (mixing == "published")


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_states_and_attentions_come_out_and_take_gradients(name):
    model = make(name, dtype=torch.float32)
    inputs = inputs_of(name, *batch())
    expected = logits(model, **inputs)
    model.set_attn_implementation("eager")
    found = model(**inputs, output_hidden_states=True, output_attentions=True)
    torch.testing.assert_close(found.logits, expected, rtol=0, atol=1e-5)
    kinds = ("encoder_", "decoder_") if name in SEQ2SEQ else ("",)
    watched = [each for kind in kinds for each in (*found[f"{kind}hidden_states"], *found[f"{kind}attentions"])]
    assert len(watched) == len(kinds) * 5  # the mixed embeddings, two layers; two layers
    for each in watched:
        each.retain_grad()
    found.loss.backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in watched)
    plain = model(**inputs, return_dict=False)
    assert isinstance(plain, tuple) and torch.equal(plain[1], found.logits)


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_what_is_masked_changes_nothing(name):
    model = make(name)
    ids, side = batch()
    inputs = inputs_of(name, ids, side)
    inputs["attention_mask"][:, 2] = 0
    other = inputs | {"input_ids": ids.clone(), "side_ids": side.clone()}
    other["input_ids"][:, 2], other["side_ids"][:, 2] = 7, 1
    kept = [0, 1, 3] if name in SEQ2SEQ else [0, 1, 3, 4, 5]
    torch.testing.assert_close(logits(model, **other)[:, kept], logits(model, **inputs)[:, kept], **EXACT)


@pytest.mark.long
def test_compiled_and_trained_gradients_are_the_same():
    grads = []
    for compiled in (False, True):
        model = make("llama", dtype=torch.float32)
        run = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
        run(**inputs_of("llama", *batch())).loss.backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
