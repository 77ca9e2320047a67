"""Figures are written, and leave nothing behind."""

import builtins
import struct

import pytest

from hf_tokext.errors import MissingExtraError
from hf_tokext.measure.plots import plot_before_after, plot_recovery, plot_sources

DRAW = {
    "recovery": lambda path: plot_recovery(path, {"rows": [(0, 1.5), (1024, 1.3)]}, untouched=1.1),
    "bars": lambda path: plot_before_after(path, {"en": {"a": 1.0, "b": 2.0}, "code": {"a": 3.0, "b": 1.0}}, "bits"),
    "sources": lambda path: plot_sources(path, {"anchor": 90, "approximate": 10}, {"approximate": [0.1, 0.7]}),
    "counts": lambda path: plot_sources(path, {"anchor": 90, "role": 0}),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_png_of_readable_size_is_written(tmp_path, name):
    DRAW[name](tmp_path / "figure.png")
    data = (tmp_path / "figure.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 700 and height >= 500


def test_pyplot_is_not_touched(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    DRAW["recovery"](tmp_path / "figure.png")
    assert pyplot.get_fignums() == before


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"hf-tokext\[plots\]"):
        DRAW["bars"](tmp_path / "figure.png")
