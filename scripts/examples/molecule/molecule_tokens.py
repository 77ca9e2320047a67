"""Draw a molecule with the token and the ids of every atom.

python scripts/examples/molecule/molecule_tokens.py "CC(=O)Oc1ccccc1C(=O)O" out.svg
"""

import argparse
from pathlib import Path

from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from hf_tokext.models.molecule.alignment import align_atoms
from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.e3fp import E3FP


def main() -> None:
    """Write the drawing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecule", help="SMILES, or the path of an SDF, whose coordinates are used")
    parser.add_argument("output", type=Path, help="an .svg to write")
    options = parser.parse_args()
    molecule, domain = read_molecule(options.molecule), MoleculeDomain()
    aligned, ids = align_atoms(molecule, domain), E3FP().ids(molecule)
    for token, atom in zip(aligned.tokens, aligned.atoms, strict=True):
        print(f"{domain.tokens[token]:12} {ids[atom].tolist() if atom >= 0 else '-'}")
        if atom >= 0:
            molecule.GetAtomWithIdx(int(atom)).SetProp("atomNote", f"{domain.tokens[token]} {ids[atom, 0]}")
    rdDepictor.Compute2DCoords(molecule)
    drawer = rdMolDraw2D.MolDraw2DSVG(700, 500)
    drawer.DrawMolecule(molecule)
    drawer.FinishDrawing()
    options.output.write_text(drawer.GetDrawingText(), encoding="utf-8")


if __name__ == "__main__":
    main()
