"""From tokens to lexemes of LLVM IR, and from lexemes to lines."""

from collections.abc import Iterable

from hf_tokext.models.llvm_ir.grammar_ir import AFTER_DIGITS, BETWEEN, DIGITS, REST, IRGrammar
from hf_tokext.models.llvm_ir.names import RecentNames
from hf_tokext.models.llvm_ir.vocabulary_ir import EXPONENTS, FORMS, NUMBERED, Tokens
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
    current, label, form = bytearray(), False, None

    def flush() -> None:
        nonlocal current, label
        if current:
            text = current.decode("utf-8", "replace")
            found.append(f"{text[1:]}:" if label else text)
        current, label = bytearray(), False

    state = grammar.advance(grammar.start(), 0)
    for index in indices:
        if index < 2 or index >= grammar.size or not grammar.allowed(state)[index]:
            continue
        if state.mode in (BETWEEN, AFTER_DIGITS) and index not in goes_on:
            flush()
        before, state = state, grammar.advance(state, index)
        if index == tokens.label:
            label = True
        elif index in refer:
            sort, slot = refer[index]
            current += names[sort].name(slot).encode()
        elif index in forms:
            form = forms[index]
            current += form.before.encode()
        elif index == tokens.end and before.form and form is not None:
            current += form.after.encode()
            if form.names:
                names[form.names].add(current.decode("utf-8", "replace"))
        else:
            current += texts[index]
    if state.mode == REST and form is not None:
        current += form.after.encode()
    elif state.mode == DIGITS:
        current += b"0" * state.digits
    elif state.mode not in (BETWEEN, AFTER_DIGITS):
        current.clear()
    flush()
    return found + [OPENERS[bracket] for bracket in reversed(state.brackets)]


def _texts(tokens: Tokens) -> dict[int, bytes]:
    """What each token adds to the lexeme that it is of."""
    found = {index: lexeme.encode() for index, lexeme in tokens.lexeme.items()}
    found |= {index: NUMBERED[name].encode() for name, index in tokens.numbered.items()}
    found |= {index: EXPONENTS[name].encode() for name, index in tokens.exponents.items()}
    found |= {index: f"%{number}".encode() for number, index in enumerate(tokens.locals)}
    found |= {index: b"%d" % (place % 10) for place, index in enumerate(tokens.digits)}
    found |= {index: tokens.pieces.pieces[place] for place, index in enumerate(tokens.strings)}
    return found | {tokens.minus: b"-", tokens.point: b".", tokens.more: b"", tokens.end: b""}


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
