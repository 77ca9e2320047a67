"""Who gets what from a saved folder: with the package imported, installed and absent; beside other models' configs."""

import json

import pytest
from transformers import AutoTokenizer, LlamaConfig, PreTrainedTokenizerBase

from hf_tokext import GlyphConfig, GlyphTokenizer
from hf_tokext.registry import CODE_FILE, keep_tokenizer, name_classes
from tests.another_process import in_another_process
from tests.model_types import PARTS, each_default_config

TEXT = "déjà 🙂</s>"
IDS = [65537, *map(ord, "déjà "), 0xD83D, 0xDE42, 65538]


@pytest.fixture(scope="module")
def folders(tokenizer, tmp_path_factory):
    """A folder a model type; our own holds a whole checkpoint."""
    made = {}
    for model_type in ("llama", "mistral", "qwen2", "siglip2"):
        made[model_type] = tmp_path_factory.mktemp(model_type)
        (made[model_type] / "config.json").write_text(json.dumps({"model_type": model_type}))
        tokenizer.save_pretrained(made[model_type])
    return made


@pytest.fixture(scope="module")
def checkpoint(fresh, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    fresh().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_imported_the_class_is_never_lost(folders):
    for model_type, folder in folders.items():
        loaded = AutoTokenizer.from_pretrained(folder)
        assert type(loaded) is GlyphTokenizer and loaded(TEXT).input_ids == IDS, model_type
    # only where transformers would take its own class is there any code
    assert {model_type for model_type, folder in folders.items() if (folder / CODE_FILE).is_file()} == {
        "mistral",
        "qwen2",
        "siglip2",
    }


@pytest.mark.parametrize("part", PARTS)
def test_the_class_is_never_lost_beside_any_config(tokenizer, tmp_path, monkeypatch, part):
    """Which class is taken, over all types; its ids are looked at above: loading them 800 times would take long."""
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    plain, seen, needed = path.read_bytes(), set(), set()
    monkeypatch.setattr(PreTrainedTokenizerBase, "from_pretrained", classmethod(lambda cls, *_, **__: cls.__new__(cls)))
    for model_type in each_default_config(tmp_path, part):
        (tmp_path / CODE_FILE).unlink(missing_ok=True)
        path.write_bytes(plain)
        seen.add(model_type)
        if type(AutoTokenizer.from_pretrained(tmp_path)) is not GlyphTokenizer:
            needed.add(model_type)
        assert keep_tokenizer(tmp_path, GlyphTokenizer) is (model_type in needed)
        assert type(AutoTokenizer.from_pretrained(tmp_path)) is GlyphTokenizer, model_type
    assert {"mistral", "qwen2", "siglip2"} & seen <= needed and "llama" not in needed
    assert part > 0 or "qwen2" in seen


def test_config_names_the_classes_and_the_file_imports_them(checkpoint):
    entry = json.loads((checkpoint / "config.json").read_text())["auto_map"]
    assert entry == {
        "AutoConfig": "hf_tokext_auto.GlyphConfig",
        "AutoModel": "hf_tokext_auto.GlyphModel",
        "AutoModelForCausalLM": "hf_tokext_auto.GlyphForCausalLM",
    }
    namespace = {}
    exec((checkpoint / CODE_FILE).read_text(), namespace)
    assert all(name.rpartition(".")[2] in namespace for name in entry.values())
    assert type(AutoTokenizer.from_pretrained(checkpoint)) is GlyphTokenizer


def test_installed_but_not_imported_trust_gives_the_classes(checkpoint, folders, tmp_path):
    out, error = in_another_process(f"""
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
        folder = {str(checkpoint)!r}
        tokenizer = AutoTokenizer.from_pretrained({str(folders["mistral"])!r}, trust_remote_code=True)
        print(type(tokenizer).__module__, tokenizer({TEXT!r}).input_ids)
        print(type(AutoConfig.from_pretrained(folder, trust_remote_code=True)).__module__)
        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
        print(type(model).__module__, model.config.font["name"])
        model.save_pretrained({str(tmp_path)!r})
    """)
    assert [path.name for path in tmp_path.glob("*.py")] == [CODE_FILE]  # ours is not copied
    maps = [json.loads((where / "config.json").read_text())["auto_map"] for where in (tmp_path, checkpoint)]
    assert maps[0] == maps[1]
    here = "hf_tokext.models.glyph."
    assert out == [
        f"{here}tokenization_glyph {IDS}", f"{here}configuration_glyph", f"{here}modeling_glyph tiny.bdf"
    ], error  # fmt: skip


def test_absent_stock_transformers_gives_the_ids_and_says_what_the_model_needs(checkpoint, folders):
    # beside our own model transformers asks about the model's code, unless told that it may not run any
    out, error = in_another_process(
        f"""
        from transformers import AutoConfig, AutoTokenizer
        own = {str(checkpoint)!r}
        for folder in ({str(folders["siglip2"])!r}, own):
            tokenizer = AutoTokenizer.from_pretrained(folder, **({{"trust_remote_code": False}} if folder == own else {{}}))
            ids = tokenizer({TEXT!r}).input_ids
            print(type(tokenizer).__module__.partition(".")[0], ids, ascii(tokenizer.decode(ids[1:-1])))
        AutoConfig.from_pretrained(own, trust_remote_code=True)
        """,
        without_package=True,
    )
    assert out == [f"transformers {IDS} {ascii(TEXT.removesuffix('</s>'))}"] * 2, error
    assert "pip install hf_tokext" in error


class TheirConfig(GlyphConfig):
    model_type = "test_their_glyph"


class NamedConfig(GlyphConfig):
    model_type = "test_named_glyph"

    def to_json_file(self, json_file_path, *args, **kwargs):
        super().to_json_file(json_file_path, *args, **kwargs)
        name_classes(json_file_path, "theirs", {"AutoConfig": "NamedConfig"})


@pytest.mark.parametrize(
    ("own", "named"), [(TheirConfig, None), (NamedConfig, {"AutoConfig": "hf_tokext_auto.NamedConfig"})]
)
def test_a_subclass_does_not_name_the_classes_of_a_checkpoint_it_was_loaded_from(own, named, tmp_path):
    GlyphConfig().save_pretrained(tmp_path / "ours")
    for source, target in (("ours", "first"), ("first", "again")):
        own.from_pretrained(tmp_path / source).save_pretrained(tmp_path / target)
        assert json.loads((tmp_path / target / "config.json").read_text()).get("auto_map") == named
        assert (tmp_path / target / CODE_FILE).is_file() is (named is not None)


def test_other_code_that_a_subclass_was_loaded_with_stays_named():
    theirs = {"AutoConfig": "me/theirs--configuration.TheirConfig"}
    assert TheirConfig(auto_map=theirs | {"AutoModel": "hf_tokext_auto.GlyphModel"}).to_dict()["auto_map"] == theirs


def test_code_that_the_backbone_came_with_is_not_named():
    backbone = LlamaConfig(auto_map={"AutoConfig": "modeling.Llama"})
    for given in (backbone, backbone.to_dict()):
        assert "auto_map" not in GlyphConfig(backbone_config=given).to_dict()["backbone_config"]
    assert backbone.auto_map == {"AutoConfig": "modeling.Llama"}  # the caller's is not touched
