"""The tokens of LLVM IR, and where each kind of them lies."""

from typing import NamedTuple

from hf_tokext.models.llvm_ir.pieces import Pieces
from hf_tokext.models.llvm_ir.words import OPCODES, RECORDS, TYPES, lexemes_with_tokens

POOL = 256  # numbered locals with a token each, and names of each sort that can be referred to
PAGES = 63  # a local past the first pool is one of these and its place there
PLACES = 20  # of a number's digits
NAME = rb"[-A-Za-z$._0-9]+"
LETTER = rb"[-A-Za-z$._][-A-Za-z$._0-9]*"


class Form(NamedTuple):
    """Something that is spelt by pieces up to `.end`.

    Attributes:
        before: text before the pieces.
        after: text behind them.
        first: regular expression of the pieces that may begin it.
        rest: of those that may follow.
        empty: whether there may be none.
        names: what it is a name of, "%" or "@": it may be referred to from then on.
    """

    before: str
    after: str
    first: bytes
    rest: bytes
    empty: bool = False
    names: str = ""


_ANY = rb'[^"]+'
_HEX = rb"[0-9A-Fa-f]+"
_META = rb"[-A-Za-z$._\\][-A-Za-z$._\\0-9]*", rb"[-A-Za-z$._\\0-9]+"

FORMS = {
    "%name": Form("%", "", LETTER, NAME, names="%"),
    "%quoted": Form('%"', '"', _ANY, _ANY, True, "%"),
    "@name": Form("@", "", LETTER, NAME, names="@"),
    "@quoted": Form('@"', '"', _ANY, _ANY, True, "@"),
    "$name": Form("$", "", LETTER, NAME),
    "$quoted": Form('$"', '"', _ANY, _ANY, True),
    "!name": Form("!", "", *_META),
    "#name": Form("#", "", rb"[A-Za-z_]+", rb"[A-Za-z_]+"),
    "word": Form("", "", rb"[A-Za-z_][-A-Za-z$._0-9]*", NAME),
    "name:": Form("", ":", NAME, NAME),
    "quoted:": Form('"', '":', _ANY, _ANY, True),
    "string": Form('"', '"', _ANY, _ANY, True),
    "characters": Form('c"', '"', _ANY, _ANY, True),
    **{f"0x{kind}": Form(f"0x{kind}", "", _HEX, _HEX) for kind in ("", "K", "L", "M", "H", "R")},
}
NUMBERED = {"%number": "%", "@number": "@", "$number": "$", "!number": "!", "#number": "#", "^number": "^"}
EXPONENTS = {"exp": "e", "exp+": "e+", "exp-": "e-", "EXP": "E", "EXP+": "E+", "EXP-": "E-"}

_MEANINGS = {
    "ir": "begin module", "/ir": "end module", ".end": "end of name", "label": "begin block", "minus": "minus", "plus": "plus",
    "point": "decimal point", "more": "more digits", "define": "define function", "declare": "declare function",
    "%name": "local name", "@name": "global name", "string": "string", "word": "word", "characters": "characters",
}  # fmt: skip
_SPELT = {"<": ".less", ">": ".greater", "|": ".bar"}


class Tokens:
    """All tokens in the order of their indices.

    Attributes:
        names: their names.
        descriptions: in plain English, of those that have a meaning.
        known: index by the lexeme that the token is.
        lexeme: the lexeme by index.
        label: of the token that makes a label of the local behind it.
        minus: of the one before a negative number.
        plus: of the one before a float that is written with a plus.
        point: of the decimal point.
        more: of the one behind which the digits of a number go on.
        end: of the one behind pieces.
        forms: of what is spelt, by name.
        numbered: of what is followed by a number, by name.
        exponents: by name.
        locals: of `%0` and on.
        pages: of what is before a local that is past these, by how many pools.
        refer: of references to names of each sort.
        digits: digit d at place p is at `10 * p + d`.
        strings: of the pieces.
        pieces: the pieces.
    """

    def __init__(self) -> None:
        self.pieces = Pieces()
        self.names = ["ir", "/ir"]

        def add(names: list[str]) -> range:
            self.names += names
            return range(len(self.names) - len(names), len(self.names))

        found = lexemes_with_tokens()
        self.known = dict(
            zip(found, add([_SPELT.get(lexeme, lexeme.replace(" ", "_")) for lexeme in found]), strict=True)
        )
        self.lexeme = {index: lexeme for lexeme, index in self.known.items()}
        self.label, self.minus, self.plus, self.point, self.more, self.end = add(
            [".label", ".minus", ".plus", ".point", ".more", ".end"]
        )
        self.forms = dict(zip(FORMS, add([f".{name}" for name in FORMS]), strict=True))
        self.numbered = dict(zip(NUMBERED, add([f".{name}" for name in NUMBERED]), strict=True))
        self.exponents = dict(zip(EXPONENTS, add([f".{name}" for name in EXPONENTS]), strict=True))
        self.locals = add([f"%{number}" for number in range(POOL)])
        self.pages = add([f"%+{POOL * page}" for page in range(1, PAGES + 1)])
        self.refer = {sort: add([f"{sort}&{number}" for number in range(POOL)]) for sort in "%@"}
        self.digits = add([f"{digit}e{place}" for place in range(PLACES) for digit in range(10)])
        self.strings = add(self.pieces.names())
        self.descriptions = self._described()

    def _described(self) -> dict[str, str]:
        found = dict(OPCODES) | TYPES | {record: record[5:].replace("_", " ") for record in RECORDS}
        for lexeme, index in self.known.items():
            name = self.names[index]
            plain = lexeme.strip('!":').replace("_", " ").replace(".", " ").strip()
            if name not in found and plain and lexeme[0] not in "<>|":
                found[name] = plain
        found |= {name if name[0] in "i/d" else f".{name.lstrip('.')}": text for name, text in _MEANINGS.items()}
        found |= {f"%{number}": f"local value {number}" for number in range(POOL)}
        found |= {f"%+{POOL * page}": f"local value {POOL * page} and more" for page in range(1, PAGES + 1)}
        found |= {f"{digit}e{place}": f"digit {digit}" for place in range(PLACES) for digit in range(10)}
        return {name: text for name, text in found.items() if name in set(self.names)}
