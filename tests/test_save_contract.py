"""The save contract for a third party: its package is written here, saved from, and loaded imported, installed, absent."""

import json

import pytest
from transformers import AutoTokenizer, MistralConfig, Qwen2Config, TokenizersBackend
from transformers.models.auto.tokenization_auto import REGISTERED_TOKENIZER_CLASSES

from hf_tokext import ByteTokenizer, CheckpointError, GlyphConfig, keep_tokenizer, name_classes
from hf_tokext.registry import CODE_FILE
from tests.another_process import run_program
from tests.tokenizers import byte_level

INIT = """
from importlib import import_module
from hf_tokext import register_family

HERE = "zed.classes:"
register_family(
    HERE + "ZedConfig", tokenizer=HERE + "ZedTokenizer", processor=HERE + "ZedProcessor",
    image_processor=HERE + "ZedImageProcessor", feature_extractor=HERE + "ZedFeatureExtractor",
    models={"AutoModel": HERE + "ZedModel", "AutoModelForCausalLM": HERE + "ZedForCausalLM"},
)

def __getattr__(name):
    if name.startswith("Zed"):
        return getattr(import_module("zed.classes"), name)
    raise AttributeError(name)
"""
CLASSES = """
from pathlib import Path
from hf_tokext import name_classes
from transformers import (
    LlamaConfig, LlamaForCausalLM, LlamaModel, ProcessorMixin, SequenceFeatureExtractor, TokenizersBackend,
)
from transformers.image_processing_backends import PilBackend

NAMES = {
    "AutoConfig": "ZedConfig", "AutoTokenizer": "ZedTokenizer", "AutoProcessor": "ZedProcessor",
    "AutoImageProcessor": "ZedImageProcessor", "AutoFeatureExtractor": "ZedFeatureExtractor",
    "AutoModel": "ZedModel", "AutoModelForCausalLM": "ZedForCausalLM",
}

class Named:
    def to_json_file(self, json_file_path, *args, **kwargs):
        super().to_json_file(json_file_path, *args, **kwargs)
        name_classes(json_file_path, "zed", NAMES)

class ZedConfig(Named, LlamaConfig):
    model_type = "zed_llama"

class ZedModel(LlamaModel):
    config_class = ZedConfig

class ZedForCausalLM(LlamaForCausalLM):
    config_class = ZedConfig

class ZedTokenizer(TokenizersBackend):
    def save_pretrained(self, save_directory, *args, **kwargs):
        files = super().save_pretrained(save_directory, *args, **kwargs)
        name_classes(Path(save_directory) / "tokenizer_config.json", "zed", NAMES)
        return files

class ZedImageProcessor(Named, PilBackend):
    size = {"height": 4, "width": 4}
    do_resize = True

class ZedFeatureExtractor(Named, SequenceFeatureExtractor):
    model_input_names = ["input_values"]
    def __init__(self, feature_size=1, sampling_rate=16000, padding_value=0.0, **kwargs):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)

class ZedProcessor(Named, ProcessorMixin):
    def __init__(self, image_processor=None, feature_extractor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, feature_extractor, tokenizer, chat_template=chat_template)
"""
SAVE = """
import json
from pathlib import Path
import zed
from transformers import TokenizersBackend
at = Path("saved")
tokenizer = zed.ZedTokenizer.from_pretrained("plain")
processor = zed.ZedProcessor(zed.ZedImageProcessor(), zed.ZedFeatureExtractor(), tokenizer)
for model_type in ("llama", "mistral", "llava", "qwen2_vl", "own"):
    folder = at / model_type
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    if model_type == "own":
        config = zed.ZedConfig(vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                               num_attention_heads=1)
        zed.ZedForCausalLM(config).save_pretrained(folder)
    processor.save_pretrained(folder)
for part in ("image_processor", "feature_extractor"):
    getattr(processor, part).save_pretrained(at / part)
"""
PARTS = ["AutoFeatureExtractor", "AutoImageProcessor", "AutoProcessor", "AutoTokenizer"]
CASES = [
    *((folder, auto) for folder in ("llama", "mistral", "llava", "qwen2_vl", "own") for auto in PARTS),
    *(("own", auto) for auto in ("AutoConfig", "AutoModel", "AutoModelForCausalLM")),
    ("feature_extractor", "AutoFeatureExtractor"),
    ("image_processor", "AutoImageProcessor"),
]
# each case in a copy of a process that has loaded transformers and nothing of ours: one may not prepare the next
LOAD = """
import os, sys
{first}
import transformers
autos = {{auto: getattr(transformers, auto) for _, auto in {cases}}}
for folder, auto in {cases}:
    sys.stdout.flush()
    if os.fork():
        os.wait()
        continue
    try:
        loaded = autos[auto].from_pretrained("saved/" + folder{trust})
        extra = type(loaded.image_processor).__module__ if auto == "AutoProcessor" else ""
        print(folder, auto, type(loaded).__module__, type(loaded).__name__, extra, sep="|")
    except Exception as error:
        print(folder, auto, type(error).__name__, "pip install zed" in str(error), "", sep="|")
    sys.stdout.flush()
    os._exit(0)
"""


def run(folder, code, installed):
    site = [str(folder / "site")] if installed else []
    there = f"import os, sys\nos.chdir({str(folder)!r})\nsys.path[:0] = {site}\n"
    done = run_program(there + code, HF_MODULES_CACHE=str(folder / "modules"))
    assert done.returncode == 0, done.stderr
    return [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("third_party")
    (made / "site" / "zed").mkdir(parents=True)
    (made / "site" / "zed" / "__init__.py").write_text(INIT)
    (made / "site" / "zed" / "classes.py").write_text(CLASSES)
    byte_level().save_pretrained(made / "plain")
    run(made, SAVE, installed=True)
    return made


@pytest.mark.parametrize(
    ("first", "trust"), [("import zed", ""), ("", ", trust_remote_code=True")], ids=["imported", "installed"]
)
def test_the_classes_come_back(folder, first, trust):
    found = run(folder, LOAD.format(first=first, trust=trust, cases=CASES), installed=True)
    names = {auto: auto.replace("Auto", "Zed").replace("ZedModelFor", "ZedFor") for _, auto in CASES}
    inner = {"AutoProcessor": "zed.classes"}
    assert found == [[at, auto, "zed.classes", names[auto], inner.get(auto, "")] for at, auto in CASES]


def test_absent_the_message_says_what_to_install(folder):
    found = run(folder, LOAD.format(first="", trust=", trust_remote_code=True", cases=CASES), installed=False)
    assert found == [[at, auto, "ImportError", "True", ""] for at, auto in CASES]


def test_no_code_is_written_for_other_models_and_classes(folder):
    assert json.loads((folder / "saved" / "mistral" / "config.json").read_text()) == {"model_type": "mistral"}
    own = json.loads((folder / "saved" / "own" / "config.json").read_text())["auto_map"]
    assert own == {
        "AutoConfig": "hf_tokext_auto.ZedConfig",
        "AutoModel": "hf_tokext_auto.ZedModel",
        "AutoModelForCausalLM": "hf_tokext_auto.ZedForCausalLM",
    }
    assert (folder / "saved" / "image_processor" / CODE_FILE).read_text().count("import") == 1


def test_a_class_that_is_not_declared_is_not_named(tmp_path):
    saved = tmp_path / "preprocessor_config.json"
    saved.write_text(json.dumps({"image_processor_type": "CLIPImageProcessor"}))
    name_classes(str(saved), "zed", {"AutoImageProcessor": "ZedImageProcessor", "AutoConfig": "ZedConfig"})
    assert "auto_map" not in json.loads(saved.read_text()) and not (tmp_path / CODE_FILE).exists()


TEXT = "cafe\u0301 5"  # composed by the rules of qwen2, when transformers rebuilds the tokenizer


def ids(tokenizer):
    return tokenizer(TEXT).input_ids


@pytest.mark.parametrize(("config", "same_ids"), [(MistralConfig, True), (Qwen2Config, False)])
def test_saved_before_the_model_a_tokenizer_is_lost_until_it_is_repaired(config, same_ids, tmp_path):
    own = ByteTokenizer()
    own.save_pretrained(tmp_path)
    config().save_pretrained(tmp_path)
    lost = AutoTokenizer.from_pretrained(tmp_path)
    assert type(lost) is not ByteTokenizer and (ids(lost) == ids(own)) is same_ids
    assert keep_tokenizer(tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert type(found) is ByteTokenizer and ids(found) == ids(own)
    assert not keep_tokenizer(tmp_path)  # nothing is left to do


@pytest.mark.parametrize("config", [MistralConfig, Qwen2Config])
def test_saved_after_the_model_there_is_nothing_to_repair(config, tmp_path):
    config().save_pretrained(tmp_path)
    ByteTokenizer().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not keep_tokenizer(str(tmp_path)) and not keep_tokenizer(tmp_path, ByteTokenizer)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is ByteTokenizer


@pytest.mark.parametrize(
    "declared",
    [{}, {"tokenizer_class": "TokenizersBackend"}, {"tokenizer_class": ["x"]}, {"tokenizer_class": "Nobody"}],
)
def test_tokenizers_of_other_people_are_left_alone(declared, tmp_path):
    assert not keep_tokenizer(tmp_path)  # no tokenizer at all
    byte_level().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(declared))
    MistralConfig().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not keep_tokenizer(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_class_of_a_script_has_no_package_to_name(tmp_path, monkeypatch):
    own = type("ScriptTokenizer", (TokenizersBackend,), {"__module__": "__main__"})
    monkeypatch.setitem(REGISTERED_TOKENIZER_CLASSES, "ScriptTokenizer", own)
    byte_level().save_pretrained(tmp_path)
    MistralConfig().save_pretrained(tmp_path)
    assert not keep_tokenizer(tmp_path, own) and not (tmp_path / CODE_FILE).exists()


class UnregisteredTokenizer(ByteTokenizer):
    pass


class UnregisteredConfig(GlyphConfig):
    model_type = "test_unregistered_glyph"


def test_subclasses_that_are_not_registered_are_not_named(tmp_path):
    MistralConfig().save_pretrained(tmp_path)
    UnregisteredTokenizer().save_pretrained(tmp_path)
    assert "auto_map" not in json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert not (tmp_path / CODE_FILE).exists()
    UnregisteredConfig().to_json_file(tmp_path / "config.json")
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
    assert not (tmp_path / CODE_FILE).exists()


@pytest.mark.parametrize("text", ["{nope", "[]", "[" * 100_000, "\xff"], ids=["no JSON", "list", "deep", "no UTF-8"])
def test_a_damaged_file_is_named(text, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"tokenizer_config.json .*again"):
        keep_tokenizer(tmp_path)


def test_entries_of_another_call_stay_and_others_go(tmp_path):
    saved = tmp_path / "config.json"
    found = {"AutoModel": "hf_tokext_auto.Old", "AutoTokenizer": ["hf_tokext_auto.T", None], "AutoConfig": "code.C"}
    saved.write_text(json.dumps({"model_type": "x", "auto_map": found}))
    name_classes(saved, "zed", {"AutoModel": "Z"})
    kept = {"AutoModel": "hf_tokext_auto.Z", "AutoTokenizer": ["hf_tokext_auto.T", None]}
    assert json.loads(saved.read_text())["auto_map"] == kept
