"""Vocabulary tensors of every architecture that the tests can make, in files and in memory."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from hf_tokext.errors import CheckpointError, QuantizedCheckpointError, UnsupportedModelError
from hf_tokext.transplant.checkpoint import SINGLE, open_checkpoint
from hf_tokext.transplant.safetensors_writer import write_checkpoint_tensors
from hf_tokext.transplant.vocabulary_tensors import vocabulary_tensors, vocabulary_tensors_of_model
from hf_tokext.transplant.vocabulary_twin import named_tensors, set_vocabulary_size, vocabulary_size_keys
from tests.tiny_models import tiny, tiny_config, tiny_folder, tiny_names

LM = "language_model."
EXPECTED = {  # name: (input, output when untied, biases, biases stored in addition when untied)
    "llama": ("model.embed_tokens.weight", "lm_head.weight", (), ()),
    "qwen2": ("model.embed_tokens.weight", "lm_head.weight", (), ()),
    "gemma3": ("model.embed_tokens.weight", "lm_head.weight", (), ()),
    "gemma3_multimodal": (LM + "model.embed_tokens.weight", LM + "lm_head.weight", (), ()),
    "gpt2": ("transformer.wte.weight", "lm_head.weight", (), ()),
    "gpt_neox": ("gpt_neox.embed_in.weight", "embed_out.weight", (), ()),
    "bert": (
        "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.weight",
        ("cls.predictions.bias",),
        ("cls.predictions.decoder.bias",),
    ),
    "roberta": (
        "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.weight",
        ("lm_head.bias",),
        ("lm_head.decoder.bias",),
    ),
    "t5": ("shared.weight", "lm_head.weight", (), ()),
    "bart": ("model.shared.weight", "lm_head.weight", ("final_logits_bias",), ()),
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", tiny_names())
def test_checkpoints(tmp_path, name, tied):
    tiny_folder(name, tmp_path, tied=tied)
    found = vocabulary_tensors(open_checkpoint(tmp_path))
    matrix, head, biases, more = EXPECTED[name]
    copies = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    assert found.input == (matrix, *(copies if name == "bart" and not tied else ()))
    assert found.output == (() if tied else (head,))
    assert set(found.biases) == {*biases, *(() if tied else more)}
    assert found.tied == tied
    assert found.has_head
    assert found.rows == 96
    assert found.config_tied == (tied or name == "t5")  # transformers 5 says of every T5 that it is tied
    assert found.size_keys == ((("text_config", "vocab_size") if "multimodal" in name else ("vocab_size",)),)
    stored = load_file(tmp_path / SINGLE)
    assert {key for key, value in stored.items() if 96 in value.shape} == set(found.names)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", tiny_names())
def test_rewriting_what_was_found_is_enough(tmp_path, name, tied):
    """With all of them at 101 rows, and the config's keys set, the architecture loads and runs, ties kept."""
    original = tiny_folder(name, tmp_path / "in", tied=tied)
    checkpoint = open_checkpoint(tmp_path / "in")
    found = vocabulary_tensors(checkpoint)
    replace = {}
    for group in (found.input, found.output):
        values = torch.randn(101, 16)
        replace |= dict.fromkeys(group, values)
    for key in found.biases:
        replace[key] = torch.randn(*checkpoint.tensors[key].shape[:-1], 101)
    (tmp_path / "out").mkdir()
    write_checkpoint_tensors(checkpoint, tmp_path / "out", replace=replace)
    config = json.loads((tmp_path / "in" / "config.json").read_text())
    for path in found.size_keys:
        section = config
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = 101
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    model, report = type(original).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert torch.equal(model.get_input_embeddings().weight, replace[found.input[0]])
    assert torch.equal(model.get_output_embeddings().weight, replace[(found.output or found.input)[0]])
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    again = vocabulary_tensors_of_model(model)
    assert again.rows == 101
    assert again.tied == tied
    ids = torch.tensor([[7, 100, 8]])
    extra = {"decoder_input_ids": ids} if name in ("t5", "bart") else {}
    assert model(input_ids=ids, **extra).logits.shape == (1, 3, 101)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", tiny_names())
def test_models_in_memory(name, tied):
    model = tiny(name, tied=tied)
    found = vocabulary_tensors_of_model(model)
    tensors = named_tensors(model)
    assert found.tied == tied
    assert bool(found.output) != tied
    assert {key for key, value in tensors.items() if 96 in value.shape} == set(found.names)
    assert tensors[found.input[0]] is model.get_input_embeddings().weight
    assert tensors[(found.output or found.input)[0]].shape == (96, 16)
    if found.output:
        assert tensors[found.output[0]] is model.get_output_embeddings().weight
    assert all(tensors[key].shape[-1] == 96 for key in found.biases)


def restore(folder: Path, change) -> None:
    """Rewrite a folder's single file through `change`, which edits a dict in place."""
    tensors = load_file(folder / SINGLE)
    change(tensors)
    save_file(tensors, folder / SINGLE, metadata={"format": "pt"})


def test_names_without_prefix(tmp_path):
    """The Hub's GPT-2 stores `wte.weight` for `transformer.wte.weight`."""
    tiny_folder("gpt2", tmp_path)

    def strip(tensors):
        for key in list(tensors):
            tensors[key.removeprefix("transformer.")] = tensors.pop(key)

    restore(tmp_path, strip)
    assert vocabulary_tensors(open_checkpoint(tmp_path)).input == ("wte.weight",)


def test_base_model_class_with_prefix_and_without_head(tmp_path):
    tiny_folder("bert", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    restore(tmp_path, lambda tensors: tensors.pop("cls.predictions.bias"))
    found = vocabulary_tensors(open_checkpoint(tmp_path))
    assert (found.input, found.output, found.biases) == (("bert.embeddings.word_embeddings.weight",), (), ())
    assert not found.has_head
    assert not found.tied


@pytest.mark.parametrize("name", ["llama", "bert", "t5"])
def test_both_stored_and_equal_stays_tied(tmp_path, name):
    tiny_folder(name, tmp_path, tied=True)
    matrix, head, *_ = EXPECTED[name]
    restore(tmp_path, lambda tensors: tensors.update({head: tensors[matrix].clone()}))
    found = vocabulary_tensors(open_checkpoint(tmp_path))
    assert found.tied
    assert found.input == (matrix, head)
    assert found.output == ()


def test_both_stored_and_different_is_untied_as_transformers_loads_it(tmp_path):
    original = tiny_folder("llama", tmp_path, tied=True)
    restore(tmp_path, lambda tensors: tensors.update({"lm_head.weight": torch.randn(96, 16)}))
    found = vocabulary_tensors(open_checkpoint(tmp_path))
    assert not found.tied
    assert found.config_tied
    assert found.output == ("lm_head.weight",)
    model = type(original).from_pretrained(tmp_path)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert not vocabulary_tensors_of_model(model).tied


def test_tied_and_only_the_head_is_stored(tmp_path):
    tiny_folder("llama", tmp_path, tied=True)
    restore(tmp_path, lambda tensors: tensors.update({"lm_head.weight": tensors.pop("model.embed_tokens.weight")}))
    found = vocabulary_tensors(open_checkpoint(tmp_path))
    assert found.tied
    assert found.input == ("lm_head.weight",)


def test_t5_with_every_copy_stored(tmp_path):
    tiny_folder("t5", tmp_path, tied=False)
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    restore(tmp_path, lambda tensors: tensors.update({key: tensors["shared.weight"].clone() for key in copies}))
    found = vocabulary_tensors(open_checkpoint(tmp_path))
    assert found.input == ("shared.weight", *copies)
    assert found.output == ("lm_head.weight",)
    restore(tmp_path, lambda tensors: tensors[copies[1]].add_(1))
    with pytest.raises(UnsupportedModelError, match=r"two different input embeddings.*decoder\.embed_tokens"):
        vocabulary_tensors(open_checkpoint(tmp_path))


@pytest.mark.parametrize("missing", ["model.embed_tokens.weight", "lm_head.weight"])
def test_missing(tmp_path, missing):
    tiny_folder("llama", tmp_path, tied=False)
    restore(tmp_path, lambda tensors: tensors.pop(missing))
    with pytest.raises(CheckpointError, match=missing):
        vocabulary_tensors(open_checkpoint(tmp_path))


def test_config_and_tensor_disagree(tmp_path):
    tiny_folder("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": 90}))
    with pytest.raises(CheckpointError, match=r"shape \[96, 16\].*asks for \[90, 16\]"):
        vocabulary_tensors(open_checkpoint(tmp_path))


def test_multi_token_prediction_copies(tmp_path):
    tiny_folder("llama", tmp_path, tied=False)
    names = {"model.layers.61.embed_tokens.weight": "model.embed_tokens.weight"}
    names |= {"model.layers.61.shared_head.head.weight": "lm_head.weight"}
    restore(tmp_path, lambda tensors: tensors.update({new: tensors[old].clone() for new, old in names.items()}))
    found = vocabulary_tensors(open_checkpoint(tmp_path))
    assert found.input == ("model.embed_tokens.weight", "model.layers.61.embed_tokens.weight")
    assert found.output == ("lm_head.weight", "model.layers.61.shared_head.head.weight")
    restore(tmp_path, lambda tensors: tensors["model.layers.61.shared_head.head.weight"].mul_(2))
    with pytest.raises(UnsupportedModelError, match=r"model\.layers\.61\.shared_head\.head\.weight"):
        vocabulary_tensors(open_checkpoint(tmp_path))


@pytest.mark.parametrize("shape", [(96, 4), (4, 96), (96,)])
def test_unknown_tensor_of_vocabulary_size(tmp_path, shape):
    tiny_folder("llama", tmp_path)
    restore(tmp_path, lambda tensors: tensors.update({"model.token_table": torch.randn(*shape)}))
    with pytest.raises(UnsupportedModelError, match=r"model\.token_table"):
        vocabulary_tensors(open_checkpoint(tmp_path))


def test_per_layer_tables_are_refused_by_name(tmp_path):
    config = transformers.Gemma4TextConfig(
        vocab_size=96,
        vocab_size_per_layer_input=96,
        hidden_size=16,
        intermediate_size=32,
        hidden_size_per_layer_input=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_kv_shared_layers=0,
        head_dim=8,
        global_head_dim=8,
        layer_types=["sliding_attention", "full_attention"],
    )
    model = transformers.Gemma4ForCausalLM(config)
    with pytest.raises(UnsupportedModelError, match="embed_tokens_per_layer"):
        vocabulary_tensors_of_model(model)
    model.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="embed_tokens_per_layer"):
        vocabulary_tensors(open_checkpoint(tmp_path))


def test_model_without_vocabulary():
    vision = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
    )
    with pytest.raises(UnsupportedModelError, match="vocab_size"):
        vocabulary_tensors_of_model(transformers.ViTModel(vision))
    with pytest.raises(UnsupportedModelError, match="PreTrainedModel"):
        vocabulary_tensors_of_model(torch.nn.Linear(2, 2))


def test_quantized_or_offloaded_model():
    model = tiny("llama")
    model.is_quantized = True
    with pytest.raises(QuantizedCheckpointError):
        vocabulary_tensors_of_model(model)
    with torch.device("meta"):
        empty = transformers.LlamaForCausalLM(tiny_config("llama", tied=False, vocab_size=96))
    with pytest.raises(UnsupportedModelError, match="offloaded"):
        vocabulary_tensors_of_model(empty)


@pytest.mark.parametrize("name", tiny_names())
def test_set_vocabulary_size(name):
    config = tiny_config(name, tied=True, vocab_size=96)
    before = json.dumps(config.to_dict(), default=str, sort_keys=True)
    set_vocabulary_size(config, 104)
    assert config.get_text_config().vocab_size == 104
    assert all(path[-1] == "vocab_size" for path in vocabulary_size_keys(config))
    set_vocabulary_size(config, 96)
    assert json.dumps(config.to_dict(), default=str, sort_keys=True) == before


def test_nothing_is_changed_by_looking(tmp_path):
    model = tiny("gemma3_multimodal")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    config = model.config.to_dict()
    vocabulary_tensors_of_model(model)
    assert model.config.to_dict() == config
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
