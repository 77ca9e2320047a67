"""Model classes that are registered by name: imported when one is asked for, and not before."""

import pickle

import pytest
from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaModel

from hf_tokext import RegistrationError
from hf_tokext.lazy_classes import LazyClasses, NamedClass, register_by_name
from tests.another_process import run_program


class LazyConfig(LlamaConfig):
    model_type = "test_lazy"


class LazyModel(LlamaModel):
    config_class = LazyConfig


class OtherModel(LlamaModel):
    config_class = LazyConfig


HERE = f"{__name__}:"


@pytest.fixture
def auto():
    """An Auto class without what a test registers."""
    yield AutoModel
    AutoModel._model_mapping._extra_content.data.pop(LazyConfig, None)


def test_a_class_is_imported_when_it_is_read():
    loaded = []
    classes = LazyClasses({"a": NamedClass("collections:OrderedDict", loaded.append), "b": int})
    assert "a" in classes and list(classes) == ["a", "b"] and len(classes) == 2 and loaded == []
    assert classes.get("c") is None and classes["b"] is int and loaded == []
    from collections import OrderedDict

    assert classes["a"] is OrderedDict and classes["a"] is OrderedDict and loaded == [OrderedDict]
    assert list(classes.values()) == [OrderedDict, int] and dict(classes) == {"a": OrderedDict, "b": int}


def test_auto_model_makes_it_and_pickles(auto):
    register_by_name(auto, LazyConfig, HERE + "LazyModel")
    register_by_name(auto, LazyConfig, HERE + "LazyModel")  # changes nothing
    mapping = pickle.loads(pickle.dumps(auto._model_mapping))
    small = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "vocab_size": 4,
    }
    assert type(auto.from_config(LazyConfig(**small))) is LazyModel
    assert mapping[LazyConfig] is LazyModel and LazyModel in auto._model_mapping._extra_content.values()


def test_another_class_is_a_clash(auto):
    register_by_name(auto, LazyConfig, HERE + "LazyModel")
    with pytest.raises(RegistrationError, match="LazyModel"):
        register_by_name(auto, LazyConfig, HERE + "OtherModel")
    with pytest.raises(RegistrationError, match="LlamaForCausalLM"):
        register_by_name(AutoModelForCausalLM, LlamaConfig, HERE + "LazyModel")
    assert AutoModelForCausalLM._model_mapping[LlamaConfig] is LlamaForCausalLM
    own = f"{LlamaForCausalLM.__module__}:LlamaForCausalLM"
    register_by_name(AutoModelForCausalLM, LlamaConfig, own)  # what it has already


def test_a_model_of_another_config_is_refused_when_it_is_asked_for(auto):
    register_by_name(auto, LazyConfig, f"{LlamaModel.__module__}:LlamaModel")
    with pytest.raises(RegistrationError, match="another config"):
        auto.from_config(LazyConfig())


@pytest.mark.parametrize("first", ["import hf_tokext", "from transformers import AutoModel, AutoTokenizer"])
def test_our_models_are_not_imported_before_one_is_made(first):
    program = (
        f"{first}\nimport hf_tokext, sys\nfrom transformers import AutoConfig, AutoModel, AutoModelForCausalLM\n"
        "heavy = ('transformers.modeling_utils', 'transformers.generation.utils', 'hf_tokext.models.glyph.modeling_glyph')\n"
        "heavy = [m for m in heavy if m in sys.modules]\n"
        "config = hf_tokext.GlyphConfig(backbone_config={'model_type': 'gpt2', 'n_embd': 8, 'n_head': 1, 'n_layer': 1},"
        " embedding='random')\n"
        "print(heavy, type(AutoModel.from_config(config)).__name__, type(AutoModelForCausalLM.from_config(config)).__name__)"
    )
    done = run_program(program)
    assert done.stdout.strip() == "[] GlyphModel GlyphForCausalLM", done.stderr
