"""Identifiers of the surroundings of atoms in three dimensions: E3FP (Axen et al. 2017, 10.1021/acs.jmedchem.7b00696)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.molecule.libraries import library
from hf_tokext.models.molecule.stereo import Neighbours, stereo_codes

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

    Raises:
        VocabularyError: a setting is out of range.
    """

    bits: int = 4096
    levels: int = 4
    step: float = 1.718
    stereo: bool = True
    share: bool = True

    def __post_init__(self) -> None:
        if self.bits < 1 or self.levels < 1 or not self.step > 0:
            raise VocabularyError(f"bits and levels must be 1 or above, and the step above 0 ångström: {self}")

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

        Raises:
            TextError: it has no such conformer, or only a flat drawing.
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

        Raises:
            TextError: it has no such conformer, or only a flat drawing.
        """
        heavy = [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() > 1]
        found = np.full((molecule.GetNumAtoms(), self.levels), NONE, dtype=np.int64)
        if heavy:
            places = _places(molecule, conformer)[heavy]
            found[heavy] = self._shells(_atom_hashes(molecule, heavy), _bonds(molecule, heavy), places)
        return found

    def _shells(self, first: np.ndarray, bonds: np.ndarray, places: np.ndarray) -> np.ndarray:
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
        found[:, 0] = own = first
        distances = np.sqrt(sum((axis[:, None] - axis) ** 2 for axis in places.T))
        members = np.eye(size, dtype=bool)
        accepted = {row.tobytes(): identifier for row, identifier in zip(members, own.tolist(), strict=True)}
        for level in range(1, self.levels):
            if members.all():
                break
            near = distances <= level * self.step
            own = self._next(level, own, bonds, places, near)
            members = near.astype(np.float32) @ members.astype(np.float32) > 0
            sets = [row.tobytes() for row in members]
            known = len(accepted)
            for identifier, atom in sorted(zip(own.tolist(), range(size), strict=True)):
                accepted.setdefault(sets[atom], identifier)
            if len(accepted) == known:
                break
            found[:, level] = [accepted[each] for each in sets] if self.share else own
        return found

    def _next(
        self, level: int, before: np.ndarray, bonds: np.ndarray, places: np.ndarray, near: np.ndarray
    ) -> np.ndarray:
        """Identifiers of a level, [N]; `before` are those of the level before, `near` [N, N] is who lies in the sphere."""
        size = len(before)
        atoms, others = np.nonzero(near & ~np.eye(size, dtype=bool))
        codes = bonds[atoms, others]
        order = np.lexsort((before[others], codes, atoms))
        atoms, others, codes = atoms[order], others[order], codes[order]
        columns = [codes, before[others]]
        if self.stereo:
            found = Neighbours(atoms, codes, before[others], places[others] - places[atoms])
            signs = stereo_codes(found, size)
            order = np.lexsort((signs, before[others], codes, atoms))
            columns = [column[order] for column in (*columns, signs)]
        heads, rows = _bytes([np.full(size, level), before]), _bytes(columns)
        ends = np.cumsum(np.bincount(atoms, minlength=size)) * 8 * len(columns)
        spans = pairwise([0, *ends.tolist()])
        return np.array([_hash(heads[16 * at : 16 * at + 16] + rows[slice(*span)]) for at, span in enumerate(spans)])


NONE = 1 << 40


def _places(molecule: Any, conformer: int) -> np.ndarray:
    """Coordinates of all atoms, [atoms, 3] in ångström."""
    try:
        found = molecule.GetConformer(conformer)
    except ValueError as error:
        there = [each.GetId() for each in molecule.GetConformers()]
        raise TextError(f"the molecule has no conformer {conformer}, but {there}; read_molecule makes one") from error
    if not found.Is3D():
        raise TextError("the molecule has a flat drawing, no conformer; read_molecule makes one")
    return np.asarray(found.GetPositions())


def _bytes(columns: Sequence[Any]) -> bytes:
    """Columns of 64-bit numbers, row by row."""
    return np.stack(columns, -1).astype("<i8").tobytes()


def _hash(data: bytes) -> int:
    """The signed 32-bit hash."""
    return library("mmh3").hash(data, 0)


def _atom_hashes(molecule: Any, heavy: list[int]) -> np.ndarray:
    """Identifiers of level 0, [N]: what RDKit's Morgan fingerprint says of an atom."""
    table = library("rdkit.Chem").GetPeriodicTable()
    found = []
    for index in heavy:
        atom = molecule.GetAtomWithIdx(index)
        number = atom.GetAtomicNum()
        says = (
            number,
            atom.GetTotalDegree(),
            atom.GetTotalNumHs(),
            atom.GetFormalCharge(),
            int(atom.GetMass() - table.GetAtomicWeight(number)),
            int(atom.IsInRing()),
        )
        found.append(_hash(_bytes(says)))
    return np.array(found)


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
