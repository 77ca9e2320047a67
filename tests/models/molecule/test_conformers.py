from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rdkit")
from rdkit import Chem
from rdkit.Chem import AllChem

from hf_tokext.errors import TextError
from hf_tokext.models.molecule.conformers import APART, read_molecule

ETHANOL = read_molecule("CCO", seed=2)


def places(molecule):
    return molecule.GetConformer().GetPositions()


def test_sdf_as_text_and_as_file(tmp_path):
    text = Chem.MolToMolBlock(ETHANOL) + "$$$$\n" + Chem.MolToMolBlock(read_molecule("CN")) + "$$$$\n"
    (tmp_path / "two.sdf").write_text(text)
    for source in (text, tmp_path / "two.sdf", str(tmp_path / "two.sdf")):
        found = read_molecule(source)
        assert Chem.MolToSmiles(found) == "CCO" and np.allclose(places(found), places(ETHANOL), atol=1e-4)


def test_what_is_given_stays_as_it_is_and_hydrogens_go():
    given = Chem.AddHs(ETHANOL, addCoords=True)
    found = read_molecule(given)
    assert (found.GetNumAtoms(), given.GetNumAtoms()) == (3, 9)
    assert np.array_equal(places(found), places(given)[:3])


def test_a_drawing_gets_a_conformer_by_the_seed():
    flat = Chem.MolFromSmiles("CCO")
    AllChem.Compute2DCoords(flat)
    assert np.array_equal(places(read_molecule(flat, seed=2)), places(ETHANOL))
    assert not np.array_equal(places(read_molecule(flat, seed=3)), places(ETHANOL))


def test_fragments_stand_apart():
    molecule = read_molecule("CC(=O)[O-].[Na+].CCO")
    fragments = [places(molecule)[list(fragment)] for fragment in Chem.GetMolFrags(molecule)]
    for number, one in enumerate(fragments):
        for other in fragments[number + 1 :]:
            assert np.linalg.norm(one[:, None] - other, axis=-1).min() >= APART


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("C(", "SMILES or an SDF"),
        ("broken\nM  END\n", "SMILES or an SDF"),
        ("", "no atoms"),
        (Chem.Mol(), "no atoms"),
        ("no/such.sdf", "No such file"),
        (Path("no/such"), "No such file"),
        (7, "not int"),
        (Chem.MolFromSmiles("CN(C)(C)(C)C", sanitize=False), "valence"),
    ],
)
def test_what_is_no_molecule_is_refused(source, says):
    with pytest.raises(TextError, match=says):
        read_molecule(source)


def test_a_negative_seed_would_not_give_the_same_again():
    with pytest.raises(TextError, match="seed"):
        read_molecule("CCO", seed=-1)
