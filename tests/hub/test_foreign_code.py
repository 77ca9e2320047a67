"""Code that is not this package's is never pushed, nor named in a card; it is read, never run."""

import json

import pytest

from hf_tokext import CheckpointError, UnsafeCheckpointError, push_checkpoint
from hf_tokext.hub import render_card

NAME = "me/model"


def edit(folder, name, **values):
    path = folder / name
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(found | values))


@pytest.mark.parametrize(
    "code", ["import os\nos.system('x')\n", "class A(print('x')):\n    pass\n", "from . import x\n", "def (\n"]
)
def test_the_file_of_code_holds_only_what_is_written_there(hub, folder, code):
    (folder / "hf_tokext_auto.py").write_text(f'"""Ours."""\n\nfrom hf_tokext import ByteTokenizer\n{code}')
    with pytest.raises(UnsafeCheckpointError, match="save the checkpoint again"):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class A(print('x').y):\n    pass\n", "does not write there"),
        ("# coding: utf-7\n# +AAo-import os\n", "does not write there"),  # a comment only as long as it is UTF-8
        ("-" * 200_000 + "1\n", "save the checkpoint again"),
        ("a" + ".b" * 200_000 + "\n", "save the checkpoint again"),
        ("from modeling_evil import X\nfrom hf_tokext import Y\n", "not installed here: modeling_evil$"),
        ("from __main__ import X\n", "not installed here: __main__$"),
        ("from in_the_folder import X\n", "not installed here: in_the_folder$"),
    ],
    ids=["call", "encoding", "deep", "long", "absent", "main", "beside"],
)
def test_no_other_code_and_no_strange_package(hub, folder, monkeypatch, code, message):
    (folder / "in_the_folder.py").write_text("")
    monkeypatch.syspath_prepend(folder)
    (folder / "hf_tokext_auto.py").write_text(code)
    edit(folder, "config.json", auto_map={"AutoModelForCausalLM": "hf_tokext_auto.X"})
    with pytest.raises(UnsafeCheckpointError, match=message):
        push_checkpoint(folder, NAME)
    with pytest.raises(UnsafeCheckpointError, match=message):
        render_card(folder)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tokenizer_config.json", {"auto_map": ["their.X", None]}),
        ("processor_config.json", {"image_processor": {"auto_map": {"AutoImageProcessor": "their.X"}}}),
        ("some_config.json", {"parts": [{"auto_map": {"AutoTokenizer": [None, "their.X"]}}]}),
        ("video_preprocessor_config.json", {"auto_map": {"AutoVideoProcessor": "their.X"}}),
        ("config.json", {"auto_map": {"AutoModel": "me/other--their.X"}}),
        ("config.json", {"auto_map": ["their.X"]}),
        ("config.json", {"auto_map": "their.X"}),
    ],
)
def test_code_is_seen_wherever_a_config_names_it(hub, folder, name, values):
    edit(folder, name, **values)
    with pytest.raises(CheckpointError, match=rf"^{name} names (me/other--)?their.X, code of its own"):
        push_checkpoint(folder, NAME)
    assert hub.requests == [] and "pip install" not in render_card(folder)


def test_named_code_has_to_be_there(hub, folder):
    edit(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["hf_tokext_auto.X", None]})
    with pytest.raises(CheckpointError, match=r"has no hf_tokext_auto\.py: save the checkpoint again"):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


def test_code_below_the_top_stays_here(hub, folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "hf_tokext_auto.py").write_text("import os\n")
    (folder / "sub" / "config.json").write_text("{}")
    pushed = push_checkpoint(folder, NAME)
    assert pushed.left_out == ["sub/hf_tokext_auto.py"] and "sub/config.json" in pushed.files
