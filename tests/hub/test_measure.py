"""Measuring by Hub id: the same doors as for folders."""

import json

import pytest
from transformers import AutoTokenizer

from hf_tokext.cli import main
from tests.tokenizers import TEXT, byte_level


@pytest.fixture
def files(tmp_path):
    byte_level(300).save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "text.txt").write_text(TEXT)
    return {path.name: path.read_bytes() for path in (tmp_path / "tokenizer").iterdir()}


def measure(name, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["measure", "vocabulary", name, "--text", str(tmp_path / "text.txt")])
    return stopped.value.code, capsys.readouterr()


def test_a_tokenizer_is_measured(hub, files, tmp_path, capsys):
    hub.add("them/tokenizer", files)
    code, said = measure("them/tokenizer", tmp_path, capsys)
    assert code == 0 and " 296 " in said.out


def test_one_without_tokenizer_json_is_measured_too(hub, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    hub.add("them/byt5", {"tokenizer_config.json": b'{"tokenizer_class": "ByT5Tokenizer"}'})
    code, said = measure("them/byt5", tmp_path, capsys)
    assert code == 0 and " 1.00" in said.out


def test_an_unknown_part_reaches_no_parser(hub, files, tmp_path, capsys, monkeypatch):
    spec = json.loads(files["tokenizer.json"])
    hub.add("them/evil", files | {"tokenizer.json": json.dumps(spec | {"normalizer": {"type": "Evil"}}).encode()})
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: pytest.fail("transformers was given it"))
    code, said = measure("them/evil", tmp_path, capsys)
    assert code not in (0, None) and "normalizer of type 'Evil'" in said.err.replace("\n", " ")
    assert "Traceback" not in said.err + said.out
