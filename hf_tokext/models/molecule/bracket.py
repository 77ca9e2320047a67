"""Bracket atoms such as [13CH3+] in parts: isotope, element, chirality, hydrogens, charge."""

import re
from typing import NamedTuple

ELEMENTS = [
    "H",
    "He",
    "Li",
    "Be",
    "B",
    "C",
    "N",
    "O",
    "F",
    "Ne",
    "Na",
    "Mg",
    "Al",
    "Si",
    "P",
    "S",
    "Cl",
    "Ar",
    "K",
    "Ca",
    "Sc",
    "Ti",
    "V",
    "Cr",
    "Mn",
    "Fe",
    "Co",
    "Ni",
    "Cu",
    "Zn",
    "Ga",
    "Ge",
    "As",
    "Se",
    "Br",
    "Kr",
    "Rb",
    "Sr",
    "Y",
    "Zr",
    "Nb",
    "Mo",
    "Tc",
    "Ru",
    "Rh",
    "Pd",
    "Ag",
    "Cd",
    "In",
    "Sn",
    "Sb",
    "Te",
    "I",
    "Xe",
    "Cs",
    "Ba",
    "La",
    "Ce",
    "Pr",
    "Nd",
    "Pm",
    "Sm",
    "Eu",
    "Gd",
    "Tb",
    "Dy",
    "Ho",
    "Er",
    "Tm",
    "Yb",
    "Lu",
    "Hf",
    "Ta",
    "W",
    "Re",
    "Os",
    "Ir",
    "Pt",
    "Au",
    "Hg",
    "Tl",
    "Pb",
    "Bi",
    "Po",
    "At",
    "Rn",
    "Fr",
    "Ra",
    "Ac",
    "Th",
    "Pa",
    "U",
    "Np",
    "Pu",
    "Am",
    "Cm",
    "Bk",
    "Cf",
    "Es",
    "Fm",
    "Md",
    "No",
    "Lr",
    "Rf",
    "Db",
    "Sg",
    "Bh",
    "Hs",
    "Mt",
    "Ds",
    "Rg",
    "Cn",
    "Nh",
    "Fl",
    "Mc",
    "Lv",
    "Ts",
    "Og",
]
AROMATIC = ["b", "c", "n", "o", "p", "s", "se", "as", "te", "si"]
DIGITS = list("0123456789")
CHIRAL = ["@", "@@"]
# the parts in their order, and the most tokens of each; an element must stand
PARTS = {
    "isotope": 3,
    "element": 1,
    "chiral": 1,
    "hydrogen": 1,
    "count": 1,
    "sign": 1,
    "charge": 2,
    "colon": 1,
    "map": 3,
}
ORDER = list(PARTS)


class Place(NamedTuple):
    """Where one is in a bracket: the part that was last read (None at the beginning), and tokens read of it.

    Parts that hold no more tokens count as read to the end: an atom map after a 0, and hydrogen, which has no chirality.
    """

    part: str | None = None
    read: int = 0


def parts_of(token: str) -> list[str]:
    """Say which parts of a bracket a token can be.

    Args:
        token: its name.

    Returns:
        Names of parts; "H" is an element and the hydrogens.
    """
    found = ["element"] if token in ELEMENTS or token in AROMATIC or token == "*" else []
    if token in DIGITS:
        found += ["isotope", "count", "charge", "map"]
    known = {"@": "chiral", "@@": "chiral", "H": "hydrogen", "+": "sign", "-": "sign", ":": "colon"}
    return found + ([known[token]] if token in known else [])


def step(place: Place, token: str) -> Place | None:
    """Read one token of a bracket.

    Args:
        place: where one was.
        token: its name.

    Returns:
        Where one is then; None where it may not stand.
    """
    now = -1 if place.part is None else ORDER.index(place.part)
    element = ORDER.index("element")
    for part in parts_of(token):
        at = ORDER.index(part)
        same = at == now and place.read < PARTS[part]
        if now < element:
            fits = same or at == element or (part == "isotope" and now < 0)
        else:
            needs = {"count": "hydrogen", "charge": "sign", "map": "colon"}.get(part)
            fits = same or (at > now and part != "element" and (needs is None or needs == place.part))
        zero = token == "0" and part in ("isotope", "charge") and place.part != part
        turned = part == "chiral" and place.part == "element" and place.read > 1
        if fits and not zero and not turned and not (place.part == "colon" and part != "map"):
            whole = (token == "0" and part == "map" and not same) or (token == "H" and part == "element")
            return Place(part, place.read + 1 if same else PARTS["map"] if whole else 1)
    return None


def may_end(place: Place) -> bool:
    """Say whether the bracket may close.

    Args:
        place: where one is.

    Returns:
        Whether it may.
    """
    return place.part not in (None, "isotope", "colon")


def needs(place: Place) -> int:
    """Count the tokens that a bracket needs before it may close.

    Args:
        place: where one is.

    Returns:
        0 or 1.
    """
    return int(not may_end(place))


_ATOM = re.compile(
    r"(?P<isotope>[1-9]\d{0,2})?(?P<element>[A-Z][a-z]?|se|as|te|si|[bcnops]|\*)(?P<chiral>@{0,2})"
    r"(?P<hydrogen>H\d?)?(?P<charge>\+{1,9}|-{1,9}|[+-][1-9]\d?)?(?P<map>:\d{1,3})?"
)


def split_atom(text: str) -> list[str] | None:
    """Split what stands between the brackets of an atom.

    Args:
        text: such as "13CH3+".

    Returns:
        Names of tokens; None where it is no atom. "++" is read as "+2".
    """
    match = _ATOM.fullmatch(text)
    if match is None:
        return None
    element = match["element"]
    if element not in ELEMENTS and element not in AROMATIC and element != "*":
        # the letter after the element may be its own: no element has two readings that both fit
        return None
    found = [*(match["isotope"] or ""), element]
    found += [match["chiral"]] if match["chiral"] else []
    found += list(match["hydrogen"] or "")
    charge = match["charge"] or ""
    if len(charge) > 1 and charge[-1] in "+-":
        charge = charge[0] + str(len(charge))
    return found + list(charge) + list(match["map"] or "")
