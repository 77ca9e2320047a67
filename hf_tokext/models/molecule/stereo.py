"""Where the neighbours of an atom stand around it, as small numbers that no rotation changes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

SHORT = 0.1  # ångström: a mean vector below this has no direction
POLE = np.pi / 36
BIN = 0.01  # radian
TINY = 1e-9


def stereo_codes(pairs: Sequence[tuple[int, int]], vectors: np.ndarray) -> list[int]:
    """Say in which part of space every neighbour stands.

    The frame is made of the neighbours themselves: y points to the first neighbour that is like no other, z to the one
    nearest to the plane across y that no other is as near to (within 0.01 radian). A neighbour is at a pole (1), or in a quadrant around y (2 to 5); below the plane the
    number is negative (E3FP, Axen et al. 2017, section "Stereochemistry").

    Args:
        pairs: [K] bond code and identifier of the neighbours, sorted.
        vectors: [K, 3] from the atom to them, in ångström.

    Returns:
        [K] numbers, 0 off the poles where no frame can be made.
    """
    size = len(pairs)
    none = [0] * size
    if not size:
        return none
    counts = Counter(pairs)
    alone = next((at for at, pair in enumerate(pairs) if counts[pair] == 1), None)
    if alone is None and size == 2:
        alone = 0
    if alone is not None:
        axis = vectors[alone]
    else:
        axis = vectors.mean(0)
        if np.sqrt(axis @ axis) < SHORT:
            return none
    lengths = np.sqrt((vectors**2).sum(1))
    long = np.sqrt(axis @ axis)
    if long < TINY:
        return none
    axis = axis / long
    there = lengths > TINY
    heights = vectors @ axis
    angles = np.arcsin(np.minimum(np.maximum(heights / np.where(there, lengths, 1), -1), 1))
    poles = np.where(np.pi / 2 - np.abs(angles) < POLE, np.where(angles < 0, -1, 1), 0) * there
    bins = np.floor(np.abs(angles) / BIN).astype(int).tolist()
    others = [at for at in range(size) if at != alone and there[at]]
    taken = Counter(bins[at] for at in others)
    chosen = min((at for at in others if taken[bins[at]] == 1), key=lambda at: bins[at], default=None)
    if chosen is None:
        return poles.tolist()
    flat = vectors - heights[:, None] * axis
    zero = flat[chosen]
    if np.sqrt(zero @ zero) < TINY:
        return poles.tolist()
    zero = zero / np.sqrt(zero @ zero)
    third = np.cross(axis, zero)
    turn = np.arctan2(-(flat @ third), flat @ zero)
    quadrant = 2 + np.floor(((turn + np.pi / 4) % (2 * np.pi)) / (np.pi / 2)).astype(int)
    codes = np.where(poles != 0, poles, quadrant * np.where(angles < 0, -1, 1))
    return np.where(there, codes, 0).tolist()
