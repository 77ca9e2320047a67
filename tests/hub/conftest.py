"""A loopback hub that the client of this very process talks to, and a transplanted checkpoint to push."""

import shutil
import time

import huggingface_hub
import pytest
import transformers

from hf_tokext.transplant import transplant_checkpoint
from tests.hub_server import LoopbackHub
from tests.tiny_models import tiny_folder
from tests.tokenizers import TEXT, byte_level


@pytest.fixture
def hub(tmp_path, monkeypatch):
    constants = huggingface_hub.constants
    with LoopbackHub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", server.url)  # of the functions made of its methods
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # made when first asked for, then kept
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def slept(monkeypatch):
    """Waiting takes no time; gives the seconds that would have been waited."""
    found = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture(scope="package")
def transplanted(tmp_path_factory):
    path = tmp_path_factory.mktemp("transplanted")
    tiny_folder("llama", path / "base", vocab_size=300)
    byte_level(300).save_pretrained(path / "base")
    (path / "base" / "README.md").write_text("---\nlicense: mit\n---\n# The base\n")
    (path / "base" / "LICENSE").write_text("MIT, in full")
    transplant_checkpoint(path / "base", None, path / "out", train_on=[TEXT], vocab_size=280, texts=[TEXT])
    return path / "out"


@pytest.fixture
def folder(transplanted, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(transplanted, tmp_path / "model")


@pytest.fixture
def contents():
    """Every file below a folder, by name: to show that nothing changed."""

    def of(path):
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}

    return of
