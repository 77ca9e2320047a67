"""Runs the ```bash and ```python blocks of README.md and docs/*.md as they are written.

    python scripts/snippets.py                             # every page, which takes an hour or so
    python scripts/snippets.py --small                     # a tiny model in SmolLM2's place, fewer steps: minutes
    python scripts/snippets.py --page README.md --list     # what would run, and what is left out and why

The blocks of a page run in their order, each in a process of its own, in one folder that holds nothing but the files of
`make_files`. The package is the one that this Python has, or that of --python. The Hub is the loopback server of the
tests; it gives the repositories that a page names, made of scripts/samples.py (`SERVED`). A block that cannot stand
alone is left out by a line before it, which does not show on the page:

    <!-- snippet: skip, the reason -->

Exits with 1 if a block failed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from library import library_source, library_sources
from samples import SAMPLES, cache_root, sample

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.hub_server import LoopbackHub  # noqa: E402  (the tests are no package that is installed)


class Served(NamedTuple):
    """What stands for a repository: a sample, and where that is a tokenizer alone, the config that goes with it."""

    sample: str
    config: dict[str, Any] | None = None


SERVED = {
    "HuggingFaceTB/SmolLM2-135M": Served("smollm2-135m"),
    "openai-community/gpt2": Served("gpt2-tokenizer", {"model_type": "gpt2", "vocab_size": 50257}),
    "Qwen/Qwen2.5-7B-Instruct": Served("qwen3-tokenizer", {"model_type": "qwen2", "vocab_size": 152064}),
    "google/gemma-3-270m": Served("gemma3-270m"),
    "meta-llama/Llama-3.2-1B": Served("llama3-tokenizer", {"model_type": "llama", "vocab_size": 128256}),
}
PLACEHOLDERS = {  # whole words in bash
    "BASE": "HuggingFaceTB/SmolLM2-135M",
    "DONOR": "openai-community/gpt2",
}
BEFORE = {  # what a page takes for granted besides files: run once in its folder
    "docs/hub.md": "tokext transplant HuggingFaceTB/SmolLM2-135M out/mine --train-on corpus.txt --vocab-size 8192",
}
ELSEWHERE = {  # beginnings of lines in bash
    "bash scripts/": "release.sh and CI run it themselves",
    "python scripts/": "it belongs to the sources, not to the package",
    "pip install": "release.sh installs the wheel itself",
}
SMALL = {  # with --small only
    "--steps 50": "--steps 3",
    "--vocab-size 32768": "--vocab-size 4096",
}
HELD_OUT = ("textwrap.py", "shlex.py", "bisect.py", "fnmatch.py")
LABELS = {"bash": "bash", "python": "python"} | dict.fromkeys(("sh", "shell", "py", "python3", "pycon"), "")
FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<label>[\w+-]*)[^`]*")
REMARK = re.compile(r"\s*<!--\s*snippet:(?P<said>.*?)-->\s*")
NOT_OURS = ("PYTHONPATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_TOKEN_PATH")
TAIL = 40  # lines of a failed block's output that are shown
SECONDS_PER_TOKEN = (1 / 100, 1 / 50)  # training SmolLM2-135M on two cores


@dataclass(frozen=True)
class Snippet:
    """A block: its language, its text, the line of its fence, and why it is left out, where it is."""

    language: str
    text: str
    line: int
    skipped: str = ""


def snippets(page: str, name: str) -> Iterator[Snippet]:
    """The bash and python blocks of a page.

    Raises:
        SystemExit: a fence is never closed, is labelled in another way, or a remark to this script is not understood.
    """
    reason, opened, body, line = "", None, [], 0
    for number, text in enumerate(page.splitlines(), 1):
        fence = FENCE.fullmatch(text)
        if opened:
            indent, ticks, language = opened
            if fence and not fence["label"] and fence["ticks"].startswith(ticks):
                if language:
                    yield Snippet(language, textwrap.dedent("\n".join(body)) + "\n", line, reason)
                reason, opened, body = "", None, []
            else:
                body.append(text.removeprefix(indent))
        elif fence:
            language = LABELS.get(fence["label"]) if fence["label"] else None
            if language == "" or (reason and not language):
                raise SystemExit(f"{name}:{number}: label the block bash or python")
            opened, line = (fence["indent"], fence["ticks"], language), number
        elif remark := REMARK.fullmatch(text):
            verb, _, reason = (part.strip() for part in remark["said"].partition(","))
            if verb != "skip" or not reason:
                raise SystemExit(f"{name}:{number}: write <!-- snippet: skip, the reason -->")
        elif reason and text.strip():
            raise SystemExit(f"{name}:{number}: no block follows the remark that one is to be skipped")
    if opened or reason:
        raise SystemExit(f"{name}: the last block is not closed, or missing")


def prepared(snippet: Snippet, small: bool) -> tuple[str, str]:
    """The program to run, empty where nothing is left of it, and why something was left out."""
    if snippet.skipped or snippet.language == "python":
        return "" if snippet.skipped else snippet.text, snippet.skipped
    kept, reasons = [], []
    for line in snippet.text.splitlines():
        why = next((why for start, why in ELSEWHERE.items() if line.startswith(start)), "")
        reasons += [why] if why else []
        kept += [] if why else [line]
    text = "\n".join(kept)
    for word, meant in PLACEHOLDERS.items():
        text = re.sub(rf"(?<![\w$<{{-]){word}(?![\w>}}-])", meant, text)
    for long, short in SMALL.items() if small else ():
        text = text.replace(long, short)
    empty = not any(line.strip() and not line.startswith("#") for line in kept)
    return "" if empty else text, "; ".join(dict.fromkeys(reasons))


def make_files(folder: Path, small: bool = False) -> None:
    """The files that the pages take for granted: Python's own sources, and a font.

    `held-out.txt` is of modules that the others do not hold. The font is Unifont where the cache has it, else one whose
    pictures are noise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = library_sources(HELD_OUT, "*.py")[: 40 if small else None]
    (folder / "corpus.txt").write_text("\n".join(texts), encoding="utf-8")
    (folder / "corpus").mkdir()
    for number in range(3):
        (folder / "corpus" / f"{number}.txt").write_text("\n".join(texts[number::30]), encoding="utf-8")
    (folder / "held-out.txt").write_text("\n".join(library_source(name)[:2500] for name in HELD_OUT), encoding="utf-8")
    font = cache_root() / "unifont.hex"
    code_points = (code for code in range(0x20, 0x10000) if not 0xD800 <= code < 0xE000)
    noise = (f"{code:04X}:{code * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032X}\n" for code in code_points)
    (folder / "unifont.hex").write_text(font.read_text() if font.is_file() else "".join(noise))


def tiny_model(source: Path, folder: Path) -> Path:
    """A random model of the family and with the tokenizer of another."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source)
    for key in ("hidden_size", "intermediate_size", "head_dim"):
        setattr(config, key, 16)
    config.num_hidden_layers = config.num_attention_heads = config.num_key_value_heads = 1
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for path in source.iterdir():
        if path.is_file() and not (folder / path.name).exists():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def serve(hub: LoopbackHub, pages: dict[str, str], scratch: Path, small: bool) -> None:
    """Put the repositories on the Hub that the pages name, and say what stands for them."""
    named = "\n".join(pages.values()) + "\n".join(BEFORE[page] for page in pages if page in BEFORE)
    if any(re.search(rf"\b{word}\b", named) for word in PLACEHOLDERS):
        named += "\n".join(PLACEHOLDERS.values())
    for name, (key, config) in SERVED.items():
        if name not in named:
            continue
        folder, what = sample(key), SAMPLES[key].what
        if config is None and small:
            folder, what = (
                tiny_model(folder, scratch / "tiny" / key),
                f"a tiny random model with the tokenizer of {what}",
            )
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        if config is not None:
            files["config.json"] = json.dumps(config).encode()
            what += f" and {config['vocab_size']:,} rows by its config, without weights"
        hub.add(name, files)
        print(f"the Hub's {name}: {what}")


def environment_for(hub: LoopbackHub, home: Path, python: Path) -> dict[str, str]:
    """Variables under which a block finds that Python's package and programs, and no Hub and no cache but ours."""
    kept = {key: value for key, value in os.environ.items() if key not in NOT_OURS}
    path = f"{python.absolute().parent}{os.pathsep}{kept.get('PATH', os.defpath)}"  # a link, which must stay one
    return kept | hub.environment(home) | {"MPLBACKEND": "Agg", "PATH": path}


def run(program: str, language: str, folder: Path, name: str, environment: dict[str, str]) -> tuple[bool, str]:
    """Run a block in the folder of its page; whether it succeeded, and what it printed."""
    if language == "python":
        path = folder / f"{name}.py"
        path.write_text(program, encoding="utf-8")
        command = ["python", path.name]
    else:
        command = ["bash", "-euo", "pipefail", "-c", program]
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, encoding="utf-8", errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode == 0, done.stdout


def run_page(name: str, found: list[Snippet], folder: Path, environment: dict[str, str], small: bool) -> list[str]:
    """Run the blocks of a page, say how each went, and return the places of those that failed."""
    failed = []
    for snippet in found:
        program, reason = prepared(snippet, small)
        place, started = f"{name}:{snippet.line}", time.monotonic()
        print(f"{place:<32} {snippet.language:<7} ", end="", flush=True)
        if not program:
            print(f"skipped: {reason}", flush=True)
            continue
        good, output = run(program, snippet.language, folder, f"snippet_{snippet.line}", environment)
        rest = f" (of it skipped: {reason})" if reason else ""
        print(f"{'ok' if good else 'FAILED'}, {time.monotonic() - started:.0f} s{rest}", flush=True)
        if not good:
            failed.append(place)
            print(textwrap.indent("\n".join(output.splitlines()[-TAIL:]), "    "), flush=True)
    return failed


def training_tokens(programs: list[str]) -> int:
    """Tokens that the blocks' `tokext heal` see at its default of 1,024 a step."""
    return sum(1024 * int(steps) for program in programs for steps in re.findall(r"heal .*--steps (\d+)", program))


def main() -> int:
    """Serve, make the files, run, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="append", help="a page, such as README.md; repeat for more; default: all")
    parser.add_argument("--small", action="store_true", help="a tiny model in SmolLM2's place, and fewer steps")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the environment to run them in")
    parser.add_argument("--list", action="store_true", help="say what would run, and run nothing")
    parser.add_argument(
        "--files", type=Path, help="only make the files that the pages take for granted, in this folder"
    )
    arguments = parser.parse_args()
    if arguments.files:
        make_files(arguments.files)
        return 0
    every = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in arguments.page or every}
    found = {name: list(snippets(text, name)) for name, text in pages.items()}
    for name, program in BEFORE.items():
        if found.get(name):
            found[name].insert(0, Snippet("bash", program, 0))
    programs = {(name, snippet.line): prepared(snippet, arguments.small) for name in found for snippet in found[name]}
    if arguments.list:
        for (name, line), (program, reason) in programs.items():
            print(f"{f'{name}:{line}':<32} {'runs' if program else 'skipped'}{f': {reason}' if reason else ''}")
        return 0
    tokens = training_tokens([program for program, _ in programs.values()])
    fast, slow = (each * tokens / 60 for each in SECONDS_PER_TOKEN)
    print(
        f"training: {tokens:,} tokens, on two cores {fast:.0f} to {slow:.0f} minutes"
        if not arguments.small
        else "small"
    )
    with tempfile.TemporaryDirectory(prefix="tokext-snippets-") as scratch, LoopbackHub() as hub:
        serve(hub, pages, Path(scratch), arguments.small)
        environment = environment_for(hub, Path(scratch) / "home", arguments.python)
        where = "import hf_tokext; print('the package:', *hf_tokext.__path__)"
        print(run(where, "python", Path(scratch), "where", environment)[1], end="")
        failed: list[str] = []
        for number, name in enumerate(found):
            make_files(Path(scratch) / str(number), arguments.small)
            failed += run_page(name, found[name], Path(scratch) / str(number), environment, arguments.small)
    ran = sum(bool(program) for program, _ in programs.values())
    print(f"{ran - len(failed)} of {ran} blocks ok, {len(programs) - ran} skipped")
    print(*(f"failed: {place}" for place in failed), sep="\n", end="\n" if failed else "")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
