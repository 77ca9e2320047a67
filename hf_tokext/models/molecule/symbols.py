"""The closed list of SELFIES symbols, and how a symbol outside of it is spelt in parts."""

import re

from hf_tokext.models.molecule import bracket

BONDS = ["", "=", "#", "/", "\\"]
OPENERS = {f"{bond}atom[": bond for bond in BONDS}
CENTRES = [
    f"{atom}{turn}{rest}" for turn in ("@", "@@") for atom, rest in [("C", "H1"), ("C", ""), ("S", ""), ("P", "")]
]
CENTRES += [f"{atom}{turn}{rest}" for turn in ("@", "@@") for atom, rest in [("N", "+1"), ("N", "H1+1"), ("S", "+1")]]
CHARGED = ["B-1", "C+1", "C-1", "N+1", "N-1", "O+1", "O-1", "P+1", "P-1", "S+1", "S-1", "B+1"]
HYDROGENS = ["NH1+1", "NH2+1", "NH3+1", "NH4+1", "OH1+1", "OH2+1", "CH1-1", "CH2-1", "BH1-1", "BH2-1", "BH3-1", "NH1-1"]
PLAIN = ["H", "B", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"]
ALONE = ["2H", "3H", "H+1", "F-1", "Cl-1", "Br-1", "I-1", "Li+1", "Na+1", "K+1", "Mg+2", "Ca+2", "Zn+2", "Si", "Se"]
STEREO_RINGS = [f"[{one}{two}Ring{size}]" for one in "-/\\" for two in "-/\\" if one + two != "--" for size in "123"]
SHAPES = [f"[{bond}{kind}{size}]" for kind in ("Branch", "Ring") for bond in BONDS[:3] for size in "123"] + STEREO_RINGS
_ATOM = re.compile(r"\[([=#/\\]?)([^\[\]=#/\\]+)\]")
_SHAPE = re.compile(r"\[[=#]?Branch[123]\]|\[(?:[=#]|[-/\\]{2})?Ring[123]\]")


def symbols() -> list[str]:
    """Give the list: bonds times atoms, branches, rings.

    Returns:
        Symbols such as "[=C]"; none has two readings.
    """
    atoms = [f"[{bond}{atom}]" for atom in PLAIN + CHARGED + CENTRES for bond in BONDS]
    return [*SHAPES, *atoms, *(f"[{bond}{atom}]" for atom in HYDROGENS + ALONE for bond in ("", "="))]


def is_atom(token: str) -> bool:
    """Say whether a token is a whole atom.

    Args:
        token: its name.

    Returns:
        Whether it is.
    """
    return token[0] == "[" and _SHAPE.fullmatch(token) is None


def split_symbol(symbol: str) -> list[str] | None:
    """Spell a symbol in parts.

    Args:
        symbol: an atom such as "[=13CH1]".

    Returns:
        Names of tokens, from the bond and opening bracket to the closing one; None where it is no atom.
    """
    match = _ATOM.fullmatch(symbol)
    parts = match and bracket.split_atom(match[2])
    if not match or not parts or ":" in parts or "".join(parts) != match[2]:
        return None
    if any(part in bracket.AROMATIC or part == "*" for part in parts):
        return None
    return [f"{match[1]}atom[", *parts, "]"]
