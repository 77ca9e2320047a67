"""LLVM IR as typed tokens."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.llvm_ir.grammar_ir import DEEPEST, IRGrammar
from hf_tokext.models.llvm_ir.reading import read
from hf_tokext.models.llvm_ir.vocabulary_ir import Tokens
from hf_tokext.models.llvm_ir.writing import lay_out, write_lexemes
from hf_tokext.vocabulary.domain import Domain
from hf_tokext.vocabulary.ir_lexer import LexemeError, lexemes, matching
from hf_tokext.vocabulary.ir_normal import normalised


class LLVMIRDomain(Domain):
    """LLVM IR in its textual form, as tokens of opcodes, types, attributes, keywords, numbered locals and digits by place.

    Names and strings are spelt by pieces; a name that was spelt is referred to by a number from then on (of the last 256).
    Whatever tokens are written: every lexeme is whole, and brackets pair. More is not promised: that types fit and values
    are defined is for the model to learn and for LLVM to check.

    Args:
        mode: "text" keeps every lexeme, and with them all but blanks and comments. "normalised" numbers the locals and
            labels of each function in the order in which they are defined, and leaves out debug information, metadata
            and the name of the source: modules that differ in these alone are alike.

    Attributes:
        mode: as given.

    Raises:
        VocabularyError: there is no such mode.
    """

    name: ClassVar[str] = "llvm_ir"

    def __init__(self, mode: Literal["text", "normalised"] = "text") -> None:
        if mode not in ("text", "normalised"):
            raise VocabularyError(f'mode {mode!r} is neither "text" nor "normalised"')
        self.mode = mode
        self._tokens = Tokens()
        super().__init__(self._tokens.names, self._tokens.descriptions)
        self.grammar: IRGrammar = IRGrammar(self._tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """The mode."""
        return {"mode": self.mode}

    def parse(self, text: str) -> list[int]:
        """Read a module, or a part of one.

        Args:
            text: the IR.

        Returns:
            Indices of its tokens.

        Raises:
            TextError: something is no lexeme, or brackets do not pair; in "normalised" mode also a function whose locals
                cannot be told apart from types, or are used and not defined.
        """
        if not text.isascii() and any(0xD800 <= ord(character) < 0xE000 for character in text):
            raise TextError("the IR has lone surrogates; read the file as UTF-8")
        found = lexemes(text)
        try:
            matching(found, DEEPEST)
            indices = read(found, self._tokens)
        except LexemeError as error:
            raise error.at_line(text) from None
        if self.mode == "normalised":
            indices = read(normalised(found), self._tokens)
        return [0, *indices, 1]

    def write(self, indices: Sequence[int]) -> str:
        """Write a module.

        Args:
            indices: any tokens; what may not stand where it stands is left out, and what is open is closed.

        Returns:
            IR whose lexemes are whole and whose brackets pair.
        """
        return lay_out(write_lexemes(indices, self._tokens, self.grammar))
