"""Molecules with coordinates: from SDF, from RDKit, or generated."""

from os import PathLike
from pathlib import Path
from typing import Any

from hf_tokext.errors import TextError
from hf_tokext.models.molecule.libraries import library

APART = 10.0  # ångström between fragments whose places were generated: wider than any sphere of an atom


def read_molecule(source: Any, seed: int = 0) -> Any:
    """Give a molecule with a conformer.

    Args:
        source: an RDKit Mol (with or without conformer), the text or path of an SDF (the first molecule is taken), or SMILES.
        seed: of the ETKDG conformer that is generated where there are no coordinates in three dimensions.

    Returns:
        A new RDKit Mol without the hydrogens that need not be written.

    Raises:
        TextError: it cannot be read, has no atoms, or no conformer is found.
    """
    chem = library("rdkit.Chem")
    molecule = _plain(source) if isinstance(source, chem.Mol) else _read(source)
    if not molecule.GetNumAtoms():
        raise TextError("this molecule has no atoms; leave it out, or give None where a row has no molecule")
    if molecule.GetNumConformers() and molecule.GetConformer().Is3D():
        return molecule
    return generate_conformer(molecule, seed)


def _read(source: Any) -> Any:
    """The molecule of a text or a file."""
    chem = library("rdkit.Chem")
    if not isinstance(source, str | PathLike):
        raise TextError(
            f"a molecule is an RDKit Mol, SMILES, or the text or path of an SDF, not {type(source).__name__}"
        )
    text, name = str(source), f"{str(source)[:60]!r}"
    file = isinstance(source, PathLike) or text.lower().endswith((".sdf", ".mol"))
    if file:
        try:
            text = Path(source).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise TextError(f"{source} cannot be read: {error.strerror}; give the path of an SDF") from error
    molecule = chem.MolFromMolBlock(text) if file or "M  END" in text else chem.MolFromSmiles(text)
    if molecule is None:
        raise TextError(f"RDKit reads no molecule from {name}; give SMILES or an SDF that it reads")
    return molecule


def _plain(molecule: Any) -> Any:
    """A copy without the hydrogens that need not be written."""
    chem = library("rdkit.Chem")
    try:
        return chem.RemoveHs(molecule)
    except ValueError as error:  # RDKit's sanitization errors are all ValueErrors
        raise TextError(f"RDKit cannot sanitize the molecule: {error}; mend its valences first") from error


def generate_conformer(molecule: Any, seed: int = 0) -> Any:
    """Generate coordinates by ETKDG (Riniker and Landrum 2015), always the same for a seed.

    How fragments lie to each other is not known: they are put apart, so that none is in a sphere of another's atoms.

    Args:
        molecule: an RDKit Mol.
        seed: of the random start, 0 or above.

    Returns:
        A copy with one conformer, without hydrogens.

    Raises:
        TextError: RDKit finds none, or the seed is negative, with which RDKit draws one.
    """
    if seed < 0:
        raise TextError(f"the seed of a conformer must be 0 or above, not {seed}")
    chem, allchem = library("rdkit.Chem"), library("rdkit.Chem.AllChem")
    full = chem.AddHs(molecule)
    settings = allchem.ETKDGv3()
    settings.randomSeed = seed
    settings.maxIterations = 50
    for random_start in (False, True):  # the second way is slower, and finds cages and large rings
        settings.useRandomCoords = random_start
        if allchem.EmbedMolecule(full, settings) == 0:
            _put_apart(full)
            return chem.RemoveHs(full)
    raise TextError(f"RDKit finds no conformer of {chem.MolToSmiles(molecule)[:60]}; give one in an SDF")


def _put_apart(molecule: Any) -> None:
    """Move the fragments, which RDKit all puts around the origin."""
    places, edge = molecule.GetConformer().GetPositions(), 0.0
    for number, fragment in enumerate(map(list, library("rdkit.Chem").GetMolFrags(molecule))):
        if number:
            places[fragment, 0] += edge + APART - places[fragment, 0].min()
        edge = places[fragment, 0].max()
    molecule.GetConformer().SetPositions(places)
