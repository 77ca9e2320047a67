"""Which atom a token of a molecule makes."""

from typing import Any, NamedTuple

import numpy as np

from hf_tokext.errors import TextError
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.grammar_smiles import ATOMS
from hf_tokext.models.molecule.libraries import library
from hf_tokext.models.molecule.symbols import OPENERS, is_atom


class Aligned(NamedTuple):
    """A molecule as tokens with their atoms.

    Attributes:
        text: in the notation of the domain.
        tokens: indices of the tokens, opening and closing one included.
        atoms: [T] atom of the molecule that a token makes (a rare atom: its first token), -1 for none.
    """

    text: str
    tokens: list[int]
    atoms: np.ndarray


def align_atoms(molecule: Any, domain: MoleculeDomain) -> Aligned:
    """Write a molecule as SELFIES or SMILES and say which atom each token makes.

    By kekulised SMILES, RDKit's order of output, and for SELFIES the attribution of the decoder (3D-MolT5, arXiv
    2406.05797).

    Args:
        molecule: an RDKit Mol.
        domain: its notation is written.

    Returns:
        Text, tokens and atoms.

    Raises:
        TextError: it has no SELFIES, or atoms and symbols cannot be matched.
    """
    chem = library("rdkit.Chem")
    copy = chem.Mol(molecule)
    chem.Kekulize(copy, clearAromaticFlags=True)
    smiles = chem.MolToSmiles(copy, kekuleSmiles=True)
    order = list(copy.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    text = domain.from_smiles(smiles)
    tokens = domain.parse(text)
    makers = _selfies_makers(domain, text, tokens) if domain.notation == "selfies" else _smiles_makers(domain, tokens)
    if len(makers) != len(order) or len(set(makers)) != len(makers):
        raise TextError(f"atoms and symbols of {smiles[:60]} cannot be matched: {len(order)} and {len(set(makers))}")
    atoms = np.full(len(tokens), -1, dtype=np.int64)
    atoms[makers] = order
    return Aligned(text, tokens, atoms)


def _selfies_makers(domain: MoleculeDomain, text: str, tokens: list[int]) -> list[int]:
    """Place of the token that makes each atom, in the order of the SMILES."""
    _, attribution = library("selfies").decoder(text, attribute=True)
    symbols = [entry.attribution[-1].index for entry in attribution if entry.attribution and _names_atom(entry.token)]
    first = _first_tokens(domain, tokens)
    return [first[symbol] for symbol in symbols]


def _smiles_makers(domain: MoleculeDomain, tokens: list[int]) -> list[int]:
    """The same for SMILES: a plain atom, or the bracket that opens one; what stands in brackets is passed over."""
    places, inside = [], False
    for place, index in enumerate(tokens):
        name = domain.tokens[index]
        if not inside and (name in ATOMS or name == "["):
            places.append(place)
        inside = name == "[" or (inside and name != "]")
    return places


def _names_atom(token: str) -> bool:
    return any(character.isalpha() or character == "*" for character in token)


def _first_tokens(domain: MoleculeDomain, tokens: list[int]) -> list[int]:
    """Place of the first token of every symbol; dots are none."""
    places, rare = [], False
    for place, index in enumerate(tokens):
        name = domain.tokens[index]
        if index > 1 and not rare and (name in OPENERS or is_atom(name) or name[0] == "["):
            places.append(place)
        rare = name in OPENERS or (rare and name != "]")
    return places
