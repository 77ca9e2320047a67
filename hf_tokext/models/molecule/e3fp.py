"""Identifiers of the surroundings of atoms in three dimensions: E3FP (Axen et al. 2017, 10.1021/acs.jmedchem.7b00696)."""

import struct
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hf_tokext.models.molecule.libraries import library
from hf_tokext.models.molecule.stereo import stereo_codes

NOT_BONDED = 5


@dataclass(frozen=True)
class E3FP:
    """How identifiers are made; equal settings give equal ids. Defaults are those of 3D-MolT5 (arXiv 2406.05797).

    Args:
        bits: ids are identifiers modulo this.
        levels: shells of an atom, its own included: spheres of 0, 1, .. `levels` - 1 times the step.
        step: what the radius grows by from a level to the next, in ångström.
        stereo: whether the arrangement of neighbours in space counts.
        share: an atom's shell of the same atoms as one accepted before takes the identifier of that one.
    """

    bits: int = 4096
    levels: int = 4
    step: float = 1.718
    stereo: bool = True
    share: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Give the settings.

        Returns:
            As JSON has them.
        """
        return asdict(self)

    def ids(self, molecule: Any, conformer: int = -1) -> np.ndarray:
        """Give the ids of every atom.

        Args:
            molecule: an RDKit Mol with a conformer.
            conformer: id of the conformer; -1 is the first one.

        Returns:
            [atoms, levels] int64; -1 where there is no shell: hydrogens, and levels that add nothing to the molecule.
        """
        found = self.identifiers(molecule, conformer)
        return np.where(found == NONE, -1, found % self.bits)

    def identifiers(self, molecule: Any, conformer: int = -1) -> np.ndarray:
        """Give the 32-bit identifiers of every atom.

        Args:
            molecule: an RDKit Mol with a conformer.
            conformer: id of the conformer; -1 is the first one.

        Returns:
            [atoms, levels] int64, signed 32-bit numbers; `NONE` where there is no shell.
        """
        heavy = [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() > 1]
        found = np.full((molecule.GetNumAtoms(), self.levels), NONE, dtype=np.int64)
        if heavy:
            places = molecule.GetConformer(conformer).GetPositions()[heavy]
            found[heavy] = self._shells(_atom_hashes(molecule, heavy), _bonds(molecule, heavy), places)
        return found

    def _shells(self, first: list[int], bonds: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Find the identifiers of heavy atoms.

        Args:
            first: [N] identifiers of level 0.
            bonds: [N, N] bond codes.
            places: [N, 3] ångström.

        Returns:
            [N, levels] identifiers.
        """
        size = len(first)
        found = np.full((size, self.levels), NONE, dtype=np.int64)
        found[:, 0] = first
        away = places[None] - places[:, None]
        distances = np.sqrt((away**2).sum(-1))
        members = [1 << atom for atom in range(size)]
        own = list(first)
        accepted = dict(zip(members, own, strict=True))
        everything = (1 << size) - 1
        for level in range(1, self.levels):
            if all(each == everything for each in members):
                break
            near = distances <= level * self.step
            np.fill_diagonal(near, False)
            before, covered = own, members
            own, members = [], []
            for atom in range(size):
                around = np.flatnonzero(near[atom]).tolist()
                codes = bonds[atom].tolist()
                rows = sorted((codes[other], before[other], other) for other in around)
                pairs = [row[:2] for row in rows]
                message = [level, before[atom]]
                if self.stereo:
                    signs = stereo_codes(pairs, away[atom, [row[2] for row in rows]])
                    for (code, identifier), sign in sorted(zip(pairs, signs, strict=True)):
                        message += (code, identifier, sign)
                else:
                    for pair in pairs:
                        message += pair
                own.append(_hash(message))
                whole = covered[atom]
                for other in around:
                    whole |= covered[other]
                members.append(whole)
            fresh = False
            for identifier, atom in sorted(zip(own, range(size), strict=True)):
                if members[atom] not in accepted:
                    accepted[members[atom]] = identifier
                    fresh = True
            if not fresh:
                break
            found[:, level] = [accepted[each] for each in members] if self.share else own
        return found


NONE = 1 << 40


def _hash(numbers: list[int]) -> int:
    return library("mmh3").hash(struct.pack(f"<{len(numbers)}q", *numbers), 0)


def _atom_hashes(molecule: Any, heavy: list[int]) -> list[int]:
    """Identifiers of level 0: what RDKit's Morgan fingerprint says of an atom."""
    table = library("rdkit.Chem").GetPeriodicTable()
    found = []
    for index in heavy:
        atom = molecule.GetAtomWithIdx(index)
        number = atom.GetAtomicNum()
        found.append(
            _hash(
                [
                    number,
                    atom.GetTotalDegree(),
                    atom.GetTotalNumHs(),
                    atom.GetFormalCharge(),
                    int(atom.GetMass() - table.GetAtomicWeight(number)),
                    int(atom.IsInRing()),
                ]
            )
        )
    return found


def _bonds(molecule: Any, heavy: list[int]) -> np.ndarray:
    """Bond codes between heavy atoms, [N, N]: 1, 2, 3, 4 for aromatic, 5 where there is none."""
    place = {index: at for at, index in enumerate(heavy)}
    kinds = library("rdkit.Chem").BondType
    codes = {kinds.SINGLE: 1, kinds.DOUBLE: 2, kinds.TRIPLE: 3, kinds.AROMATIC: 4}
    found = np.full((len(heavy), len(heavy)), NOT_BONDED)
    for bond in molecule.GetBonds():
        one, other = place.get(bond.GetBeginAtomIdx()), place.get(bond.GetEndAtomIdx())
        if one is not None and other is not None:
            found[one, other] = found[other, one] = codes.get(bond.GetBondType(), NOT_BONDED)
    return found
