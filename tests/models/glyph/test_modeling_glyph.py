"""GlyphModel and GlyphForCausalLM: what upstream holds its own models to, and what frozen pictures add."""

import copy

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache

from hf_tokext import GlyphConfig, GlyphForCausalLM, GlyphModel
from hf_tokext.errors import CheckpointError, UnsupportedModelError
from hf_tokext.models.glyph.rendering import glyph_vectors
from tests.tiny_models import HIDDEN, tiny_config

IDS = torch.tensor([[65537, 97, 98, 0xD83D, 0xDE42, 44], [65537, 65, 913, 32, 0xFFFF, 0]])
BACKBONES = ("llama", "qwen2", "gemma3", "gpt2", "gpt_neox")


def embedding_of(model):
    return model.get_input_embeddings().weight


@pytest.mark.parametrize("name", BACKBONES)
def test_save_and_reload_are_bit_equal_and_caches_change_nothing(fresh, name, tmp_path):
    model = fresh(name).eval()
    model.save_pretrained(tmp_path)
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is GlyphForCausalLM
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    state = model.state_dict()
    assert again.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, model(IDS).logits)
        body = AutoModel.from_pretrained(tmp_path)
        assert type(body) is GlyphModel
        assert torch.equal(body(IDS)[0], model.model(IDS)[0])
    options = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 4, "do_sample": False}
    assert torch.equal(again.generate(IDS, **options), model.generate(IDS, use_cache=False, **options))


@pytest.mark.parametrize("embedding", ["glyph", "random", "trainable"])
def test_train_mode_is_equal_after_reload_and_only_what_may_be_trained_is(fresh, embedding, tmp_path):
    model = fresh("gpt2", embedding, resid_pdrop=0.3, embd_pdrop=0.3)
    model.save_pretrained(tmp_path)
    again = GlyphForCausalLM.from_pretrained(tmp_path).train()
    model.train()
    before = embedding_of(again).clone()
    head = again.lm_head.weight.detach().clone()
    optimizer = torch.optim.AdamW(again.requires_grad_(True).parameters(), lr=0.1)
    losses = []
    for each in (model, again):
        torch.manual_seed(0)
        losses.append(each(IDS, labels=IDS).loss)
    assert torch.equal(*losses)
    losses[1].backward()
    optimizer.step()
    assert torch.equal(embedding_of(again), before) == (embedding != "trainable")
    assert not torch.equal(again.lm_head.weight, head)


def test_embeddings_are_the_pictures(fresh, glyphs):
    model = fresh()
    rows = embedding_of(model)
    assert torch.equal(rows, torch.from_numpy(glyph_vectors(glyphs.bits, HIDDEN)))
    assert torch.equal(rows[65], rows[913]) and not torch.equal(rows[65], rows[44])
    assert model.config.font == {"name": "tiny.bdf", "size": 8, "missing": 65532, "distinct": 65539}
    assert "model.backbone.embed_tokens.weight" in dict(model.named_buffers())
    logits = model.eval()(torch.tensor([[65], [913]])).logits
    torch.testing.assert_close(logits[0], logits[1])


def test_the_controls_differ_in_the_embeddings_alone(fresh):
    made = {}
    for kind in ("glyph", "random", "trainable"):
        torch.manual_seed(7)
        made[kind] = fresh(embedding=kind)
    rows = {kind: embedding_of(model).detach() for kind, model in made.items()}
    for each in rows.values():
        torch.testing.assert_close(each.norm(dim=-1), torch.ones(65540))
    assert torch.equal(rows["random"], rows["trainable"]) and not torch.equal(rows["random"], rows["glyph"])
    states = [{k: v for k, v in model.state_dict().items() if "embed_tokens" not in k} for model in made.values()]
    assert all(torch.equal(states[0][key], state[key]) for state in states[1:] for key in states[0])
    counts = {kind: sum(p.numel() for p in model.parameters()) for kind, model in made.items()}
    assert counts["trainable"] - counts["glyph"] == 65540 * HIDDEN and counts["glyph"] == counts["random"]


def test_every_way_to_generate(fresh):
    model = fresh().eval()
    mask = torch.ones_like(IDS)
    greedy = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "attention_mask": mask}
    plain = model.generate(IDS, **greedy)
    assert torch.equal(model.generate(IDS, cache_implementation="static", **greedy), plain)
    padded = torch.cat([torch.full((2, 3), 65536), IDS], dim=1)
    left = {**greedy, "attention_mask": torch.cat([torch.zeros(2, 3, dtype=torch.long), mask], dim=1)}
    assert torch.equal(model.generate(padded, **left)[:, 3:], plain)
    assert model.generate(IDS, num_beams=2, **greedy).shape == plain.shape
    for seed in (1, 1):
        torch.manual_seed(seed)
        sampled = model.generate(IDS, max_new_tokens=3, min_new_tokens=3, do_sample=True, attention_mask=mask)
        assert sampled.shape == (2, 9) and torch.equal(sampled[:, :6], IDS)
    for help in ({"assistant_model": fresh().eval()}, {"prompt_lookup_num_tokens": 2}):
        helped = model.generate(IDS[:1], **help, **{**greedy, "attention_mask": mask[:1]})
        assert torch.equal(helped, plain[:1])
    first = model(IDS[:, :4], past_key_values=DynamicCache(config=model.config), use_cache=True)
    rest = model(IDS[:, 4:], past_key_values=first.past_key_values)
    torch.testing.assert_close(rest.logits, model(IDS).logits[:, 4:])


def test_the_model_looks_back_only_and_takes_the_usual_options(fresh):
    model = fresh().eval()
    changed = IDS.clone()
    changed[:, -1] = 33
    torch.testing.assert_close(model(changed).logits[:, :-1], model(IDS).logits[:, :-1], rtol=0, atol=0)
    full = model(IDS, output_hidden_states=True, labels=IDS)
    assert len(full.hidden_states) == 3 and full.logits.shape == (2, 6, 65540)
    last = model(IDS, logits_to_keep=1).logits
    torch.testing.assert_close(last, full.logits[:, -1:])
    expected = torch.nn.functional.cross_entropy(full.logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    torch.testing.assert_close(full.loss, expected)
    vectors = model.get_input_embeddings()(IDS)
    torch.testing.assert_close(model(inputs_embeds=vectors).logits, full.logits)
    assert isinstance(model(IDS, return_dict=False), tuple)
    model.set_attn_implementation("eager")
    eager = model(IDS, output_attentions=True, output_hidden_states=True, labels=IDS)
    assert len(eager.attentions) == 2
    assert not eager.hidden_states[0].requires_grad  # the pictures
    watched = (*eager.hidden_states[1:], *eager.attentions)
    for each in watched:
        each.retain_grad()
    eager.loss.backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in watched)
    torch.testing.assert_close(eager.logits, full.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reentrant", [None, False, True])
def test_gradient_checkpointing_gives_the_same_gradients(fresh, reentrant):
    model = fresh().train()
    other = copy.deepcopy(model)
    other.activation_checkpointing_enable(None if reentrant is None else {"use_reentrant": reentrant})
    for each in (model, other):
        each(IDS, labels=IDS).loss.backward()
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert one.grad.abs().sum() > 0, name
        torch.testing.assert_close(one.grad, two.grad)


def test_layers_and_pictures_may_lie_on_disk(fresh, tmp_path):
    model = fresh().eval()
    model.save_pretrained(tmp_path)
    body = "model.backbone."
    places = {f"{body}embed_tokens": "disk", f"{body}layers.0": "disk", f"{body}layers.1": "cpu"}
    places |= {f"{body}norm": "cpu", f"{body}rotary_emb": "cpu", "lm_head": "disk"}
    again = AutoModelForCausalLM.from_pretrained(tmp_path, device_map=places, offload_folder=tmp_path / "disk")
    assert again.hf_device_map == places
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert torch.equal(again.generate(IDS, max_new_tokens=2)[:, :6], IDS)


def test_other_precisions_load_alike(fresh, tmp_path):
    model = fresh()
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {value.dtype for value in again.state_dict().values()} == {torch.bfloat16}
    assert torch.equal(embedding_of(again), embedding_of(model).bfloat16())
    logits = again(IDS).logits
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), model.eval()(IDS).logits, rtol=0.05, atol=0.02)


def test_shards_and_a_body_alone_load(fresh, tmp_path):
    model = fresh().eval()
    model.save_pretrained(tmp_path / "shards", max_shard_size="1MB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "shards")(IDS).logits, model(IDS).logits)
    model.model.save_pretrained(tmp_path / "body")
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path / "body", output_loading_info=True)
    assert type(again) is GlyphForCausalLM and set(info["missing_keys"]) == {"lm_head.weight"}
    assert torch.equal(again.model(IDS)[0], model.model(IDS)[0])


def test_trainer_keeps_the_pictures_and_saves_a_whole_checkpoint(fresh, tokenizer, tmp_path):
    model = fresh()
    before = embedding_of(model).clone()
    ids = [tokenizer(text).input_ids for text in ("hello", "wörld", "🙂 you", "there")]
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=1, save_steps=2, activation_checkpointing=True,
        learning_rate=0.1, report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    data = [{"input_ids": each, "labels": each} for each in ids]
    trainer = transformers.Trainer(model, arguments, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-2")
    assert torch.equal(embedding_of(again), before)
    assert torch.equal(again(IDS).logits, model.eval()(IDS).logits)
    assert type(transformers.AutoTokenizer.from_pretrained(tmp_path / "checkpoint-2")) is type(tokenizer)


def test_resizing_is_refused_and_asking_for_the_present_size_is_not(fresh):
    model = fresh()
    for each in (model, model.model):
        assert each.resize_token_embeddings() is each.resize_token_embeddings(65540) is model.get_input_embeddings()
        with pytest.raises(UnsupportedModelError, match=r"name further tokens in GlyphConfig\(special_tokens"):
            each.resize_token_embeddings(65541)
        with pytest.raises(UnsupportedModelError):
            each.resize_token_embeddings(pad_to_multiple_of=64)
    with pytest.raises(ValueError, match="name more tokens"):
        model.config.vocab_size = 7


def test_a_new_model_needs_a_font_and_a_checkpoint_its_pictures(fresh, bdf, glyphs, tmp_path):
    config = GlyphConfig(backbone_config=tiny_config("llama", tied=False, vocab_size=9))
    with pytest.raises(UnsupportedModelError, match=r"GlyphModel.from_font\(config, font\)"):
        AutoModelForCausalLM.from_config(config)
    with torch.device("meta"):
        assert AutoModel.from_config(config).get_input_embeddings().weight.shape == (65540, HIDDEN)
    model = GlyphForCausalLM.from_font(config, bdf)
    assert torch.equal(embedding_of(model), embedding_of(fresh()))
    more = GlyphConfig(backbone_config={"model_type": "gpt2", "n_embd": 8, "n_head": 1, "n_layer": 1})
    more.special_tokens = ["<pad>", "<s>", "</s>", "<unk>", "<img>"]
    more = GlyphConfig.from_dict(more.to_dict())
    assert GlyphModel.from_font(more, bdf).get_input_embeddings().weight.shape == (65541, 8)
    with pytest.raises(UnsupportedModelError, match="65540 glyphs for 65541 ids"):
        GlyphModel(more, glyphs)
    with pytest.raises(UnsupportedModelError, match="no font is needed"):
        GlyphForCausalLM.from_font(GlyphConfig(embedding="random"), bdf)
    state = {k: v for k, v in model.state_dict().items() if "embed_tokens" not in k}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(CheckpointError, match=r"lacks model.backbone.embed_tokens.weight"):
        GlyphForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "backbone",
    [
        transformers.BertConfig(),
        transformers.T5Config(),
        transformers.ViTConfig(),
        transformers.Gemma3Config(),
        transformers.MambaConfig(hidden_size=8, num_hidden_layers=1, state_size=2),
    ],
    ids=lambda config: config.model_type,
)
def test_what_is_no_causal_transformer_is_refused(backbone):
    with pytest.raises(UnsupportedModelError, match="is not a causal LM of text alone|takes no past_key_values"):
        GlyphModel(GlyphConfig(backbone_config=backbone, embedding="random"))


def test_config_keeps_what_it_is_given_and_is_one_vocabulary(tmp_path):
    backbone = tiny_config("llama", tied=True, vocab_size=50)
    config = GlyphConfig(backbone_config=backbone, embedding="random")
    assert (backbone.vocab_size, backbone.tie_word_embeddings) == (50, True)  # the caller's own is left alone
    assert config.vocab_size == config.backbone_config.vocab_size == config.get_text_config().vocab_size == 65540
    assert config.hidden_size == HIDDEN
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is GlyphConfig and type(again.backbone_config) is transformers.LlamaConfig
    same = ("embedding", "special_tokens", "font", "vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")
    assert all(getattr(again, name) == getattr(config, name) for name in same)
    assert again.backbone_config.to_dict() == config.backbone_config.to_dict() | {"_name_or_path": ""}
    with pytest.raises(Exception, match="tie_word_embeddings must be False"):
        GlyphConfig(tie_word_embeddings=True)
    with pytest.raises(Exception, match="special_tokens names a token twice"):
        GlyphConfig(special_tokens=["<pad>", "<pad>"])
    with pytest.raises(Exception, match="embedding"):
        GlyphConfig(embedding="drawn")
