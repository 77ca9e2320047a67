"""Molecules in one dimension as tokens: SELFIES symbols, or SMILES."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.molecule import bracket
from hf_tokext.models.molecule.grammar_selfies import SelfiesGrammar
from hf_tokext.models.molecule.grammar_smiles import ATOMS, BONDS, RINGS, SmilesGrammar
from hf_tokext.models.molecule.libraries import library
from hf_tokext.models.molecule.symbols import OPENERS, split_symbol, symbols
from hf_tokext.vocabulary.domain import Domain

LONGEST = 100_000  # characters of a molecule; the libraries recurse or take quadratic time
PARTS = ["]", *bracket.ELEMENTS, *bracket.DIGITS, *bracket.CHIRAL, "+", "-"]
_SHAPES = re.compile(r"^(\[[^\[\]]*(Branch|Ring)[123]\])+")  # they shape nothing before the first atom
_SMILES = re.compile(r"\[[^\[\]]*\]|%\d\d|Cl|Br|.", re.DOTALL)


class MoleculeDomain(Domain):
    """Molecules as SELFIES (Krenn et al. 2020, arXiv 1905.13741) or SMILES.

    Texts are in the notation. Whatever SELFIES tokens are written, RDKit reads the molecule. For SMILES only the form is
    promised (brackets, branches, rings): a carbon may have five bonds.

    Args:
        notation: "selfies" or "smiles".

    Attributes:
        notation: as given.

    Raises:
        VocabularyError: there is no such notation.
    """

    name = "molecule"

    def __init__(self, notation: str = "selfies") -> None:
        if notation not in ("selfies", "smiles"):
            raise VocabularyError(f"notation {notation!r} is neither 'selfies' nor 'smiles'")
        self.notation = notation
        if notation == "selfies":
            names = [*symbols(), ".", *OPENERS, *PARTS]
        else:
            names = [*ATOMS, *BONDS, "(", ")", ".", "[", *RINGS, *PARTS, *bracket.AROMATIC, ":"]
        names = list(dict.fromkeys(["open", "close", *names]))
        super().__init__(names, {"open": "molecule begins", "close": "molecule ends"})
        grammar = SelfiesGrammar if notation == "selfies" else SmilesGrammar
        self.grammar = grammar(self.tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that make this domain again."""
        return {"notation": self.notation}

    def parse(self, text: str) -> list[int]:
        """Read a molecule in the notation of the domain.

        Args:
            text: SELFIES or SMILES.

        Returns:
            Indices of its tokens, the opening and the closing one included.

        Raises:
            TextError: it is no molecule in this notation.
        """
        text = text.strip()
        if not text or len(text) > LONGEST:
            raise TextError(f"a molecule has 1 to {LONGEST} characters, this text has {len(text)}")
        names = self._selfies(text) if self.notation == "selfies" else self._smiles(text)
        indices = [0, *(self._index[name] for name in names), 1]
        state = self.grammar.start()
        for place, index in enumerate(indices):
            if not self.grammar.allowed(state)[index]:
                wrong = f"token {place}, {self.tokens[index]!r}, may not stand where it stands"
                wrong = "it ends too early; is a ring, a branch or a bond left open?" if index == 1 else wrong
                raise TextError(f"{text[:80]!r} is not well-formed {self.notation}: {wrong}")
            state = self.grammar.advance(state, index)
        if self.notation == "selfies" and not _readable(text):
            raise TextError(f"RDKit makes no molecule of {text[:80]!r}; look for an atom with too many bonds")
        return indices

    def write(self, indices: Sequence[int]) -> str:
        """Write a molecule.

        Args:
            indices: any tokens of the domain.

        Returns:
            SELFIES that RDKit and selfies read, or well-formed SMILES; that of `parse`, up to "++" for "+2" and "%05" for
            "5" in SMILES.
        """
        grammar = self.grammar
        state, kept = grammar.advance(grammar.start(), 0), list[int]()
        for index in indices:
            if index > 1 and grammar.allowed(state)[index]:
                state = grammar.advance(state, index)
                kept.append(index)
            elif index == 1:
                break  # what follows the end is another document's
        while not grammar.allowed(state)[1]:
            index = self._nearest(state)
            state = grammar.advance(state, index)
            kept.append(index)
        names = [self.tokens[index] for index in kept]
        return _selfies_text(names) if self.notation == "selfies" else _smiles_text(names)

    def from_smiles(self, smiles: str) -> str:
        """Give a molecule in the notation of the domain.

        Args:
            smiles: any SMILES.

        Returns:
            The text for `parse`; for SMILES as given.

        Raises:
            TextError: the selfies library cannot encode it.
        """
        if self.notation == "smiles":
            return smiles
        selfies = library("selfies")
        try:
            return str(selfies.encoder(smiles))
        except (selfies.EncoderError, RecursionError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise TextError(f"{smiles[:80]!r} has no SELFIES: {reason[-200:]}") from error

    def to_smiles(self, text: str) -> str:
        """Give SMILES of a text of the domain.

        Args:
            text: what `write` gives.

        Returns:
            SMILES.
        """
        return text if self.notation == "smiles" else str(library("selfies").decoder(text))

    def _nearest(self, state: Any) -> int:
        """The common token that brings the end of the document nearest."""
        allowed = self.grammar.allowed(state)
        names = ["]", ")", "[C]", "C", *RINGS]
        found = [self._index[name] for name in names if name in self._index and allowed[self._index[name]]]
        return min(found, key=lambda index: self.grammar.distance(self.grammar.advance(state, index)))

    def _selfies(self, text: str) -> list[str]:
        names: list[str] = []
        for match in re.finditer(r"\[[^\[\]]*\]|\.|.", text, re.DOTALL):
            symbol = match[0]
            parts = [symbol] if symbol == "." or symbol[0] == "[" and symbol in self._index else split_symbol(symbol)
            if parts is None or any(part not in self._index for part in parts):
                raise TextError(
                    f"{symbol[:40]!r} at character {match.start()} is no SELFIES symbol, such as [C] or [=O]; "
                    "from_smiles gives the SELFIES of SMILES"
                )
            names += parts
        return names

    def _smiles(self, text: str) -> list[str]:
        names: list[str] = []
        for match in _SMILES.finditer(text):
            piece = match[0]
            if piece[0] == "[" and len(piece) > 1:
                parts = bracket.split_atom(piece[1:-1])
                names += ["[", *parts, "]"] if parts else []
            elif piece[0] == "%" and len(piece) == 3:
                parts = [f"ring{int(piece[1:])}"]
                names += parts
            else:
                parts = [f"ring{piece}"] if piece in bracket.DIGITS else [piece]
                names += parts
            if not parts or any(part not in self._index for part in parts) or piece in ("[", "]", "%"):
                raise TextError(f"{piece[:40]!r} at character {match.start()} is no SMILES token")
        return names


def _smiles_text(names: Sequence[str]) -> str:
    rings = {ring: str(number) if number < 10 else f"%{number}" for number, ring in enumerate(RINGS)}
    return "".join(rings.get(name, name) for name in names)


def _selfies_text(names: Sequence[str]) -> str:
    """The text of tokens; without rare atoms where they make it unreadable, then without those that stand alone."""
    spelt = re.findall(r"\[[^\[\]]*\]|\.", "".join(f"[{OPENERS[name]}" if name in OPENERS else name for name in names))
    parts = [symbol for symbol in spelt if symbol == "." or _decodes(symbol)]
    robust = library("selfies").get_semantic_robust_alphabet()
    for kept in (parts, [symbol for symbol in parts if symbol == "." or symbol in robust]):
        pieces = [_SHAPES.sub("", piece) for piece in "".join(kept).split(".")]
        text = ".".join(filter(None, pieces))
        if text and _readable(text):
            return text
    return "[C]"


@cache
def _decodes(symbol: str) -> bool:
    selfies = library("selfies")
    try:
        return bool(selfies.decoder(f"[C]{symbol}[C]"))
    except (selfies.DecoderError, ValueError, KeyError, IndexError):
        return False


def _readable(text: str) -> bool:
    """Whether selfies and RDKit make a molecule of SELFIES."""
    selfies = library("selfies")
    try:
        smiles = selfies.decoder(text)
    except (selfies.DecoderError, RecursionError, ValueError, KeyError, IndexError):
        return False
    return bool(smiles) and library("rdkit.Chem").MolFromSmiles(smiles) is not None
