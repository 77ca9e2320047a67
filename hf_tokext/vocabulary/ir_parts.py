"""The parts of an LLVM module: functions, globals, metadata; and the instructions of a function."""

from collections.abc import Iterator
from typing import NamedTuple

from hf_tokext.errors import TextError
from hf_tokext.vocabulary.ir_lexer import OPENERS, matching

MODULE = frozenset(("define", "declare", "attributes", "target", "source_filename", "module"))  # which begin its parts
USES = frozenset(("uselistorder", "uselistorder_bb"))  # how the uses of a value are kept in memory
_TOP = MODULE | USES
WITHOUT_RESULT = frozenset(
    [
        "ret",
        "br",
        "switch",
        "indirectbr",
        "invoke",
        "callbr",
        "resume",
        "catchret",
        "cleanupret",
        "unreachable",
        "store",
        "fence",
        "call",
    ]
)
TAIL = frozenset(("tail", "musttail", "notail"))


def top_level(found: list[str], pairs: dict[int, int], start: int = 0, end: int | None = None) -> Iterator[int]:
    """Go through lexemes without those between brackets.

    Args:
        found: the lexemes.
        pairs: their brackets, by `matching`.
        start: where to begin.
        end: where to stop; None for the end.

    Yields:
        The places of lexemes; of a pair of brackets the opening one.
    """
    place, end = start, len(found) if end is None else end
    while place < end:
        yield place
        place = pairs[place] + 1 if found[place] in OPENERS else place + 1


def parts(found: list[str]) -> list[list[str]]:
    """Cut a module into its parts.

    Args:
        found: lexemes of the module.

    Returns:
        Lexemes of each function, declaration, global, type, group of attributes and metadata.
    """
    starts = []
    for place in top_level(found, matching(found)):
        lexeme, behind, before = found[place], found[place + 1 : place + 2], found[place - 1] if place else ""
        if (lexeme in _TOP and before not in ("=", ":")) or (behind == ["="] and lexeme[0] in "@%!$^"):
            starts.append(place)
    starts = [0, *starts] if found and starts[:1] != [0] else starts
    return [found[start:end] for start, end in zip(starts, [*starts[1:], len(found)], strict=True)]


class Function(NamedTuple):
    """Where the parts of a function are.

    Attributes:
        found: its lexemes.
        pairs: its brackets.
        name: place of its name.
        body: place of the bracket that opens its body.
    """

    found: list[str]
    pairs: dict[int, int]
    name: int
    body: int

    @classmethod
    def of(cls, found: list[str]) -> "Function":
        """Find the parts of a function.

        Args:
            found: lexemes from "define" or "declare" on.

        Returns:
            The function; a declaration has its body behind its end.

        Raises:
            TextError: it has no name or parameters, or a definition no body.
        """
        pairs = matching(found)
        at_top = list(top_level(found, pairs))
        name = next(
            (place for place in at_top if found[place][0] == "@" and found[place + 1 : place + 2] == ["("]), None
        )
        if name is None:
            raise TextError(f"a function without name or parameters: {' '.join(found[:8])}")
        body = next((place for place in reversed(at_top) if found[place] == "{" and place > name), len(found))
        if found[0] == "define" and (body == len(found) or pairs[body] != len(found) - 1):
            raise TextError(f"function {found[name]} has no body, or something stands behind it")
        return cls(found, pairs, name, body)

    def parameters(self) -> list[list[str]]:
        """Lexemes of each parameter."""
        start, end = self.name + 2, self.pairs[self.name + 1]
        commas = [place for place in top_level(self.found, self.pairs, start, end) if self.found[place] == ","]
        bounds = [start - 1, *commas, end]
        cut = [self.found[a + 1 : b] for a, b in zip(bounds, bounds[1:], strict=False)]
        return [parameter for parameter in cut if parameter]

    def statements(self) -> Iterator[int]:
        """Places in the body, those between brackets left out."""
        return top_level(self.found, self.pairs, self.body + 1, len(self.found) - 1)

    def hidden(self) -> int | None:
        """Place of a call whose result has a number that is not written, which LLVM reads but does not print."""
        for place in self.statements():
            before = self.found[place - 2 if self.found[place - 1] in TAIL else place - 1]
            if self.found[place] in ("call", "invoke") and before != "=":
                for at in top_level(self.found, self.pairs, place, len(self.found) - 1):
                    if self.found[at] == "void":
                        break
                    if self.found[at] == "asm" or (self.found[at][0] in "@%" and self.found[at + 1] == "("):
                        return place
        return None

    def instructions(self) -> int:
        """How many instructions the body has."""
        count = 0
        for place in self.statements() if self.body < len(self.found) else ():
            lexeme, before = self.found[place], self.found[place - 1]
            if lexeme == "=" and before[0] == "%":
                count += 1
            elif lexeme in WITHOUT_RESULT:
                before = self.found[place - 2] if before in TAIL else before
                count += before != "="
        return count
