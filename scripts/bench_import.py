"""What `import hf_tokext` adds to importing transformers, and what `tokext --help` takes; needs nothing but these two.

    .venv/bin/python scripts/bench_import.py

Every figure is the least processor time of seven fresh interpreters, taken in turns so that load on the machine meets
all alike. Exits with 1 where the import adds more than a tenth, or the help takes a second or more.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 7
MOST_RATIO = 1.10
MOST_HELP = 1.0
TRANSFORMERS = "from transformers import AutoTokenizer, AutoModel"
COMMANDS = {
    "transformers": [sys.executable, "-c", TRANSFORMERS],
    "with hf_tokext": [sys.executable, "-c", f"{TRANSFORMERS}; import hf_tokext"],
    "tokext --help": [str(Path(sys.executable).with_name("tokext")), "--help"],
}


def taken(command: list[str]) -> tuple[float, float]:
    """Seconds of processor time, and on the wall, of a command in a process of its own."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> int:
    """Measure, print, and judge."""
    for command in COMMANDS.values():
        taken(command)  # once to compile, and to fill the file cache
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            found[name].append(taken(command))
    least = {name: min(cpu for cpu, _ in runs) for name, runs in found.items()}
    for name, runs in found.items():
        print(f"{name:<16}{least[name]:7.3f} s of processor time ({min(wall for _, wall in runs):.3f} s on the wall)")
    ratio = least["with hf_tokext"] / least["transformers"]
    print(f"{'ratio':<16}{ratio:7.3f}   (at most {MOST_RATIO})")
    return int(ratio > MOST_RATIO or least["tokext --help"] >= MOST_HELP)


if __name__ == "__main__":
    sys.exit(main())
