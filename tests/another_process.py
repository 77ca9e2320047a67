"""Programs run by themselves, with this package or as if it were not installed.

Each runs in a process of its own that has imported nothing but torch and other packages that transformers imports, and not
transformers itself: that takes longer than all else, so one process imports them, and is forked for each program.
"""

import os
import subprocess
import sys
import textwrap
import traceback
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

IMPORTED = ["torch", "torch._dynamo", "torch.distributed.checkpoint", "torch.distributed.fsdp"]
IMPORTED += ["accelerate", "huggingface_hub.hf_api", "jinja2", "scipy.optimize"]
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
    done = run_program((BLOCK if without_package else "") + "".join(map(textwrap.dedent, parts)))
    return done.stdout.splitlines(), done.stderr


def run_program(code, *arguments, check=False, **environment):
    """Run a program, as `python -c` would; gives what `subprocess.run` does."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with TemporaryDirectory() as folder:
        given = [str(argument) for argument in arguments]
        process = context.Process(target=_run, args=(folder, code, given, {**os.environ, **environment}))
        process.start()
        process.join()
        out, error = (Path(folder, name).read_text(encoding="utf-8") for name in ("out", "error"))
    done = subprocess.CompletedProcess(["python", "-c", code, *given], process.exitcode, out, error)
    if check and done.returncode:
        raise AssertionError(error)
    return done


def _run(folder, code, arguments, environment):
    for number, name in enumerate(("out", "error"), 1):
        sys.__stdout__.flush(), sys.__stderr__.flush()
        with Path(folder, name).open("wb") as file:
            os.dup2(file.fileno(), number)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    code_of_exit = 0
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as left:
        code_of_exit = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code_of_exit = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code_of_exit)
