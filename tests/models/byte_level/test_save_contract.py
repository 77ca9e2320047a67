"""Who gets what from a saved folder: with the package imported, installed, absent, and beside every config there is."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import ByteEnsembleForCausalLM, ByteTokenizer, byteify
from hf_tokext.registry import CODE_FILE
from tests.another_process import in_another_process
from tests.model_types import PARTS, each_default_config
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import tiny_llama

TEXT = "déjà vu</s>"
IDS = [257, *"déjà vu".encode(), 258]


def saved(folder, model_type=None):
    """A tokenizer saved beside a model's config, or alone."""
    if model_type is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    ByteTokenizer().save_pretrained(folder)


def in_folder(folder, code, without_package=False):
    """What a program prints that knows the folder and the text, and what it says of errors."""
    start = f"""
        from transformers import AutoTokenizer
        folder, text = {str(folder)!r}, {TEXT!r}
    """
    lines, error = in_another_process(start, code, without_package=without_package)
    return "\n".join(lines).strip(), error


@pytest.mark.parametrize("part", PARTS)
def test_imported_the_class_is_never_lost_beside_any_config(tmp_path, part):
    saved(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is ByteTokenizer
    for model_type in each_default_config(tmp_path, part):
        ByteTokenizer().save_pretrained(tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert type(loaded) is ByteTokenizer and loaded(TEXT).input_ids == IDS, model_type


USE = "print(type(tokenizer).__module__.partition('.')[0], tokenizer(text).input_ids)"


@pytest.mark.parametrize("model_type", ["ernie4_5", "mistral", "qwen2", "siglip2"])
def test_installed_but_not_imported_trust_gives_the_class(tmp_path, model_type):
    saved(tmp_path, model_type)
    assert (tmp_path / CODE_FILE).is_file()
    load = f"tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)\n{USE}"
    assert in_folder(tmp_path, load)[0] == f"hf_tokext {IDS}"


def test_loaded_with_trust_and_saved_again_the_code_is_not_copied(tmp_path):
    saved(tmp_path, "qwen2")
    again = f"tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)\ntokenizer.save_pretrained(folder)\n{USE}"
    assert in_folder(tmp_path, again)[0] == f"hf_tokext {IDS}"
    assert [path.name for path in tmp_path.glob("*.py")] == [CODE_FILE]
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["auto_map"]["AutoTokenizer"][0].startswith(
        "hf_tokext_auto."
    )


@pytest.mark.parametrize("model_type", [None, "llama", "mistral", "qwen2", "siglip2", "t5"])
def test_absent_stock_transformers_gives_the_ids_and_asks_nothing(tmp_path, model_type):
    saved(tmp_path, model_type)
    load = f"tokenizer = AutoTokenizer.from_pretrained(folder)\n{USE}"
    assert in_folder(tmp_path, load, without_package=True)[0] == f"transformers {IDS}"


def test_absent_and_trusted_the_message_says_what_to_install(tmp_path):
    saved(tmp_path, "mistral")
    load = "AutoTokenizer.from_pretrained(folder, trust_remote_code=True)"
    out, error = in_folder(tmp_path, load, without_package=True)
    assert out == "" and "pip install hf_tokext" in error


def byteified(folder):
    base_tokenizer = small.plain()
    model, tokenizer = byteify(tiny_llama(len(base_tokenizer)).float(), base_tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def ensemble(folder):
    base_tokenizer = small.plain()
    members = [byteify(tiny_llama(len(base_tokenizer), seed).float(), base_tokenizer)[0] for seed in (0, 1)]
    for part in ByteEnsembleForCausalLM.from_members(members):
        part.save_pretrained(folder)


GENERATE = """
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
found = model.generate(**tokenizer("ab", return_tensors="pt"), max_new_tokens=4, do_sample=False)
print(type(model).__module__, type(tokenizer).__module__, tokenizer.decode(found[0]))
"""


@pytest.mark.parametrize("make", [byteified, ensemble])
def test_models_installed_but_not_imported_trust_gives_the_classes(tmp_path, make):
    make(tmp_path)
    out, error = in_folder(tmp_path, GENERATE)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    found = tokenizer.decode(
        model.generate(**tokenizer("ab", return_tensors="pt"), max_new_tokens=4, do_sample=False)[0]
    )
    name = {byteified: "modeling_byte_level", ensemble: "modeling_byte_ensemble"}[make]
    here = "hf_tokext.models.byte_level."
    assert out == f"{here}{name} {here}tokenization_byte_level {found}", error


@pytest.mark.parametrize("make", [byteified, ensemble])
def test_models_absent_and_trusted_the_message_says_what_to_install(tmp_path, make):
    make(tmp_path)
    out, error = in_folder(tmp_path, GENERATE, without_package=True)
    assert out == "" and "pip install hf_tokext" in error
