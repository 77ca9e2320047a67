"""Compare own E3FP identifiers with the e3fp package on the 3-D molecules of the rdkit wheel: equality and speed.

python scripts/bench_e3fp.py [--molecules N]
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import rdkit
from rdkit import Chem

from hf_tokext.models.molecule.e3fp import E3FP, NONE

FILES = ["Fastcluster/testdata/cdk2.sdf", "PBF/testData/egfr.sdf", "FreeWilson/data/cmet_ligands.sdf"]


def main() -> None:
    """Print the ids that differ and the ratio of times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", type=int, default=1000, help="of each file")
    most = parser.parse_args().molecules
    from e3fp.fingerprint.fprinter import Fingerprinter

    logging.disable(logging.CRITICAL)
    theirs_s = ours_s = 0.0
    equal, total, whole, count = np.zeros(4, int), 0, 0, 0
    for name in FILES:
        molecules = list(Chem.SDMolSupplier(str(Path(rdkit.__file__).parent / "Contrib" / name)))[:most]
        for molecule in molecules:
            start = time.perf_counter()
            made = Fingerprinter(bits=4096, level=3, stereo=True, rdkit_invariants=True, exclude_floating=False)
            made.run(conf=molecule.GetConformer(), mol=molecule)
            middle = time.perf_counter()
            ours = E3FP(share=False).identifiers(molecule)
            ours_s, theirs_s = ours_s + time.perf_counter() - middle, theirs_s + middle - start
            theirs = np.full_like(ours, NONE)
            for shell in made.all_shells:
                theirs[shell.center_atom, round(shell.radius / 1.718)] = shell.identifier
            same = ours == theirs
            equal, total = equal + same.sum(0), total + len(same)
            whole, count = whole + bool(same.all()), count + 1
    print(f"molecules with all ids equal: {whole} of {count}; equal ids by level: {equal.tolist()} of {total} each")
    print(f"e3fp {theirs_s:.2f} s, ours {ours_s:.2f} s, ratio {theirs_s / ours_s:.2f}")


if __name__ == "__main__":
    main()
