"""Drawings in SVG as typed tokens, nothing of them being lost."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from hf_tokext.models.svg.grammar_svg import SVGGrammar
from hf_tokext.models.svg.names import ATTRIBUTES, COMMANDS, ELEMENTS, meaning
from hf_tokext.models.svg.reading import read_xml
from hf_tokext.models.svg.strings import StringPieces
from hf_tokext.models.svg.writing import Writer
from hf_tokext.vocabulary.domain import Domain

LETTERS = re.compile(rb"[A-Za-z0-9_:.\x80-\xff-]+")  # pieces that a name may have
FIRST = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_:.\x80-\xff-]*")
COMMAND = re.compile("([MmLlHhVvCcSsQqTtAaZz])")
STRUCTURE = ("drawing", "/drawing", "element", "attribute", "=", "text", "/")


class SVGDomain(Domain):
    """SVG as tokens of elements, attributes, path commands in upper and lower case, and pieces of strings.

    Everything is kept as it is written, numbers and the blanks between them too, but for comments, processing
    instructions, the document type, entities (their texts are kept) and how attributes are ordered and quoted: the
    canonical form (C14N) of what is written is that of what was read. A value ends where an attribute, an element, text or
    the end of the element begins; "/" closes the innermost element.

    Source: after the semantic tokens of LLM4SVG (Xing et al., arXiv 2412.11102, section 3.1).
    """

    name: ClassVar[str] = "svg"

    def __init__(self) -> None:
        self._pieces = StringPieces()
        commands = [*COMMANDS, *(command.lower() for command in COMMANDS)]
        parts = {
            "structure": list(STRUCTURE),
            "elements": [f"el:{name}" for name in ELEMENTS],
            "attributes": [f"at:{name}" for name in ATTRIBUTES],
            "commands": [f"d:{command}" for command in commands],
            "strings": self._pieces.names(),
        }
        ranges, start = {}, 0
        for kind, names in parts.items():
            ranges[kind] = range(start, start + len(names))
            start += len(names)
        described = {f"el:{name}": meaning(name) for name in ELEMENTS}
        described |= {f"at:{name}": meaning(name) for name in ATTRIBUTES}
        described |= {f"d:{command}": words for command, words in COMMANDS.items()}
        described |= {f"d:{command.lower()}": f"relative {words}" for command, words in COMMANDS.items()}
        described |= {"drawing": "begin drawing", "/drawing": "end drawing", "/": "end element", "text": "text content"}
        names = self._pieces.names()
        described |= {names[at]: piece.decode("latin-1") for at, piece in enumerate(self._pieces.pieces)}
        super().__init__([name for names in parts.values() for name in names], described)
        self._elements, self._attributes, self._strings = ranges["elements"], ranges["attributes"], ranges["strings"]
        self._commands = dict(zip(commands, ranges["commands"], strict=True))
        self._command_of = {index: command for command, index in self._commands.items()}
        self._element, self._attribute, self._named, self._text, self._end = range(2, 7)
        self._element_of = {name: self.index(f"el:{name}") for name in ELEMENTS}
        self._attribute_of = {name: self.index(f"at:{name}") for name in ATTRIBUTES}
        self.grammar = SVGGrammar(
            len(self.tokens), element=self._element, attribute=self._attribute, named=self._named, text=self._text,
            end=self._end, elements=self._elements, attributes=self._attributes, path_data=self._attribute_of["d"],
            commands=ranges["commands"], strings=self._strings,
            letters=[self._strings[at] for at, piece in enumerate(self._pieces.pieces) if LETTERS.fullmatch(piece)],
            first_letters=[self._strings[at] for at, piece in enumerate(self._pieces.pieces) if FIRST.fullmatch(piece)],
        )  # fmt: skip

    @property
    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def parse(self, text: str) -> list[int]:
        """Read a drawing.

        Args:
            text: XML with any root.

        Returns:
            Indices of its tokens.

        Raises:
            TextError: it is no well-formed XML, too long or too deep, or its entities are not harmless.
        """
        found = [0]

        def start(name: str, attributes: dict[str, str]) -> None:
            found.extend(self._spelt(name, self._element_of, self._element))
            for key, value in attributes.items():
                found.extend(self._spelt(key, self._attribute_of, self._attribute))
                found.extend(self._path(value) if key == "d" else self._string(value))

        def characters(run: str) -> None:
            found.append(self._text)
            found.extend(self._string(run))

        read_xml(text, start, lambda: found.append(self._end), characters)
        return [*found, 1]

    def write(self, indices: Sequence[int]) -> str:
        """Write a drawing.

        Args:
            indices: any tokens; what may not stand where it stands is left out, and what is open is closed.

        Returns:
            Well-formed XML, on one line but for the breaks in its text.
        """
        writer, state = Writer(), self.grammar.advance(self.grammar.start(), 0)
        parts: list[tuple[int, list[int]]] = []  # tokens of an element's start, and the strings behind each

        def flush() -> None:
            if parts:
                name, attributes = self._start_of(parts)
                writer.start(name, attributes)
                parts.clear()

        run: list[int] | None = None  # of text
        for index in indices:
            if index == 0 or not (0 <= index < self.grammar.size and self.grammar.allowed(state)[index]):
                continue
            state = self.grammar.advance(state, index)
            if index in self._strings or index in self._command_of or index == self._named:
                (parts[-1][1] if run is None else run).append(index)
                continue
            if run is not None:
                writer.text(self._joined(run))
                run = None
            if index in self._attributes or index == self._attribute:
                parts.append((index, []))
                continue
            flush()
            if index in self._elements or index == self._element:
                parts.append((index, []))
            elif index == self._text:
                run = []
            elif index == self._end:
                writer.end()
        if run is not None:
            writer.text(self._joined(run))
        flush()
        if not writer.begun:
            writer.start("svg", [])
        return writer.finish()

    def _spelt(self, name: str, known: dict[str, int], other: int) -> list[int]:
        """An element or attribute, by its own token or by its name."""
        return [known[name]] if name in known else [other, *self._string(name), self._named]

    def _string(self, text: str) -> list[int]:
        return [self._strings[place] for place in self._pieces.split(text)]

    def _path(self, value: str) -> list[int]:
        """Path data: commands have tokens of their own."""
        found: list[int] = []
        for part in COMMAND.split(value):
            found += [self._commands[part]] if part in self._commands else self._string(part)
        return found

    def _joined(self, indices: list[int]) -> str:
        """Text of pieces and commands."""
        start, commands = self._strings.start, self._command_of
        return self._pieces.join(ord(commands[index]) if index in commands else index - start for index in indices)

    def _start_of(self, parts: list[tuple[int, list[int]]]) -> tuple[str, list[tuple[str, str]]]:
        """Name and attributes of an element."""
        found = []
        for index, string in parts:
            if index in (self._element, self._attribute):
                at = string.index(self._named) if self._named in string else len(string)
                name, rest = self._joined(string[:at]), string[at + 1 :]
            else:
                name, rest = self.tokens[index][3:], string
            found.append((name, self._joined(rest)))
        return found[0][0], found[1:]
