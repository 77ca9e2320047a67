"""Rules of the house that a machine can see."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "hf_tokext").rglob("*.py"))
TEXT_SUFFIXES = {"", ".py", ".sh", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".cfg", ".in"}
GENERATED = {"__pycache__", "build", "dist", "out"}

# Spelled in halves, so that this file does not hold what it forbids.
FORBIDDEN = [
    "pypi" + ".org",
    "python" + "hosted",
    "npmjs" + ".org",
    "npmjs" + ".com",
    "deb." + "debian",
    "/wo" + "rk/",
    "/ro" + "ot/",
    "/fa" + "rm/",
]


def files_of_the_tree():
    top = [path for path in ROOT.iterdir() if not path.name.startswith(".") or path.name == ".ci"]
    for entry in sorted(top):
        for path in [entry] if entry.is_file() else sorted(entry.rglob("*")):
            generated = GENERATED & set(path.parts) or any(part.endswith(".egg-info") for part in path.parts)
            if path.is_file() and path.suffix in TEXT_SUFFIXES and not generated:
                yield path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320, "one idea a file; split by idea"


def test_no_host_of_a_registry_and_no_path_of_a_machine():
    found = []
    for path in files_of_the_tree():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]
    assert found == []


def test_the_tree_is_really_read():
    names = {str(path.relative_to(ROOT)) for path in files_of_the_tree()}
    assert {"pyproject.toml", ".ci/run", "scripts/test.sh", "hf_tokext/errors.py", "tests/test_house.py"} <= names


def test_no_stubs_and_no_devices_by_name():
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.dump(node.exc):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: stub")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: .cuda(); accelerate places things")
    assert found == []


def test_every_room_says_what_it_is():
    rooms = [path for path in SOURCES if path.name == "__init__.py"]
    assert len(rooms) >= 5
    assert [str(path) for path in rooms if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []
