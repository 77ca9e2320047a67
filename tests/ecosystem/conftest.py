"""Every kind of tokenizer, one after another; and the worked examples."""

import runpy

import pytest

from tests.ecosystem.checkpoints import EXAMPLES
from tests.ecosystem.tokenizer_cases import CASES, make


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp(request.param.replace(" ", "-")))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs an example as `python NAME.py ARGUMENTS` in an empty folder; gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def start(name, *arguments):
        monkeypatch.syspath_prepend(str((EXAMPLES / name).parent))  # runpy adds it for folders alone
        monkeypatch.setattr("sys.argv", [f"{name}.py", *arguments])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return start
