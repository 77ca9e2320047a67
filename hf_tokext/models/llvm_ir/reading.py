"""From lexemes of LLVM IR to tokens."""

import re

from hf_tokext.models.llvm_ir.names import RecentNames
from hf_tokext.models.llvm_ir.vocabulary_ir import FORMS, LETTER, PAGES, PLACES, POOL, Tokens
from hf_tokext.vocabulary.ir_lexer import LexemeError

_LETTER = re.compile(LETTER.decode()).fullmatch
_NUMBER = re.compile(r"([-+]?)([0-9]+)(?:(\.)([0-9]*)(?:([eE][-+]?)([0-9]+))?)?").fullmatch
_HEXADECIMAL = re.compile(r"(0x[KLMHR]?)([0-9A-Fa-f]+)").fullmatch


def read(found: list[str], tokens: Tokens) -> list[int]:
    """Give the tokens of lexemes.

    Args:
        found: the lexemes.
        tokens: the tokens.

    Returns:
        Their indices, without those that open and close a module.

    Raises:
        LexemeError: something is no lexeme of IR.
    """
    names = {"%": RecentNames(), "@": RecentNames()}
    always: dict[str, list[int]] = {lexeme: [index] for lexeme, index in tokens.known.items()}
    indices: list[int] = []
    for place, lexeme in enumerate(found):
        same = always.get(lexeme)
        if same is None:
            label = lexeme[-1] == ":" and len(lexeme) > 1
            named = _label(lexeme) if label else lexeme
            sort = named[0] if named else ""
            if sort in names and len(named) > 1 and not named[1:].isdecimal():
                indices += [tokens.label] if label else []
                slot = names[sort].slot(named)
                if slot is not None:
                    indices.append(tokens.refer[sort][slot])
                    continue
                names[sort].add(named)
                indices += _spelt(named[1:], sort + ("quoted" if named[1] == '"' else "name"), tokens)
                continue
            try:
                same = always[lexeme] = (
                    [tokens.label, *_same(named, tokens)] if named and label else _same(lexeme, tokens)
                )
            except KeyError:
                raise LexemeError(f"{lexeme[:40]!r} is no lexeme of LLVM IR", place) from None
        indices += same
    return indices


def _label(lexeme: str) -> str:
    """The local that a label names; nothing where it is of a form that locals have not."""
    name = lexeme[:-1]
    return f"%{name}" if name[0] == '"' or _LETTER(name) or name.isdecimal() else ""


def _same(lexeme: str, tokens: Tokens) -> list[int]:
    """Tokens of a lexeme that has the same wherever it stands."""
    first, rest = lexeme[0], lexeme[1:]
    if first == "%" and len(rest) < 6 and rest.isdecimal() and str(int(rest)) == rest:
        page, place = divmod(int(rest), POOL)
        if page <= PAGES:
            return [*([tokens.pages[page - 1]] if page else []), tokens.locals[place]]
    if f"{first}number" in tokens.numbered and rest.isdecimal():
        return [tokens.numbered[f"{first}number"], *_digits(rest, tokens)]
    if number := _NUMBER(lexeme):
        return _number(number.groups(), tokens)
    if number := _HEXADECIMAL(lexeme):
        return _spelt(number[2], number[1], tokens)
    if lexeme[-1] == ":" and len(lexeme) > 1:
        return _spelt(lexeme[:-1], "name:", tokens)
    if lexeme[-1] == '"' and len(lexeme) > 1:
        form = {'"': "string", "c": "characters", "$": "$quoted"}[first]
        return _spelt(lexeme if first == '"' else rest, form, tokens)
    if first in "$!#" and rest:
        return _spelt(rest, f"{first}name", tokens)
    if first.isascii() and (first.isalpha() or first == "_"):
        return _spelt(lexeme, "word", tokens)
    raise KeyError(lexeme)


def _spelt(text: str, form: str, tokens: Tokens) -> list[int]:
    quoted = text[0] == '"'
    pieces = tokens.pieces.split(text[1:-1] if quoted else text)
    if not quoted and pieces and FORMS[form].first != FORMS[form].rest and pieces[0] >= 256:
        first = text[:1].encode()  # where a piece would begin what it may not begin
        pieces = pieces if first.isalpha() or first in b"._" else [*first, *tokens.pieces.split(text[1:])]
    return [tokens.forms[form], *(tokens.strings[piece] for piece in pieces), tokens.end]


def _digits(text: str, tokens: Tokens) -> list[int]:
    """Digits from the first place, in groups that end at the last one."""
    found: list[int] = []
    groups = [text[max(0, end - PLACES) : end] for end in range(len(text), 0, -PLACES)][::-1]
    for group in groups:
        found += [tokens.more] if found else []
        found += [
            tokens.digits[10 * place + int(digit)]
            for place, digit in zip(range(len(group) - 1, -1, -1), group, strict=True)
        ]
    return found


def _number(parts: tuple[str | None, ...], tokens: Tokens) -> list[int]:
    """A decimal number, by the groups of its pattern."""
    sign, whole, point, fraction, exponent, power = parts
    found = [tokens.minus if sign == "-" else tokens.plus] if sign else []
    found += _digits(whole or "", tokens)
    if point:
        found += [tokens.point, *(_digits(fraction, tokens) if fraction else [tokens.end])]
    if exponent and power:
        name = ("exp" if exponent[0] == "e" else "EXP") + exponent[1:]
        found += [tokens.exponents[name], *_digits(power, tokens)]
    return found
