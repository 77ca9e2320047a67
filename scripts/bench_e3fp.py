"""Compare own E3FP identifiers with the e3fp package on the 3-D molecules of the rdkit wheel: equality and CPU time.

python scripts/bench_e3fp.py [--molecules N] [--repetitions N]

Ends with 1 where an identifier differs, or where the speed is below the bound.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rdkit
from rdkit import Chem

from hf_tokext.models.molecule.e3fp import E3FP

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.models.molecule.e3fp_oracle import oracle  # noqa: E402  (the tests are no package that is installed)

FILES = ["Fastcluster/testdata/cdk2.sdf", "PBF/testData/egfr.sdf", "FreeWilson/data/cmet_ligands.sdf"]
BOUND = 5  # times the speed of e3fp


def wheel_molecules(most: int | None = None) -> Iterator[Any]:
    """Give the molecules with coordinates that lie in the rdkit wheel, at most `most` of each file."""
    for name in FILES:
        path = Path(rdkit.__file__).parent / "Contrib" / name
        yield from list(Chem.SDMolSupplier(str(path)))[:most]


def main() -> None:
    """Print the ids that differ and the ratio of times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, help="of each file; all by default")
    parser.add_argument("--repetitions", type=int, default=3)
    chosen = parser.parse_args()
    molecules = list(wheel_molecules(chosen.molecules))
    ratios = []
    for repetition in range(chosen.repetitions):
        start = time.process_time()
        expected = [oracle(molecule) for molecule in molecules]
        middle = time.process_time()
        found = [E3FP(share=False).identifiers(molecule) for molecule in molecules]
        end = time.process_time()
        ratios.append((middle - start) / (end - middle))
        print(
            f"repetition {repetition}: e3fp {middle - start:.2f} s of CPU, ours {end - middle:.2f} s, {ratios[-1]:.1f}x"
        )
    shared = [E3FP().identifiers(molecule) for molecule in molecules]
    for name, made, theirs in (
        ("own", found, [own for own, _ in expected]),
        ("shared", shared, [s for _, s in expected]),
    ):
        same = [one == other for one, other in zip(made, theirs, strict=True)]
        levels = sum(each.sum(0) for each in same)
        print(f"{name} identifiers: {sum(each.all() for each in same)} of {len(same)} molecules wholly equal; ", end="")
        print(f"by level {levels.tolist()} of {sum(len(each) for each in same)} each")
    equal = all(np.array_equal(one, own) for one, (own, _) in zip(found, expected, strict=True))
    equal &= all(np.array_equal(one, own) for one, (_, own) in zip(shared, expected, strict=True))
    print(f"slowest ratio {min(ratios):.1f}, bound {BOUND}: {'held' if min(ratios) >= BOUND else 'BROKEN'}")
    raise SystemExit(not (equal and min(ratios) >= BOUND))


if __name__ == "__main__":
    main()
