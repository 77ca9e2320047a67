"""Speed and memory of the quantizers beside vector-quantize-pytorch, on the same vectors and codebooks, in one run.

    python scripts/bench_quantizers.py             # a few minutes on one core
    python scripts/bench_quantizers.py --quick     # without the largest codebooks

Each row is a process of its own: its codebook is made, then memory is read before and after the first call (the peak of
the process, so the extra is what the call needed), then processor seconds of further calls are taken, the best of
three. `floor` is one matrix product and an argmin without chunks. Indices of both must be equal. The exit code is 1 where
a figure is below its goal: 5 times the speed and 1/8 of the memory at 16,384 codes, 128 MB at 262,144.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch import nn

from hf_tokext.quantizers import make_quantizer

DIM = 64
VQ = ((1_024, 8_192), (16_384, 4_096), (262_144, 1_024))
GOALS = {"speed": 5.0, "memory": 1 / 8, "megabytes": 128.0}


def memory() -> float:
    """The largest memory of the process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def vectors(count: int) -> torch.Tensor:
    """Normal ones, the same in every process."""
    return torch.randn(1, count, DIM, generator=torch.Generator().manual_seed(1))


def made(who: str, kind: str, size: int):
    """What turns vectors into codes."""
    table = torch.randn(size, DIM, generator=torch.Generator().manual_seed(0)) / 8
    if who == "floor":
        return lambda values: (table.square().sum(1) / 2 - values[0] @ table.t()).argmin(1)
    if who == "ours":
        options = {"vq": {"size": size}, "rvq": {"size": size, "codebooks": 8}, "lfq": {"bits": size.bit_length() - 1}}
        quantizer = make_quantizer(kind, DIM, options[kind]).eval()
        for book in [module for module in quantizer.modules() if hasattr(module, "sums")]:
            book.weight.copy_(table)
        return lambda values: quantizer.encode(values)[0].t()
    import vector_quantize_pytorch as library

    if kind == "lfq":
        other = library.LFQ(dim=DIM, codebook_size=size).eval()
    elif kind == "rvq":
        other = library.ResidualVQ(dim=DIM, codebook_size=size, num_quantizers=8).eval()
    else:
        other = library.VectorQuantize(dim=DIM, codebook_size=size).eval()
    for module in other.modules():
        if isinstance(module, nn.Module) and isinstance(getattr(module, "embed", None), torch.Tensor):
            module.embed.data.copy_(table[None])
    return lambda values: other(values)[1][0]


def measured(who: str, kind: str, size: int, count: int) -> dict:
    """Figures of one row, in this process."""
    torch.set_num_threads(1)
    encode, values = made(who, kind, size), vectors(count)
    encode(values[:, :2])  # what is made once
    before = memory()
    with torch.no_grad():
        codes = encode(values)
    extra, seconds = memory() - before, []
    for _ in range(3):
        start = time.process_time()
        with torch.no_grad():
            encode(values)
        seconds.append(time.process_time() - start)
    check = int((codes.reshape(count, -1).long() * torch.arange(1, count + 1)[:, None]).sum())
    return {"rate": count / min(seconds), "extra": extra, "check": check}


def main() -> None:
    """Run every row, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--row", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        who, kind, size, count = options.row
        print(json.dumps(measured(who, kind, int(size), int(count))))
        return
    missed = []
    rows = [("vq", *each) for each in VQ] + [("rvq", 1_024, 2_048)]
    for kind, size, count in [row for row in rows if not options.quick or row[1] < 100_000]:
        found = {}
        for who in ("floor", "ours", "library") if kind == "vq" else ("ours", "library"):
            command = [sys.executable, __file__, "--row", who, kind, str(size), str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[who] = json.loads(done.stdout.splitlines()[-1])
        ours, library = found["ours"], found["library"]
        speed, lean = ours["rate"] / library["rate"], ours["extra"] / library["extra"]
        print(
            f"{kind} {size:,} codes, {count:,} vectors: "
            + "; ".join(f"{who} {each['rate']:,.0f} vectors/s {each['extra']:.0f} MB" for who, each in found.items())
            + f"; {speed:.1f} x the speed, {lean:.3f} of the memory; indices "
            + ("equal" if ours["check"] == library["check"] else "DIFFER"),
            flush=True,
        )
        if size == 16_384:
            missed += [f"speed {speed:.2f}"] * (speed < GOALS["speed"])
            missed += [f"memory {lean:.3f}"] * (lean > GOALS["memory"])
        if size == 262_144 and ours["extra"] > GOALS["megabytes"]:
            missed.append(f"{ours['extra']:.0f} MB at {size:,}")
    if missed:
        raise SystemExit("below the goal: " + ", ".join(missed))


if __name__ == "__main__":
    main()
