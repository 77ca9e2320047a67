"""The benchmark of ByteTokenizer at toy size: what makes it fail. Its figures are those of a real run."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("bench_bytes")
    monkeypatch.setattr("sys.argv", ["bench_bytes.py", "--characters", "20000"])
    monkeypatch.setattr(module, "rate", lambda work, documents: 1.0 if work() is not None else 0.0)
    monkeypatch.setattr(module, "GOALS", dict.fromkeys(module.GOALS, 1))
    monkeypatch.setattr(
        module, "library_sources", lambda leave_out: ["naïve €🙂\n" * 1000, "<s> is a marker", "x" * 9000]
    )
    return module


def code(bench):
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    return int(stopped.value.code)


def test_equal_ids_and_every_goal_reached(bench, capsys):
    assert code(bench) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "as ByT5 has it on 4 documents: all"  # of 5; one spells a marker
    assert len(said) == 6 and all(line.endswith("1.00 x (goal 1)") for line in said[1:])


@pytest.mark.parametrize("what", ["padded tensors", "array path (encode_bytes)", "lists", "batch_decode of lists"])
def test_a_figure_below_its_goal(bench, what, monkeypatch, capsys):
    monkeypatch.setitem(bench.GOALS, what, 1.01)
    assert code(bench) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "BELOW the goal of 1.01" in line]
    assert line.startswith(what)


def test_other_ids_than_byt5(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "BYT5_OFFSET", 2)
    assert code(bench) == 1
    assert "not ['lists', 'padded tensors', 'array path (encode_bytes)']" in capsys.readouterr().out
