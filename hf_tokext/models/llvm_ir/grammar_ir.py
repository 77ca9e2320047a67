"""Which tokens of LLVM IR may follow which."""

from functools import cache
from typing import NamedTuple

import numpy as np

from hf_tokext.models.llvm_ir.vocabulary_ir import EXPONENTS, FORMS, NUMBERED, PLACES, POOL, Tokens
from hf_tokext.vocabulary.grammar import Grammar
from hf_tokext.vocabulary.ir_lexer import CLOSERS, OPENERS

DEEPEST = 256  # brackets inside each other

# Where a module stands: before it; between lexemes; behind "label"; before the digits of a number (of the part of it that
# `part` names); among them; behind them; at the beginning of what is spelt; in it; behind it all; behind the page of a local.
START, BETWEEN, LABEL, NUMBER, DIGITS, AFTER_DIGITS, FIRST, REST, END, PAGE = range(10)
PLAIN, INTEGER, POINT, FRACTION, EXPONENT, SIGNED = range(6)  # parts of numbers; a plus stands before floats alone


class Inside(NamedTuple):
    """Where a lexeme stands; there are some two hundred of these.

    Attributes:
        mode: where the module stands.
        part: of the number.
        digits: places of the number that are to come.
        form: what is spelt, by its token.
        between: whether another lexeme may begin.
    """

    mode: int
    part: int = 0
    digits: int = 0
    form: int = 0
    between: bool = False


OUTSIDE = Inside(BETWEEN, between=True)  # of any lexeme


class Place(NamedTuple):
    """What matters of the tokens so far.

    Attributes:
        inside: where the lexeme stands.
        brackets: those that are open.
        locals: names after "%" that can be referred to.
        globals: names after "@" that can be.
    """

    inside: Inside
    brackets: str = ""
    locals: int = 0
    globals: int = 0


class IRGrammar(Grammar[Place]):
    """Lexemes, each of them whole, in brackets that pair.

    Args:
        tokens: the tokens.

    Attributes:
        brackets: the bracket that a token is, by index.
        moves: of a place inside a lexeme, the places that tokens lead to, by index; but for brackets and references.
    """

    longest_step = PLACES + 5

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(len(tokens.names))
        self._tokens = tokens
        self.brackets = {tokens.known[bracket]: bracket for bracket in (*OPENERS, *CLOSERS)}
        self._forms = {index: FORMS[name] for name, index in tokens.forms.items()}
        locals_ = [tokens.numbered["%number"], tokens.forms["%name"], tokens.forms["%quoted"]]
        self._locals = [*tokens.locals, *tokens.pages, *locals_]
        free = np.zeros(self.size, dtype=bool)
        free[[tokens.label, tokens.minus, tokens.plus, *tokens.known.values()]] = True
        free[[*tokens.locals, *tokens.pages, *tokens.digits]] = True
        free[[*self._forms, *tokens.numbered.values()]] = True
        free[list(self.brackets)] = False
        self._free = free
        self._begin = {index: self._fitting(form.first) for index, form in self._forms.items()}
        self._go_on = {index: self._fitting(form.rest) for index, form in self._forms.items()}
        number = {tokens.minus: INTEGER, tokens.plus: SIGNED, tokens.point: POINT}
        number |= {tokens.exponents[name]: EXPONENT for name in EXPONENTS}
        self._part = number | {tokens.numbered[name]: PLAIN for name in NUMBERED}
        # Of each place inside a lexeme: the tokens that may follow whatever was read before, the places they lead to, and
        # how many tokens are needed then.
        self._mask = cache(self._make_mask)
        self.moves = cache(self._make_moves)
        self._needs = cache(self._make_needs)

    def _fitting(self, pattern: bytes) -> np.ndarray:
        return np.array([self._tokens.strings[place] for place in self._tokens.pieces.matching(pattern)])

    def start(self) -> Place:
        """State before the opening token."""
        return Place(Inside(START))

    def complete(self, state: Place) -> bool:
        """Whether the closing token was read.

        Args:
            state: what was read.

        Returns:
            Whether it was.
        """
        return state.inside.mode == END

    def distance(self, state: Place) -> int:
        """Fewest tokens to the closing one.

        Args:
            state: what was read.

        Returns:
            Their number.
        """
        return self._rest(state.inside) + len(state.brackets)

    def _rest(self, inside: Inside) -> int:
        """Fewest tokens to the closing one where no brackets are open."""
        if inside.mode in (START, END):
            return 2 if inside.mode == START else 0
        first = 1 if inside.form and self._forms[inside.form].empty else 2
        here = {LABEL: 1, PAGE: 1, NUMBER: 1, DIGITS: inside.digits, FIRST: first, REST: 1}.get(inside.mode, 0)
        return here + (2 if inside.part == SIGNED else 0) + 1

    def allowed(self, state: Place) -> np.ndarray:
        """Tokens that may follow.

        Args:
            state: what was read.

        Returns:
            [size] bool.
        """
        mask = self._mask(state.inside)
        if state.inside.mode != LABEL and not state.inside.between:
            return mask
        found, tokens = mask.copy(), self._tokens
        found[tokens.refer["%"][: state.locals]] = True
        if state.inside.between:
            found[tokens.refer["@"][: state.globals]] = True
            found[1] = not state.brackets
            for index, bracket in self.brackets.items():
                opens = bracket in OPENERS
                found[index] = len(state.brackets) < DEEPEST if opens else state.brackets[-1:] == CLOSERS[bracket]
        found.setflags(write=False)
        return found

    def _count_needs(self, state: Place) -> np.ndarray:
        return self._needs(state.inside) + len(state.brackets)

    def _make_needs(self, inside: Inside) -> np.ndarray:
        """Tokens needed if this one is next, itself included and open brackets not, [size]."""
        needs = np.zeros(self.size, dtype=np.int64)
        for index in range(self.size):
            step = self._next(inside, index)
            change = {True: 1, False: -1}[self.brackets[index] in OPENERS] if index in self.brackets else 0
            needs[index] = 1 + self._rest(step) + change
        return needs

    def _make_mask(self, inside: Inside) -> np.ndarray:
        tokens, mode = self._tokens, inside.mode
        found = np.zeros(self.size, dtype=bool)
        if mode == START:
            found[0] = True
        elif mode in (BETWEEN, AFTER_DIGITS):
            found |= self._free & inside.between
            if mode == AFTER_DIGITS:
                found[tokens.more] = True
                found[tokens.point] = inside.part in (INTEGER, SIGNED)
                found[list(tokens.exponents.values())] = inside.part == FRACTION
        elif mode == LABEL:
            found[self._locals] = True
        elif mode == PAGE:
            found[tokens.locals] = True
        elif mode == NUMBER:
            found[tokens.digits] = True
            found[tokens.end] = inside.part == POINT
        elif mode == DIGITS:
            found[tokens.digits[10 * (inside.digits - 1) : 10 * inside.digits]] = True
        elif mode in (FIRST, REST):
            found[(self._begin if mode == FIRST else self._go_on)[inside.form]] = True
            found[tokens.end] = mode == REST or self._forms[inside.form].empty
        found.setflags(write=False)
        return found

    def _make_moves(self, inside: Inside) -> dict[int, Inside]:
        return {int(index): self._next(inside, int(index)) for index in self._mask(inside).nonzero()[0]}

    def _advance(self, state: Place, index: int) -> Place:
        inside, (before, open_, local, global_) = self._next(state.inside, index), state
        if index in self.brackets:
            bracket = self.brackets[index]
            open_ = open_ + bracket if bracket in OPENERS else open_[:-1]
        elif index == self._tokens.end and before.form:
            names = self._forms[before.form].names
            local = min(local + (names == "%"), POOL)
            global_ = min(global_ + (names == "@"), POOL)
        elif index < 2:
            return Place(inside)
        return Place(inside, open_, local, global_)

    def _next(self, inside: Inside, index: int) -> Inside:
        tokens = self._tokens
        if index == 1:
            return Inside(END)
        if index in tokens.strings:
            return Inside(REST, form=inside.form)
        if index in tokens.digits:
            part = inside.part if inside.mode in (NUMBER, DIGITS) else INTEGER
            part = FRACTION if part == POINT else part
            to_come = (index - tokens.digits.start) // 10
            return Inside(DIGITS, part, to_come) if to_come else Inside(AFTER_DIGITS, part, between=part != SIGNED)
        if index in self._forms:
            return Inside(FIRST, form=index)
        if index == tokens.end and inside.mode == NUMBER:
            return Inside(AFTER_DIGITS, FRACTION, between=True)
        if index == tokens.more:
            return Inside(NUMBER, inside.part)
        if index in tokens.pages:
            return Inside(PAGE)
        if index in self._part:
            return Inside(NUMBER, self._part[index])
        return Inside(LABEL) if index == tokens.label else OUTSIDE
