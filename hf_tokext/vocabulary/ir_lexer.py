"""The lexemes of LLVM IR in its textual form, as LLVM 22's own lexer cuts them."""

import re

from hf_tokext.errors import TextError

NAME = r"[-A-Za-z$._][-A-Za-z$._0-9]*+"
STRING = r'"[^"]*"'

# Ordered by how often they occur; of those that begin alike, the longer ones come first.
# Quantifiers are possessive, and an error takes all that might be looked at again: no input is scanned more than a few times.
_TOKEN = "|".join(
    (
        rf"%(?:{NAME}|[0-9]++|{STRING})",  # local names, types
        r"(?!c\")[A-Za-z_][-A-Za-z$._0-9]*+:?+",  # words and labels
        r"[,=(){}\[\]<>*]",
        r"-?[0-9]++(?![-$.:A-Za-z_])",  # most numbers
        r"[-$.0-9][-A-Za-z$._0-9]*+:",  # labels that begin like numbers
        r"(?:0x[KLMHR]?[0-9A-Fa-f]++|[-+]?[0-9]++\.[0-9]*+(?:[eE][-+]?[0-9]++)?+|-?[0-9]++|\.\.\.)(?![-$.0-9])",
        rf"[@$](?:{NAME}|[0-9]++|{STRING})",  # global names, comdats
        rf"c{STRING}|{STRING}:?+",
        r"![-A-Za-z$._\\][-A-Za-z$._\\0-9]*+|![0-9]++|!",
        r"#[0-9]++|#[A-Za-z_]++|\^[0-9]++",
        r"[:|]",
        r"[-$.0-9][-A-Za-z$._0-9]*+|/\*(?s:.*+)|[^ \t\r\n\0;]",  # anything else is an error, and found as one
    )
)
_BLANK = r"[ \t\r\n\0]"
SCAN = re.compile(rf"{_BLANK}*+(?:(?:;[^\n\r]*+|/\*(?s:.*?)\*/){_BLANK}*+)*+({_TOKEN}|\Z)")


def lexemes(text: str) -> list[str]:
    """Cut IR into lexemes; blanks and comments lie between them.

    Args:
        text: a module, or a part of one.

    Returns:
        The lexemes in order. A label has its colon; what is no lexeme of IR is among them, to be refused by who reads it.
    """
    found: list[str] = SCAN.findall(text)
    while found and not found[-1]:  # the end of the text is found as nothing
        found.pop()
    return found


def line_of(text: str, number: int) -> int:
    """Say in which line a lexeme is.

    Args:
        text: the IR.
        number: of the lexeme, from 0.

    Returns:
        The line, from 1.
    """
    for place, found in enumerate(SCAN.finditer(text)):
        if place == number:
            return text.count("\n", 0, found.start(1)) + 1
    return text.count("\n") + 1


OPENERS = {"(": ")", "[": "]", "{": "}", "<": ">"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}


def matching(found: list[str], deepest: int = 256) -> dict[int, int]:
    """Pair the brackets.

    Args:
        found: lexemes.
        deepest: brackets that may be inside each other.

    Returns:
        The place of the closing bracket, by that of the opening one.

    Raises:
        TextError: they do not pair, or are too deep; `place` of the error is the lexeme's number.
    """
    pairs, stack = {}, []
    for place, lexeme in enumerate(found):
        if lexeme in OPENERS:
            stack.append(place)
            if len(stack) > deepest:
                raise LexemeError(f"more than {deepest} brackets are inside each other", place)
        elif lexeme in CLOSERS:
            if not stack or found[stack[-1]] != CLOSERS[lexeme]:
                raise LexemeError(f"{lexeme!r} closes nothing that is open", place)
            pairs[stack.pop()] = place
    if stack:
        raise LexemeError(f"{found[stack[-1]]!r} is never closed", stack[-1])
    return pairs


class LexemeError(TextError):
    """IR that is wrong at one of its lexemes.

    Args:
        message: what is wrong.
        place: number of the lexeme, from 0.
    """

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place

    def at_line(self, text: str) -> TextError:
        """Say the line.

        Args:
            text: the IR.

        Returns:
            An error for people.
        """
        return TextError(f"line {line_of(text, self.place)} of the IR: {self}")
