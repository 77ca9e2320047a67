"""Who gets what from a saved folder: with the package imported, installed, absent, and beside every config there is."""

import json
import subprocess
import sys
import textwrap

import pytest
from transformers import AutoTokenizer

from hf_tokext import ByteTokenizer
from hf_tokext.registry import CODE_FILE
from tests.model_types import each_default_config

TEXT = "déjà vu</s>"
IDS = [257, *"déjà vu".encode(), 258]


def saved(folder, model_type=None):
    """A tokenizer saved beside a model's config, or alone."""
    if model_type is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    ByteTokenizer().save_pretrained(folder)


def in_another_process(folder, code, without_package=False):
    block = """
        import sys
        from importlib.abc import MetaPathFinder
        class Absent(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "hf_tokext":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Absent())
    """
    start = f"""
        from transformers import AutoTokenizer
        folder, text = {str(folder)!r}, {TEXT!r}
    """
    program = "".join(map(textwrap.dedent, ([block] if without_package else []) + [start, code]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.strip(), done.stderr


def test_imported_the_class_is_never_lost_beside_any_config(tmp_path):
    saved(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is ByteTokenizer
    for model_type in each_default_config(tmp_path):
        ByteTokenizer().save_pretrained(tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert type(loaded) is ByteTokenizer and loaded(TEXT).input_ids == IDS, model_type


USE = "print(type(tokenizer).__module__.partition('.')[0], tokenizer(text).input_ids)"


@pytest.mark.parametrize("model_type", ["ernie4_5", "mistral", "qwen2", "siglip2"])
def test_installed_but_not_imported_trust_gives_the_class(tmp_path, model_type):
    saved(tmp_path, model_type)
    assert (tmp_path / CODE_FILE).is_file()
    load = f"tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)\n{USE}"
    assert in_another_process(tmp_path, load)[0] == f"hf_tokext {IDS}"


def test_loaded_with_trust_and_saved_again_the_code_is_not_copied(tmp_path):
    saved(tmp_path, "qwen2")
    again = f"tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)\ntokenizer.save_pretrained(folder)\n{USE}"
    assert in_another_process(tmp_path, again)[0] == f"hf_tokext {IDS}"
    assert [path.name for path in tmp_path.glob("*.py")] == [CODE_FILE]
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["auto_map"]["AutoTokenizer"][0].startswith(
        "hf_tokext_auto."
    )


@pytest.mark.parametrize("model_type", [None, "llama", "mistral", "qwen2", "siglip2", "t5"])
def test_absent_stock_transformers_gives_the_ids_and_asks_nothing(tmp_path, model_type):
    saved(tmp_path, model_type)
    load = f"tokenizer = AutoTokenizer.from_pretrained(folder)\n{USE}"
    assert in_another_process(tmp_path, load, without_package=True)[0] == f"transformers {IDS}"


def test_absent_and_trusted_the_message_says_what_to_install(tmp_path):
    saved(tmp_path, "mistral")
    load = "AutoTokenizer.from_pretrained(folder, trust_remote_code=True)"
    out, error = in_another_process(tmp_path, load, without_package=True)
    assert out == "" and "pip install hf_tokext" in error
