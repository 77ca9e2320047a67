"""Identifiers by the e3fp package, which the tests and scripts/bench_e3fp.py hold ours to."""

import logging
from typing import Any

import numpy as np

from hf_tokext.models.molecule.e3fp import NONE


def oracle(molecule: Any) -> tuple[np.ndarray, np.ndarray]:
    """Identifiers of e3fp, [atoms, 4]: each shell's own, and that of the accepted shell that has the same atoms."""
    from e3fp.fingerprint.fprinter import Fingerprinter

    logging.getLogger().setLevel(logging.CRITICAL)  # e3fp configures the root logger when it is imported
    made = Fingerprinter(bits=4096, level=3, stereo=True, rdkit_invariants=True, exclude_floating=False)
    made.run(conf=molecule.GetConformer(), mol=molecule)
    own, shared = (np.full((molecule.GetNumAtoms(), 4), NONE) for _ in range(2))
    for shell in made.all_shells:
        place = shell.center_atom, round(shell.radius / 1.718)
        own[place], shared[place] = shell.identifier, (shell.duplicate or shell).identifier
    return own, shared
