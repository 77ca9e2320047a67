"""An installed wheel finds the model card templates, though they are a top-level folder of the sources."""

import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import venv
import zipfile
from pathlib import Path

import pytest

from hf_tokext.hub.cards import is_generated
from hf_tokext.hub.templates import template_folder

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(path.name for path in (ROOT / "model_cards").glob("*.md"))
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def build(kind, sources, target):
    """Build a distribution with the project's own backend, of a copy, since building writes beside the sources."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(target)], cwd=sources, capture_output=True, text=True, check=True
    )
    return target / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    path = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("hf_tokext", "model_cards"):
        shutil.copytree(ROOT / name, path / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, path / name)
    return build("build_sdist", path, path)


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """From the source distribution, as an installer would that finds no wheel."""
    path = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(path, filter="data")
    (sources,) = path.iterdir()
    return build("build_wheel", sources, path)


def test_the_source_tree_has_them():
    assert template_folder() == ROOT / "model_cards" and {"transplant.md", "checkpoint.md"} <= set(TEMPLATES)


def test_the_wheel_carries_them_inside_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"hf_tokext/model_cards/{name}" for name in TEMPLATES} <= names
    assert {name.split("/")[0] for name in names} == {"hf_tokext", f"hf_tokext-{wheel.name.split('-')[1]}.dist-info"}


@pytest.mark.long
def test_the_installed_wheel_writes_a_card(wheel, folder, tmp_path):
    """The wheel alone lies in the new environment; its dependencies are lent by this one."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    lent = os.environ | {"PYTHONPATH": str(Path(pytest.__file__).resolve().parents[1]), "HF_HUB_OFFLINE": "1"}
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True, "env": lent}
    program = """
        import os, sys
        from hf_tokext.cli import main
        from hf_tokext.hub.templates import template_folder
        print(template_folder(), *sorted(os.listdir(template_folder())))
        main(["card", sys.argv[1]])
    """
    done = subprocess.run([python, "-c", textwrap.dedent(program), folder], **run)
    found, *names = done.stdout.splitlines()[0].split()
    assert Path(found).is_relative_to(tmp_path) and Path(found).name == "model_cards" and names == TEMPLATES
    assert is_generated((folder / "README.md").read_text())
