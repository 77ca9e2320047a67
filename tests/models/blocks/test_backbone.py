"""What models around another model share."""

import json

import pytest
import torch
from huggingface_hub.dataclasses import strict
from transformers import GPT2Config, LlamaConfig, PreTrainedModel

from hf_tokext.models.blocks.backbone import BackboneConfig, OnBackbone, inner_config
from hf_tokext.models.blocks.installed import InstalledConfig
from hf_tokext.registry import CODE_FILE
from tests.tiny_models import tiny


def test_an_inner_config_is_nobody_elses():
    theirs = GPT2Config(n_embd=8, auto_map={"AutoConfig": "modeling.Theirs"})
    for given in (theirs, theirs.to_dict()):
        found = inner_config(given)
        assert type(found) is GPT2Config and found is not given and found.n_embd == 8
        assert not hasattr(found, "auto_map")
    assert theirs.auto_map == {"AutoConfig": "modeling.Theirs"}
    assert type(inner_config(None)) is type(inner_config({"hidden_size": 64})) is LlamaConfig
    assert inner_config({"hidden_size": 64}).hidden_size == 64


@strict
class OwnConfig(BackboneConfig):
    model_type = "test_own_backbone"

    def auto_classes(self):
        return {"AutoModelForCausalLM": "GlyphForCausalLM"}


@strict
class TheirConfig(OwnConfig):
    model_type = "test_their_backbone"


def test_a_config_answers_for_its_backbone_and_names_its_own_classes_only(tmp_path):
    config = OwnConfig(backbone_config=GPT2Config(n_embd=8))
    assert config.hidden_size == 8 and config.get_text_config() is config.backbone is config.backbone_config
    config.backbone_config = {"model_type": "gpt2"}
    with pytest.raises(ValueError, match="must be a config of transformers"):
        _ = config.backbone
    OwnConfig().save_pretrained(tmp_path / "own")
    named = json.loads((tmp_path / "own" / "config.json").read_text())["auto_map"]
    assert named == {
        "AutoConfig": "hf_tokext_auto.OwnConfig",
        "AutoModelForCausalLM": "hf_tokext_auto.GlyphForCausalLM",
    }
    for kind in (TheirConfig, BackboneConfig, InstalledConfig):
        kind().save_pretrained(tmp_path / kind.__name__)
        assert "auto_map" not in json.loads((tmp_path / kind.__name__ / "config.json").read_text())
        assert not (tmp_path / kind.__name__ / CODE_FILE).exists()


class Outer(OnBackbone, PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config, backbone):
        super().__init__(config)
        self.backbone = backbone


class Inside(Outer):
    _inner = "inner"

    @property
    def inner(self):
        return self.backbone.model


@pytest.mark.parametrize("kind", [Outer, Inside])
def test_the_embeddings_are_the_inner_models(kind):
    backbone = tiny("llama")
    model = kind(OwnConfig(backbone_config=backbone.config), backbone)
    assert model.get_input_embeddings() is backbone.model.embed_tokens
    other = torch.nn.Embedding(96, 16)
    model.set_input_embeddings(other)
    assert backbone.model.embed_tokens is other
