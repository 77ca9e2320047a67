"""Print the figures of docs/molecule.md: round trips of NCI molecules, and how ids of atoms depend on the conformer.

python scripts/repro_molecule.py [--molecules N] [--conformers N]
"""

import argparse
from pathlib import Path

import numpy as np
import rdkit
from rdkit import Chem, RDLogger

from hf_tokext.errors import TextError
from hf_tokext.models.molecule.conformers import generate_conformer
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.e3fp import E3FP

DATA = Path(rdkit.__file__).parent / "Data/NCI/first_5K.smi"


def round_trips(smiles: list[str]) -> None:
    """Print how many molecules come back, and list those that do not."""
    for notation in ("selfies", "smiles"):
        domain, exact, failures = MoleculeDomain(notation), 0, []
        for each in smiles:
            try:
                text = domain.from_smiles(each)
                written = domain.write(domain.parse(text))
                exact += written == text
                one, other = Chem.MolFromSmiles(each), Chem.MolFromSmiles(domain.to_smiles(written))
                if one is None or other is None or Chem.MolToSmiles(one) != Chem.MolToSmiles(other):
                    failures.append((each, "RDKit does not read it" if one is None else "another molecule"))
            except TextError as error:
                failures.append((each, str(error)[-80:]))
        print(f"{notation}: {len(smiles)} molecules, text exact {exact}, same molecule {len(smiles) - len(failures)}")
        for each, reason in failures:
            print(f"  {each}: {reason}")


def sensitivity(smiles: list[str]) -> None:
    """Print the share of equal ids by level: two conformers, and noise on the coordinates."""
    settings, random = E3FP(), np.random.default_rng(0)
    counts: dict[str, np.ndarray] = {}
    for each in smiles:
        try:
            molecule = Chem.MolFromSmiles(each)
            first, second = (generate_conformer(molecule, seed) for seed in (1, 2))
        except TextError:
            continue
        ids = settings.ids(first)
        others = {"another conformer": second}
        for noise in (0.01, 0.05, 0.1):
            others[f"noise {noise} A"] = moved = Chem.Mol(first)
            places = first.GetConformer().GetPositions()
            moved.GetConformer().SetPositions(places + random.normal(scale=noise, size=places.shape))
        for name, other in others.items():
            there, same = (ids >= 0).sum(0), ((ids == settings.ids(other)) & (ids >= 0)).sum(0)
            counts[name] = counts.get(name, 0) + np.stack([same, there])
    print("share of equal ids | level 0 | level 1 | level 2 | level 3")
    for name, (same, there) in counts.items():
        print(name, *(f"{share:.1%}" for share in same / there), sep=" | ")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", type=int, default=4999)
    parser.add_argument("--conformers", type=int, default=100)
    chosen = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    smiles = [line.split()[0] for line in DATA.read_text().splitlines() if line.strip()]
    sensitivity([each for each in smiles if Chem.MolFromSmiles(each) is not None][: chosen.conformers])
    round_trips(smiles[: chosen.molecules])


if __name__ == "__main__":
    main()
