"""The Python standard library's own sources: text that every machine has."""

import sysconfig
from collections.abc import Collection
from pathlib import Path

FOLDER = Path(sysconfig.get_path("stdlib"))
NOT_SOURCES = {"test", "tests", "site-packages"}


def library_source(module: str) -> str:
    """The source of one module, such as "heapq.py"."""
    return (FOLDER / module).read_text(encoding="utf-8", errors="replace")


def library_sources(leave_out: Collection[str], pattern: str = "**/*.py") -> list[str]:
    """The sources of all modules that match, but for tests and file names to leave out, in the order of their paths."""
    paths = sorted(path for path in FOLDER.glob(pattern) if not NOT_SOURCES & set(path.parts))
    return [library_source(str(path)) for path in paths if path.name not in leave_out]
