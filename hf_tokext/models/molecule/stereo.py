"""Where the neighbours of atoms stand around them, as small numbers that no rotation changes."""

from typing import NamedTuple

import numpy as np

SHORT = 0.1  # ångström: a mean vector below this has no direction
POLE = np.pi / 36
BIN = 0.01  # radian
TINY = 1e-9  # lengths and angles below are zero: rounding must not decide, or a rotation would


class Neighbours(NamedTuple):
    """Pairs of an atom and a neighbour, in the order of atom, bond code, identifier.

    Attributes:
        atoms: [K] the atom.
        codes: [K] bond code.
        identifiers: [K] of the neighbour.
        vectors: [K, 3] from the atom to the neighbour, in ångström.
    """

    atoms: np.ndarray
    codes: np.ndarray
    identifiers: np.ndarray
    vectors: np.ndarray


def stereo_codes(found: Neighbours, size: int) -> np.ndarray:
    """Say in which part of the space around its atom every neighbour stands.

    The frame is made of the atom's neighbours themselves. y points to the first neighbour whose bond code and identifier
    no other has, of two equal neighbours to one of them, else to the middle of all. z points, in the plane across y, to
    the neighbour nearest to that plane; of those in one bin of 0.01 radian the lower bond code goes first, and those alike
    in both are passed over. A neighbour is at a pole (1), or in a quadrant around y (2 to 5);
    below the plane the number is negative (E3FP, Axen et al. 2017, section "Stereochemistry").

    Args:
        found: the neighbours of all atoms.
        size: number of atoms.

    Returns:
        [K] numbers, 0 off the poles where no frame can be made.
    """
    atoms, vectors = found.atoms, found.vectors
    if not len(atoms):
        return np.zeros(0, dtype=np.int64)
    first = _first_alone([atoms, found.codes, found.identifiers], size)
    counts = np.bincount(atoms, minlength=size)
    first = np.where((first < 0) & (counts == 2), np.searchsorted(atoms, np.arange(size)), first)
    sums = [np.bincount(atoms, vectors[:, axis], minlength=size) for axis in range(3)]
    middles = np.stack(sums, 1) / np.maximum(counts, 1)[:, None]
    y = np.where(first[:, None] >= 0, vectors[first], middles)
    y, y_lengths = _unit(y)
    framed = (y_lengths > TINY) & ((first >= 0) | (y_lengths >= SHORT))

    directions, lengths = _unit(vectors)
    there = (lengths > TINY) & framed[atoms]
    heights = (directions * y[atoms]).sum(1)
    angles = np.arcsin(np.clip(heights, -1, 1))
    bins = np.floor(np.abs(angles) / BIN + TINY)
    candidates = np.flatnonzero(there & (first[atoms] != np.arange(len(atoms))))
    candidates = candidates[np.lexsort((bins[candidates], atoms[candidates]))]  # their order by code stays
    chosen = _first_alone([key[candidates] for key in (atoms, bins, found.codes)], size)
    poles = there & (np.pi / 2 - np.abs(angles) < POLE)
    signs = np.where(angles < -TINY, -1, 1)
    if not (chosen >= 0).any():
        return poles * signs
    flat = directions - heights[:, None] * y[atoms]
    z, z_lengths = _unit(flat[candidates[chosen]])
    there &= (chosen >= 0)[atoms]
    right = np.cross(z, y)
    turns = np.arctan2((flat * right[atoms]).sum(1), (flat * z[atoms]).sum(1))
    quadrants = 2 + np.floor((turns / (np.pi / 2) + 0.5 + TINY) % 4).astype(np.int64)
    quadrants[z_lengths[atoms] < TINY] = 3  # z was asked of a neighbour that stands on y
    return np.where(poles, 1, np.where(there, quadrants, 0)) * signs


def _first_alone(keys: list[np.ndarray], size: int) -> np.ndarray:
    """Place of the first row of every atom that is unlike all others, -1 for none; rows are sorted, the atom is a key."""
    atoms = keys[0]
    steps = np.ones(len(atoms) + 1, dtype=bool)
    steps[1:-1] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    alone = np.flatnonzero(steps[1:] & steps[:-1])[::-1]
    found = np.full(size, -1)
    found[atoms[alone]] = alone  # the last one that is written stays
    return found


def _unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions and lengths of [K, 3]; what has no length keeps its zeros."""
    lengths = np.sqrt((vectors**2).sum(1))
    return vectors / np.where(lengths > TINY, lengths, 1)[:, None], lengths
