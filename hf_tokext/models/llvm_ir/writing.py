"""From tokens to lexemes of LLVM IR, and from lexemes to lines."""

from collections.abc import Iterable

from hf_tokext.models.llvm_ir.grammar_ir import (
    AFTER_DIGITS,
    DEEPEST,
    DIGITS,
    LABEL,
    OUTSIDE,
    PAGE,
    REST,
    SIGNED,
    IRGrammar,
)
from hf_tokext.models.llvm_ir.names import RecentNames
from hf_tokext.models.llvm_ir.vocabulary_ir import EXPONENTS, FORMS, NUMBERED, POOL, Tokens
from hf_tokext.vocabulary.ir_lexer import CLOSERS, OPENERS
from hf_tokext.vocabulary.ir_parts import MODULE, TAIL, WITHOUT_RESULT

_STATEMENTS = WITHOUT_RESULT | TAIL
_NO_BLANK_BEFORE, _NO_BLANK_BEHIND = frozenset(",)]>*"), frozenset("([<")


def write_lexemes(indices: Iterable[int], tokens: Tokens, grammar: IRGrammar) -> list[str]:
    """Give the lexemes of tokens.

    Args:
        indices: any tokens; those that may not stand where they stand are left out.
        tokens: the tokens.
        grammar: what may stand where.

    Returns:
        Lexemes, all of them whole; their brackets pair.
    """
    found: list[str] = []
    names = {"%": RecentNames(), "@": RecentNames()}
    texts = _texts(tokens)
    forms = {index: FORMS[name] for name, index in tokens.forms.items()}
    refer = {index: (sort, slot) for sort, places in tokens.refer.items() for slot, index in enumerate(places)}
    goes_on = {tokens.more, tokens.point, *tokens.exponents.values()}
    whole = {index: lexeme for index, lexeme in tokens.lexeme.items() if index not in grammar.brackets}
    whole |= {index: f"%{number}" for number, index in enumerate(tokens.locals)}
    open_: list[str] = []
    current, label, page = bytearray(), False, 0

    def flush() -> None:
        nonlocal label
        if current:
            text = current.decode("utf-8", "replace")
            found.append(f"{text[1:]}:" if label else text)
        current.clear()
        label = False

    # What `IRGrammar.allowed` and `advance` say, without a mask and a state for every token.
    inside = OUTSIDE
    for index in indices:
        if inside.between and index in whole:
            if current:
                flush()
            found.append(whole[index])
            inside = OUTSIDE
            continue
        after = None if index < 2 else grammar.moves(inside).get(index)
        if after is None:
            if index in grammar.brackets and inside.between:
                bracket = grammar.brackets[index]
                if len(open_) == DEEPEST if bracket in OPENERS else open_[-1:] != [CLOSERS[bracket]]:
                    continue
                flush()
                found.append(bracket)
                open_.append(bracket) if bracket in OPENERS else open_.pop()
            elif index in refer and (inside.between or (inside.mode == LABEL and refer[index][0] == "%")):
                sort, slot = refer[index]
                if slot >= len(names[sort]):
                    continue
                if inside.between:
                    flush()
                current += names[sort].name(slot).encode()
            else:
                continue
            inside = OUTSIDE
            continue
        if inside.between and index not in goes_on:
            flush()
        if index == tokens.label:
            label = True
        elif index in tokens.pages:
            page = POOL * (index - tokens.pages.start + 1)
        elif inside.mode == PAGE:
            current += b"%%%d" % (page + index - tokens.locals.start)
        elif index in forms:
            current += forms[index].before.encode()
        elif index == tokens.end and inside.form:
            form = forms[inside.form]
            current += form.after.encode()
            if form.names:
                names[form.names].add(current.decode("utf-8", "replace"))
        else:
            current += texts[index]
        inside = after
    if inside.mode == REST:
        current += forms[inside.form].after.encode()
    elif inside.part == SIGNED and inside.mode in (DIGITS, AFTER_DIGITS):
        current += b"0" * inside.digits + b"."
    elif inside.mode == DIGITS:
        current += b"0" * inside.digits
    elif not inside.between:
        current.clear()
    flush()
    return found + [OPENERS[bracket] for bracket in reversed(open_)]


def _texts(tokens: Tokens) -> dict[int, bytes]:
    """What each token adds to the lexeme that it is of."""
    found = {index: lexeme.encode() for index, lexeme in tokens.lexeme.items()}
    found |= {index: NUMBERED[name].encode() for name, index in tokens.numbered.items()}
    found |= {index: EXPONENTS[name].encode() for name, index in tokens.exponents.items()}
    found |= {index: f"%{number}".encode() for number, index in enumerate(tokens.locals)}
    found |= {index: b"%d" % (place % 10) for place, index in enumerate(tokens.digits)}
    found |= {index: tokens.pieces.pieces[place] for place, index in enumerate(tokens.strings)}
    return found | {tokens.minus: b"-", tokens.plus: b"+", tokens.point: b".", tokens.more: b"", tokens.end: b""}


def lay_out(found: list[str]) -> str:
    """Put lexemes into lines; how they are laid out means nothing.

    Args:
        found: lexemes.

    Returns:
        The text, from which the same lexemes are read.
    """
    parts: list[str] = []
    brackets: list[bool] = []  # whether it is the body of a function
    header, last = False, ""
    for place, lexeme in enumerate(found):
        behind = found[place + 1] if place + 1 < len(found) else ""
        if lexeme in "}" and brackets and brackets[-1] and lexeme:
            gap = "\n"
        elif brackets == [True]:
            starts = behind == "=" and lexeme[0] == "%"
            starts = starts or (lexeme in _STATEMENTS and last != "=" and last not in TAIL)
            label = lexeme[-1] == ":" and lexeme != ":"
            gap = "\n" if label else "\n  " if starts else ""
        elif not brackets:
            starts = (lexeme in MODULE and last not in ("=", ":")) or (
                behind == "=" and lexeme[0] in "@%!$^" and last != "="
            )
            gap = "\n" if starts and parts else ""
            header = lexeme == "define" or (header and not starts)
        else:
            gap = ""
        if not gap and parts:
            tight = lexeme in _NO_BLANK_BEFORE or last in _NO_BLANK_BEHIND or (last == "!" and lexeme[0] in '{"')
            call = lexeme == "(" and last[:1] in "@%"
            gap = "" if tight or call else " "
        parts += [gap, lexeme]
        if lexeme in OPENERS:
            brackets.append(lexeme == "{" and header and not brackets and last not in ("(", ","))
        elif lexeme in CLOSERS and brackets and brackets.pop():
            header = False
        last = lexeme
    return "".join(parts) + "\n" if parts else ""
