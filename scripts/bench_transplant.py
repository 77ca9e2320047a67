"""Time the OMP of this package beside mergekit 0.1.5's on the same arrays, imports and IO excluded.

    python scripts/bench_transplant.py --quick                  # a minute: small sizes, to see that it works
    python scripts/bench_transplant.py                          # the headline job, both solvers on every target
    python scripts/bench_transplant.py --rival-sample 1024      # the same, mergekit on 1,024 targets and scaled
    python scripts/bench_transplant.py --grid --sample 512      # k in 8, 64, 256 x 1,000 and 11,145 targets
    python scripts/bench_transplant.py --anchors 4000 --targets 512         # another size

The job has the size of GPT-2's tables under Llama-2's tokenizer: 20,855 anchors, 11,145 new ids, D = 1024. The rows are
random with a decaying spectrum, a common mean and uneven norms, from --seed. Each solver runs in a process of its own;
CPU seconds are `time.process_time` over the solve only (all threads), after a warm-up on a small problem.

mergekit works through batches of 512 targets, its command's default, each as dear as the next: timed on a sample it is
scaled by the number of targets. With --sample ours is timed on the sample as well, with the path that the whole job
would take: the Gram matrix is timed apart and charged once in full, the rest scaled by the number of targets (too high
for ours, as a small block reads the Gram matrix from memory as often as a large one does).

Without --mergekit-python an environment with torch 2.13.0 and mergekit 0.1.5 is made in the user's cache.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

PEAK = """
import resource, sys
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""

RIVAL = """
import json, sys, time
import numpy as np, torch
from mergekit.tokensurgeon.omp import batch_omp
folder, k, batch, threads, count = sys.argv[1], *map(int, sys.argv[2:6])
torch.set_num_threads(threads)
points = torch.from_numpy(np.load(folder + "/dictionary.npy"))
targets = torch.from_numpy(np.load(folder + "/targets.npy"))[:count]
with torch.no_grad():
    batch_omp(targets[:4], points[:256], 4)
    wall, cpu = time.perf_counter(), time.process_time()
    parts = [batch_omp(part, points, k) for part in targets.split(batch)]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
np.save(folder + "/rival_support.npy", torch.cat([part[0] for part in parts]).numpy())
np.save(folder + "/rival_coefficients.npy", torch.cat([part[1] for part in parts]).numpy())
print(json.dumps({"cpu": cpu, "wall": wall, "peak": peak()}))
"""

OURS = """
import json, sys, time
import numpy as np, psutil, torch
from hf_tokext.rows.batch_omp import solve_omp
from hf_tokext.rows.omp_gram import TiledGram
from hf_tokext.rows.omp_plan import plan_omp
folder, k, fast, threads, count, whole, memory, apart = sys.argv[1], *map(int, sys.argv[2:9])
torch.set_num_threads(threads)
points = torch.from_numpy(np.load(folder + "/dictionary.npy"))
targets = torch.from_numpy(np.load(folder + "/targets.npy"))[:count].clone()
wall, cpu = time.perf_counter(), time.process_time()
solve_omp(points[:256], targets[:4], 4, fast=bool(fast), gram=True)
warm = time.perf_counter() - wall
gram = plan_omp(*points.shape, whole, k, memory, threads).gram
rate = 0.0
for _ in range(4):  # the best: the first pays for fresh memory and waking threads
    cpu = time.process_time()
    flops = 2 * points.shape[1] * (points[:8192] @ points[:2048].T).numel()
    rate = max(rate, flops / (time.process_time() - cpu))
made = made_wall = 0.0
if apart and gram:
    cpu, wall = time.process_time(), time.perf_counter()
    TiledGram(points)
    made, made_wall = time.process_time() - cpu, time.perf_counter() - wall
before = psutil.Process().memory_info().rss  # what is held now, not the highest so far
wall, cpu = time.perf_counter(), time.process_time()
solution = solve_omp(points, targets, k, fast=bool(fast), gram=gram, max_memory=memory)
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
np.save(folder + "/support.npy", solution.support.numpy())
np.save(folder + "/coefficients.npy", solution.coefficients.numpy())
print(json.dumps({"cpu": cpu, "wall": wall, "gram": gram, "made": made, "made_wall": made_wall, "warm": warm,
    "peak": peak(), "work": peak() - before, "plan": solution.plan.memory, "block": solution.plan.block, "rate": rate,
    "residual": float(solution.residual.mean())}))
"""


def main() -> None:
    """Read the arguments and print the tables."""
    options = arguments()
    python = options.mergekit_python or rival_environment()
    jobs = [(options.k, options.targets)]
    if options.grid:
        jobs = [(k, count) for k in (8, 64, 256) for count in (1000, options.targets)]
    with tempfile.TemporaryDirectory() as folder:
        write_problem(Path(folder), options)
        print(f"N = {options.anchors:,} anchors, D = {options.width:,}, {options.threads} threads, seed {options.seed}")
        for k, count in jobs:
            compare(folder, python, k, count, options)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mergekit-python", help="Python that can import mergekit 0.1.5")
    parser.add_argument("--anchors", type=int, default=20855)
    parser.add_argument("--targets", type=int, default=11145)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--batch", type=int, default=512, help="mergekit's --batch-size")
    parser.add_argument("--grid", action="store_true", help="k in 8, 64, 256 x 1,000 and --targets targets")
    parser.add_argument("--sample", type=int, help="time both on this many targets and scale")
    parser.add_argument("--rival-sample", type=int, help="time only mergekit on this many targets and scale")
    parser.add_argument("--max-memory", type=int, default=8 << 30, help="bytes of work space for ours")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="N = 4,000, D = 512, 1,024 targets, k = 32")
    options = parser.parse_args()
    if options.quick:
        options.anchors, options.targets, options.width, options.k = 4000, 1024, 512, 32
    return options


def write_problem(folder: Path, options: argparse.Namespace) -> None:
    """Write dictionary and targets, rows of one distribution, in random order."""
    random = np.random.default_rng(options.seed)
    width, rows = options.width, options.anchors + options.targets
    spectrum = np.arange(1, width + 1) ** -0.4
    turn = np.linalg.qr(random.standard_normal((width, width)))[0]
    centres = random.standard_normal((rows // 40 + 1, width)) * spectrum
    values = random.standard_normal((rows, width)) * spectrum + centres[random.integers(0, len(centres), rows)]
    values = (values @ turn + 0.3 * random.standard_normal(width) / width**0.5) * random.lognormal(0, 0.2, (rows, 1))
    values = (0.05 * values).astype(np.float32)
    np.save(folder / "dictionary.npy", values[: options.anchors])
    np.save(folder / "targets.npy", values[options.anchors :])


def compare(folder: str, python: str, k: int, count: int, options: argparse.Namespace) -> None:
    """Run mergekit and both of our paths on one job and print the figures."""
    from hf_tokext.rows.omp_plan import flop_bound

    timed = min(count, options.sample or count)
    asked = min(timed, options.rival_sample or timed)
    print(f"\nk = {k}, M = {count:,} targets; mergekit timed on {asked:,}, ours on {timed:,}")
    rival = run(python, RIVAL, folder, k, options.batch, options.threads, asked)
    rival_cpu, rival_wall = rival["cpu"] * count / asked, rival["wall"] * count / asked
    print(
        f"  mergekit 0.1.5   CPU {rival_cpu:8.1f} s   wall {rival_wall:8.1f} s   peak RSS {rival['peak'] / 2**20:,.0f} MiB"
    )
    bound = flop_bound(options.anchors, options.width, count, k)
    for fast in (0, 1):
        apart = int(timed < count)
        ours = run(sys.executable, OURS, folder, k, fast, options.threads, timed, count, options.max_memory, apart)
        scale = count / timed
        cpu = ours["made"] + (ours["cpu"] - ours["made"]) * scale
        wall = ours["made_wall"] + (ours["wall"] - ours["made_wall"]) * scale
        name = "ours with numba" if fast else "ours, torch only"
        path = "Gram" if ours["gram"] else "no Gram"
        print(f"  {name:16} CPU {cpu:8.1f} s   wall {wall:8.1f} s   {path}, block {ours['block']:,}")
        print(
            f"     times less CPU {rival_cpu / cpu:.2f}, less wall {rival_wall / wall:.2f}; {agreement(folder, asked)}"
        )
        least, rate = bound / ours["rate"], ours["rate"] / 1e9
        print(
            f"     bound of Batch-OMP {bound / 1e9:,.0f} Gflop = {least:.1f} CPU s at the {rate:.0f} Gflop/s of a matrix"
            f" product here; ours {cpu / least:.1f} x that; mean residual {ours['residual']:.4f}"
        )
        peak, work, planned, allowed = (
            size / 2**20 for size in (ours["peak"], ours["work"], ours["plan"], options.max_memory)
        )
        print(
            f"     peak RSS {peak:,.0f} MiB, {work:,.0f} over what was held before; planned {planned:,.0f}, "
            f"allowed {allowed:,.0f}"
        )
        if fast:
            print(f"     warm-up with compilation, not counted: {ours['warm']:.1f} s")


def run(python: str, worker: str, *values: object) -> dict[str, float]:
    """Run a worker in a process of its own and return the figures it prints last."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} if worker is OURS else None
    done = subprocess.run(
        [python, "-c", PEAK + worker, *map(str, values)], stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def agreement(folder: str, count: int) -> str:
    """Say for how many targets supports agree, and how far coefficients differ where they do."""
    ours, rival = (np.load(f"{folder}/{name}support.npy")[:count] for name in ("", "rival_"))
    mine, theirs = (np.load(f"{folder}/{name}coefficients.npy")[:count] for name in ("", "rival_"))
    same = (np.sort(ours, 1) == np.sort(rival, 1)).all(1)
    mine, theirs = (
        np.take_along_axis(values, np.argsort(order, 1), 1)[same] for values, order in ((mine, ours), (theirs, rival))
    )
    gap = np.abs(mine - theirs).max(initial=0)
    return f"same support {int(same.sum()):,} of {count:,}, coefficients within {gap:.1e} there"


def rival_environment() -> str:
    """Make an environment with mergekit 0.1.5 in the user's cache, once."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hf_tokext" / "mergekit-0.1.5"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "done").exists():
        print(f"making an environment for mergekit in {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "torch==2.13.0", "mergekit==0.1.5"], check=True)
        (folder / "done").touch()
    return str(python)


if __name__ == "__main__":
    main()
