import re

import pytest

pytest.importorskip("rdkit")
pytest.importorskip("selfies")
from rdkit import Chem

from hf_tokext.errors import TextError
from hf_tokext.models.molecule.alignment import align_atoms
from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.domain import MoleculeDomain

SELFIES, SMILES = MoleculeDomain(), MoleculeDomain("smiles")


def made_by(molecule, domain):
    found = align_atoms(molecule, domain)
    assert domain.parse(found.text) == found.tokens
    return {int(atom): domain.tokens[token] for token, atom in zip(found.tokens, found.atoms, strict=True) if atom >= 0}


def test_symbols_have_the_elements_of_their_atoms():
    molecule = read_molecule("CC(=O)[O-].[Na+]")
    assert made_by(molecule, SELFIES) == {0: "[C]", 1: "[C]", 2: "[=O]", 3: "[O-1]", 4: "[Na+1]"}
    assert made_by(molecule, SMILES) == {0: "C", 1: "C", 2: "O", 3: "[", 4: "["}


@pytest.mark.parametrize("domain", [SELFIES, SMILES], ids=["selfies", "smiles"])
@pytest.mark.parametrize(
    "smiles",
    [
        "FC1CC2CCC1(Cl)C2",
        "N[C@@H](CS)C(=O)O",
        "OB(O)c1ccc(Br)cc1",
        "[13CH3]C#N",
        "[2H]OC",
        "C%10CCCC%10I",
        "F/C=C/Cl.O",
    ],
)
def test_every_atom_has_one_token_of_its_element(domain, smiles):
    molecule = Chem.MolFromSmiles(smiles)
    found = align_atoms(molecule, domain)
    assert sorted(found.atoms[found.atoms >= 0]) == list(range(molecule.GetNumAtoms()))
    for place, atom in enumerate(found.atoms):
        if atom >= 0:
            text = "".join(domain.tokens[token] for token in found.tokens[place : place + 4])
            element = re.sub(r"^[^A-Za-z]*(atom\[)?[^A-Za-z]*", "", text)
            assert element.startswith(molecule.GetAtomWithIdx(int(atom)).GetSymbol())


def test_what_selfies_cannot_write_is_refused():
    with pytest.raises(TextError, match="no SELFIES"):
        align_atoms(Chem.MolFromSmiles("CI(Cl)Cl"), SELFIES)
    assert len(made_by(Chem.MolFromSmiles("CI(Cl)Cl"), SMILES)) == 4
