"""The documentation site: every public name and every option is on it, every quoted message is a real one, it builds."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import hf_tokext
from hf_tokext.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TROUBLES = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
LEAST = 15  # letters of its own that a pattern must have to stand for a message
WILD = "\0"
UPSTREAM = {
    "transformers": [
        "transformers.dynamic_module_utils",
        "transformers.tokenization_utils_base",
        "transformers.utils.hub",
        "transformers.utils.loading_report",
    ],
    "PEFT": ["peft.utils.save_and_load"],
    "torch": ["torch.nn.modules.module"],
}
ELSEWHERE = {"transformers 4"}  # not the version that is installed
COMPILED = "TextEncodeInput must be ", "index out of range in self"  # from Rust and C++: produced below


def documented():
    return re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_public_name_has_an_entry_and_no_other_has():
    public = [name.removeprefix("hf_tokext.") for name in documented() if name.count(".") == 1]
    assert sorted(public) == sorted(hf_tokext.__all__)


@pytest.mark.parametrize("name", [name for name in documented() if name.count(".") > 1])
def test_what_else_is_documented_can_be_imported(name):
    module, _, last = name.rpartition(".")
    assert callable(getattr(importlib.import_module(module), last))


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("docs_commands")


def leaves(command, name=()):
    inner = getattr(command, "commands", {})
    return [found for key, each in inner.items() for found in leaves(each, (*name, key))] if inner else [name]


def test_the_command_line_reference_has_what_help_says(hook):
    page = hook.on_page_markdown((DOCS / "cli.md").read_text(encoding="utf-8"))
    sections = dict(re.findall(r"^## tokext (.*?)$\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    commands = leaves(typer.main.get_command(app))
    assert {" ".join(command) for command in commands} == set(sections) and len(commands) >= 5
    for command in commands:
        shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "300", "TERM": "dumb"}).output
        options = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
        assert set(options.findall(shown)) == set(options.findall(sections[" ".join(command)])), command


def test_other_pages_are_left_alone(hook):
    assert hook.on_page_markdown("# A page") == "# A page"


def strings(path):
    """Every string of a source, an inserted value as a wild card; beside it the error that is raised with it, if any."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    raised = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            raised |= {id(each): node.exc.func.id for each in node.exc.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else WILD for part in node.values]
            yield "".join(map(str, parts)), raised.get(id(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.replace("{}", WILD), raised.get(id(node))


@cache
def patterns(*files):
    """Regular expressions of whole lines that the files can print, and the error each is raised with."""
    found = [
        (line.strip(), error)
        for path in files
        for text, error in strings(path)
        for line in text.split("\n")
        if len(re.sub(r"\W", "", line)) >= LEAST
    ]
    return [(re.compile(".+".join(map(re.escape, line.split(WILD)))), error) for line, error in found]


def quoted():
    """Every quoted message: whose it is (empty: the package's), the name of the error if it is given, a line of it."""
    blocks = re.findall(r'^```text(?: title="([^"]+)")?\n(.*?)^```$', TROUBLES, re.MULTILINE | re.DOTALL)
    for owner, text in blocks:
        for line in text.strip().split("\n"):
            error, message = re.fullmatch(r"(?:([A-Z]\w+(?:Error|Warning)): )?(.*)", line.strip()).groups()
            yield owner, error, message.removeprefix("tokext: ")


def problem(owner, error, message):
    """What is wrong with a quoted message, or None."""
    if owner in ELSEWHERE or (owner and message.startswith(COMPILED)):
        return None
    if not owner and error is not None and error not in hf_tokext.__all__:
        return f"{error} is no error of the package"
    files = [Path(find_spec(name).origin) for name in UPSTREAM[owner]] if owner else (ROOT / "hf_tokext").rglob("*.py")
    matching = [raised for pattern, raised in patterns(*files) if pattern.fullmatch(message)]
    if not matching:
        return "nothing prints this"
    if not owner and error is not None and not {error, None} & set(matching):
        return f"it is raised as {matching[0]}, not as {error}"
    return None


def test_quoted_messages_are_what_the_sources_print():
    messages = list(quoted())
    assert len(messages) > 60 and len({owner for owner, _, _ in messages}) >= 5
    wrong = {message: found for owner, error, message in messages if (found := problem(owner, error, message))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("owner", "error", "message"),
    [
        ("", None, "out/mine exists: name another folder, or ask for overwriting (--force)"),
        ("", "VocabularyError", "out/mine exists: name another folder, or ask for overwriting (--overwrite)"),
        ("", "SuchError", "out/mine exists: name another folder, or ask for overwriting (--overwrite)"),
        ("transformers", None, "Asking to pad but the tokenizer has no padding token."),
    ],
)
def test_a_message_that_is_none_is_found_out(owner, error, message):
    assert problem(owner, error, message)


def test_messages_of_compiled_libraries():
    import torch

    from tests.tokenizers import byte_level

    said = [message for owner, _, message in quoted() if owner and message.startswith(COMPILED)]
    with pytest.raises(TypeError) as refused:
        byte_level()("\ud800")
    with pytest.raises(IndexError) as outside:
        torch.nn.Embedding(2, 2)(torch.tensor([2]))
    assert sorted(said) == sorted([str(refused.value), str(outside.value)])


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs pip install '.[docs]'; scripts/test.sh has it")
def test_the_site_builds_and_fetches_nothing_when_it_is_read(tmp_path):
    # with --quiet mkdocs does not count warnings, and --strict does nothing
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site").glob("*.html")}
    assert {path.stem for path in DOCS.glob("*.md")} <= {Path(name).stem for name in pages}
    missing = [name for name in documented() if f'id="{name}"' not in pages["api.html"]]
    assert missing == []
    fetched = re.compile(r'<(?:script|img|iframe|source)[^>]*\ssrc="https?:|<link[^>]*\shref="https?:')
    assert [name for name, text in pages.items() if fetched.search(text)] == []
    assert "<!-- commands -->" not in pages["cli.html"]
