"""Programs run by themselves, with this package or as if it were not installed."""

import subprocess
import sys
import textwrap

BLOCK = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hf_tokext":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def in_another_process(*parts, without_package=False):
    """Lines that a program prints, and what it says of errors; its parts are indented each by itself."""
    program = (BLOCK if without_package else "") + "".join(map(textwrap.dedent, parts))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.splitlines(), done.stderr
