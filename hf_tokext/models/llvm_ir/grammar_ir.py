"""Which tokens of LLVM IR may follow which."""

from functools import cache
from typing import NamedTuple

import numpy as np

from hf_tokext.models.llvm_ir.vocabulary_ir import EXPONENTS, FORMS, NUMBERED, PLACES, POOL, Tokens
from hf_tokext.vocabulary.grammar import Grammar
from hf_tokext.vocabulary.ir_lexer import CLOSERS, OPENERS

DEEPEST = 256  # brackets inside each other

# Where a module stands: before it; between lexemes; behind "label"; before the digits of a number (of the part of it that
# `part` names); among them; behind them; at the beginning of what is spelt; in it; behind it all.
START, BETWEEN, LABEL, NUMBER, DIGITS, AFTER_DIGITS, FIRST, REST, END = range(9)
PLAIN, INTEGER, POINT, FRACTION, EXPONENT = range(5)  # parts of numbers


class Place(NamedTuple):
    """What matters of the tokens so far.

    Attributes:
        mode: where the module stands.
        brackets: those that are open.
        locals: names after "%" that can be referred to.
        globals: names after "@" that can be.
        part: of the number.
        digits: places of the number that are to come.
        form: what is spelt, by its token.
    """

    mode: int
    brackets: str = ""
    locals: int = 0
    globals: int = 0
    part: int = 0
    digits: int = 0
    form: int = 0


class IRGrammar(Grammar[Place]):
    """Lexemes, each of them whole, in brackets that pair.

    Args:
        tokens: the tokens.
    """

    longest_step = PLACES + 4

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(len(tokens.names))
        self._tokens = tokens
        self._brackets = {tokens.known[bracket]: bracket for bracket in (*OPENERS, *CLOSERS)}
        self._forms = {index: FORMS[name] for name, index in tokens.forms.items()}
        self._masks = cache(self._mask)
        locals_ = [tokens.numbered["%number"], tokens.forms["%name"], tokens.forms["%quoted"]]
        self._locals = [*tokens.locals, *locals_]
        free = np.zeros(self.size, dtype=bool)
        free[[1, tokens.label, tokens.minus, *tokens.known.values(), *tokens.locals, *tokens.digits]] = True
        free[[*self._forms, *tokens.numbered.values()]] = True
        free[list(self._brackets)] = False
        self._free = free
        self._begin = {index: self._fitting(form.first) for index, form in self._forms.items()}
        self._go_on = {index: self._fitting(form.rest) for index, form in self._forms.items()}

    def _fitting(self, pattern: bytes) -> np.ndarray:
        return np.array([self._tokens.strings[place] for place in self._tokens.pieces.matching(pattern)])

    def start(self) -> Place:
        """State before the opening token."""
        return Place(START)

    def complete(self, state: Place) -> bool:
        """Whether the closing token was read.

        Args:
            state: what was read.

        Returns:
            Whether it was.
        """
        return state.mode == END

    def distance(self, state: Place) -> int:
        """Fewest tokens to the closing one.

        Args:
            state: what was read.

        Returns:
            Their number.
        """
        if state.mode in (START, END):
            return 2 if state.mode == START else 0
        first = 1 if state.form and self._forms[state.form].empty else 2
        here = {LABEL: 1, NUMBER: 1, DIGITS: state.digits, FIRST: first, REST: 1}.get(state.mode, 0)
        return here + len(state.brackets) + 1

    def allowed(self, state: Place) -> np.ndarray:
        """Tokens that may follow.

        Args:
            state: what was read.

        Returns:
            [size] bool.
        """
        kept = state.brackets[-1:] if len(state.brackets) < DEEPEST else "!" + state.brackets[-1]
        return self._masks(state._replace(brackets=kept))

    def _mask(self, state: Place) -> np.ndarray:
        tokens, mode = self._tokens, state.mode
        found = np.zeros(self.size, dtype=bool)
        if mode == START:
            found[0] = True
        elif mode in (BETWEEN, AFTER_DIGITS):
            found |= self._free
            found[1] = not state.brackets
            for index, bracket in self._brackets.items():
                found[index] = (
                    state.brackets[0:1] != "!" if bracket in OPENERS else state.brackets[-1:] == CLOSERS[bracket]
                )
            self._refer(found, state)
            if mode == AFTER_DIGITS:
                found[tokens.more] = True
                found[tokens.point] = state.part == INTEGER
                found[list(tokens.exponents.values())] = state.part == FRACTION
        elif mode == LABEL:
            found[self._locals] = True
            self._refer(found, state, "%")
        elif mode == NUMBER:
            found[tokens.digits] = True
            found[tokens.end] = state.part == POINT
        elif mode == DIGITS:
            found[tokens.digits[10 * (state.digits - 1) : 10 * state.digits]] = True
        elif mode in (FIRST, REST):
            found[(self._begin if mode == FIRST else self._go_on)[state.form]] = True
            found[tokens.end] = mode == REST or self._forms[state.form].empty
        found.setflags(write=False)
        return found

    def _refer(self, found: np.ndarray, state: Place, sorts: str = "%@") -> None:
        for sort in sorts:
            found[self._tokens.refer[sort][: state.locals if sort == "%" else state.globals]] = True

    def _advance(self, state: Place, index: int) -> Place:
        tokens = self._tokens
        between = state._replace(mode=BETWEEN, part=0, digits=0, form=0)
        if index == 0 or index == 1:
            return Place(BETWEEN if index == 0 else END)
        if index in self._brackets:
            bracket, open_ = self._brackets[index], state.brackets
            return between._replace(brackets=open_ + bracket if bracket in OPENERS else open_[:-1])
        if index in tokens.strings:
            return state._replace(mode=REST)
        if index in tokens.digits:
            part = state.part if state.mode in (NUMBER, DIGITS) else INTEGER
            part = FRACTION if part == POINT else part
            to_come = (index - tokens.digits.start) // 10
            return between._replace(mode=DIGITS if to_come else AFTER_DIGITS, part=part, digits=to_come)
        if index in self._forms:
            return between._replace(mode=FIRST, form=index)
        if index == tokens.end and state.mode == NUMBER:
            return between._replace(mode=AFTER_DIGITS, part=FRACTION)
        if index == tokens.end:
            sort = self._forms[state.form].names
            if sort == "%":
                return between._replace(locals=min(state.locals + 1, POOL))
            return between._replace(globals=min(state.globals + 1, POOL)) if sort else between
        if index == tokens.more:
            return between._replace(mode=NUMBER, part=state.part)
        number = {tokens.minus: INTEGER, tokens.point: POINT}
        number |= {tokens.exponents[name]: EXPONENT for name in EXPONENTS}
        number |= {tokens.numbered[name]: PLAIN for name in NUMBERED}
        if index in number:
            return between._replace(mode=NUMBER, part=number[index])
        return between._replace(mode=LABEL) if index == tokens.label else between
