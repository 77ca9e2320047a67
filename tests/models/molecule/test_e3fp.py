import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytest.importorskip("rdkit")
import rdkit
from rdkit import Chem
from rdkit.Chem import rdMolTransforms

from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.e3fp import E3FP, NONE

SDF = Path(rdkit.__file__).parent / "Contrib/Fastcluster/testdata/cdk2.sdf"
ASPIRIN = read_molecule("CC(=O)Oc1ccccc1C(=O)O", seed=1)


def oracle(molecule):
    fprinter = pytest.importorskip("e3fp.fingerprint.fprinter")
    logging.getLogger().setLevel(logging.CRITICAL)
    made = fprinter.Fingerprinter(bits=4096, level=3, stereo=True, rdkit_invariants=True, exclude_floating=False)
    made.run(conf=molecule.GetConformer(), mol=molecule)
    found = np.full((molecule.GetNumAtoms(), 4), NONE)
    for shell in made.all_shells:
        found[shell.center_atom, round(shell.radius / 1.718)] = shell.identifier
    return found


def test_identifiers_are_those_of_e3fp():
    """All but a few, of which docs/molecule.md tells: the rule for the direction of a sphere is not known to the letter."""
    equal, count, whole = np.zeros(4), 0, 0
    molecules = list(Chem.SDMolSupplier(str(SDF)))
    for molecule in molecules:
        same = E3FP(share=False).identifiers(molecule) == oracle(molecule)
        equal, count, whole = equal + same.sum(0), count + len(same), whole + same.all()
    assert equal[0] == count and (equal / count >= [1, 0.995, 0.98, 0.95]).all() and whole >= 0.7 * len(molecules)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_ids_do_not_change_with_rotation_translation_and_order(seed):
    random = np.random.default_rng(seed)
    order = random.permutation(ASPIRIN.GetNumAtoms()).tolist()
    moved = Chem.RenumberAtoms(ASPIRIN, order)
    transform = np.eye(4)
    transform[:3, :3] = Rotation.random(random_state=seed % 2**31).as_matrix()
    transform[:3, 3] = random.normal(size=3) * 10
    rdMolTransforms.TransformConformer(moved.GetConformer(), transform)
    assert np.array_equal(E3FP().ids(moved), E3FP().ids(ASPIRIN)[order])


def test_a_mirror_image_has_other_ids():
    mirror = np.diag([-1.0, 1, 1, 1])
    other = Chem.Mol(ASPIRIN)
    rdMolTransforms.TransformConformer(other.GetConformer(), mirror)
    assert not np.array_equal(E3FP().ids(other), E3FP().ids(ASPIRIN))


def test_hydrogens_have_no_ids():
    assert (E3FP().ids(Chem.AddHs(ASPIRIN, addCoords=True))[ASPIRIN.GetNumAtoms() :] == -1).all()
