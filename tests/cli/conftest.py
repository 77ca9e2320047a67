"""A base, a donor and a text for the tests of `tokext transplant`."""

import shutil

import pytest

from tests.cli.scratch import DONOR_ROWS, OTHER, ROLES
from tests.tiny_models import tiny_folder
from tests.tokenizers import byte_level


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A base, a donor with padded rows, and a text file; copied for tests that spoil them."""
    root = tmp_path_factory.mktemp("made")
    tokenizer = byte_level(300, **ROLES)
    tiny_folder("llama", root / "base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(root / "base")
    tiny_folder("gpt2", root / "donor", vocab_size=DONOR_ROWS)
    byte_level(310, text=OTHER, **ROLES).save_pretrained(root / "donor")
    (root / "text.txt").write_text(OTHER)
    return root


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A scratch copy that is the working directory, so that arguments are as short as a user's."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"
