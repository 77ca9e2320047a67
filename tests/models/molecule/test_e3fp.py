from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytest.importorskip("rdkit")
import rdkit
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.e3fp import E3FP
from tests.models.molecule.e3fp_oracle import oracle

CONTRIB = Path(rdkit.__file__).parent / "Contrib"
CDK2 = list(Chem.SDMolSupplier(str(CONTRIB / "Fastcluster/testdata/cdk2.sdf")))
LIGANDS = list(Chem.SDMolSupplier(str(CONTRIB / "FreeWilson/data/cmet_ligands.sdf")))
ASPIRIN = read_molecule("CC(=O)Oc1ccccc1C(=O)O", seed=1)
SMALL = [
    "CC.CC.CC",
    "C.C.C.C",
    "CCN",
    "C1CC1",
    "CC(C)(C)O",
    "N.N.C",
    "ClC(Cl)=NC1=CC=CC=C1",
    "[2H]OC",
    "*CC",
    "[Na+].[Cl-]",
]


@pytest.mark.parametrize("molecules", [CDK2[::4] + [CDK2[10], CDK2[31], CDK2[42]], [LIGANDS[12], LIGANDS[18]]])
def test_identifiers_are_those_of_e3fp(molecules):
    """On some of those that tell the rules of the frame apart; scripts/bench_e3fp.py compares all of them."""
    pytest.importorskip("e3fp")
    for molecule in molecules:
        own, shared = oracle(molecule)
        assert np.array_equal(E3FP(share=False).identifiers(molecule), own)
        assert np.array_equal(E3FP().identifiers(molecule), shared)


def placed(smiles, places):
    molecule = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(len(places))
    conformer.SetPositions(np.asarray(places, dtype=float))
    molecule.AddConformer(conformer)
    return molecule


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SMALL), st.integers(0, 2**31), st.sampled_from(["cloud", "grid", "line", "plane", "cross"]))
def test_degenerate_places_too(smiles, seed, kind):
    """Equal neighbours, directions of no length, neighbours on the axis, planes: every branch of the frame's rules."""
    pytest.importorskip("e3fp")
    random, size = np.random.default_rng(seed), Chem.MolFromSmiles(smiles).GetNumAtoms()
    cross = np.vstack([np.zeros(3), np.eye(3) * 1.2, -np.eye(3) * 1.3])
    places = {
        "cloud": random.normal(size=(size, 3)) * random.choice([0.3, 1, 2]),
        "grid": random.permutation([(x, 1.13 * y, 1.31 * z) for x in range(3) for y in range(3) for z in range(3)])[
            :size
        ],
        "line": np.arange(size)[:, None] * [[1.1, 0.3, 0.2]] * random.choice([1, 0.05]),
        "plane": random.normal(size=(size, 3)) * [1, 1, 0],
        "cross": np.vstack([cross, cross + 4])[random.permutation(14)[:size]],
    }[kind]
    molecule = placed(smiles, places)
    assert np.array_equal(E3FP(share=False).identifiers(molecule), oracle(molecule)[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([ASPIRIN, CDK2[31], LIGANDS[18]]))
def test_ids_do_not_change_with_rotation_translation_and_order(seed, molecule):
    random = np.random.default_rng(seed)
    order = random.permutation(molecule.GetNumAtoms()).tolist()
    moved = Chem.RenumberAtoms(molecule, order)
    transform = np.eye(4)
    transform[:3, :3] = Rotation.random(random_state=seed % 2**31).as_matrix()
    transform[:3, 3] = random.normal(size=3) * 10
    rdMolTransforms.TransformConformer(moved.GetConformer(), transform)
    assert np.array_equal(E3FP().ids(moved), E3FP().ids(molecule)[order])


def test_a_turn_does_not_decide_where_neighbours_stand_at_right_angles():
    cross = np.vstack([np.zeros(3), np.eye(3) * 1.2, -np.eye(3) * 1.3])
    expected = E3FP().ids(placed("FS(F)(F)(F)(F)F", cross[[1, 0, 2, 3, 4, 5, 6]]))
    for seed in range(20):
        turned = Rotation.random(random_state=seed).apply(cross[[1, 0, 2, 3, 4, 5, 6]])
        assert np.array_equal(E3FP().ids(placed("FS(F)(F)(F)(F)F", turned)), expected)


def test_a_mirror_image_has_other_ids():
    mirror = np.diag([-1.0, 1, 1, 1])
    other = Chem.Mol(ASPIRIN)
    rdMolTransforms.TransformConformer(other.GetConformer(), mirror)
    assert not np.array_equal(E3FP().ids(other), E3FP().ids(ASPIRIN))
    assert np.array_equal(E3FP(stereo=False).ids(other), E3FP(stereo=False).ids(ASPIRIN))


def test_hydrogens_have_no_ids():
    assert (E3FP().ids(Chem.AddHs(ASPIRIN, addCoords=True))[ASPIRIN.GetNumAtoms() :] == -1).all()
    assert (E3FP().ids(read_molecule("[H][H]")) == -1).all()
    assert E3FP().ids(Chem.Mol()).shape == (0, 4)


def test_without_coordinates_in_three_dimensions_there_are_no_ids():
    flat = Chem.MolFromSmiles("CCO")
    with pytest.raises(TextError, match="read_molecule"):
        E3FP().ids(flat)
    with pytest.raises(TextError, match=r"no conformer 7, but \[0\]"):
        E3FP().ids(ASPIRIN, conformer=7)
    AllChem.Compute2DCoords(flat)
    with pytest.raises(TextError, match="flat"):
        E3FP().ids(flat)


@pytest.mark.parametrize("wrong", [{"bits": 0}, {"levels": 0}, {"step": 0.0}, {"step": float("nan")}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(VocabularyError, match="above"):
        E3FP(**wrong)
