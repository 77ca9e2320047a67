"""Molecules with coordinates: from SDF, from RDKit, or generated."""

from os import PathLike
from pathlib import Path
from typing import Any

from hf_tokext.errors import TextError
from hf_tokext.models.molecule.libraries import library


def read_molecule(source: Any, seed: int = 0) -> Any:
    """Give a molecule with a conformer.

    Args:
        source: an RDKit Mol (with or without conformer), the text or path of an SDF (the first molecule is taken), or SMILES.
        seed: of the ETKDG conformer that is generated where there are no coordinates.

    Returns:
        An RDKit Mol without the hydrogens that need not be written.

    Raises:
        TextError: it cannot be read, or no conformer is found.
    """
    chem = library("rdkit.Chem")
    if isinstance(source, PathLike) or (isinstance(source, str) and source.lower().endswith((".sdf", ".mol"))):
        source = Path(source).read_text(encoding="utf-8", errors="replace")
    if isinstance(source, str):
        block = "M  END" in source
        molecule = chem.MolFromMolBlock(source) if block else chem.MolFromSmiles(source)
        if molecule is None or not molecule.GetNumAtoms():
            raise TextError(f"RDKit reads no molecule from {source[:60]!r}; give SMILES or an SDF")
    else:
        molecule = source
    if molecule.GetNumConformers() and molecule.GetConformer().Is3D():
        return molecule
    return generate_conformer(molecule, seed)


def generate_conformer(molecule: Any, seed: int = 0) -> Any:
    """Generate coordinates by ETKDG (Riniker and Landrum 2015), always the same for a seed.

    Args:
        molecule: an RDKit Mol.
        seed: of the random start.

    Returns:
        A copy with one conformer, without hydrogens.

    Raises:
        TextError: RDKit finds none.
    """
    chem, allchem = library("rdkit.Chem"), library("rdkit.Chem.AllChem")
    full = chem.AddHs(molecule)
    settings = allchem.ETKDGv3()
    settings.randomSeed = seed
    settings.maxIterations = 50
    if allchem.EmbedMolecule(full, settings) != 0:
        raise TextError(f"RDKit finds no conformer of {chem.MolToSmiles(molecule)[:60]}; give one in an SDF")
    return chem.RemoveHs(full)
