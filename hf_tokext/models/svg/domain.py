"""Drawings in SVG as typed tokens, nothing of them being lost."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from hf_tokext.errors import VocabularyError
from hf_tokext.models.svg.cleaning import SVG, Event, cleaned
from hf_tokext.models.svg.grammar_quantised import QuantisedGrammar
from hf_tokext.models.svg.grammar_svg import SVGGrammar
from hf_tokext.models.svg.grid import GEOMETRY, GridTokens
from hf_tokext.models.svg.names import ATTRIBUTES, COMMANDS, ELEMENTS, meaning
from hf_tokext.models.svg.reading import read_xml
from hf_tokext.models.svg.strings import StringPieces
from hf_tokext.models.svg.view import step_inside
from hf_tokext.models.svg.writing import Writer
from hf_tokext.vocabulary.domain import Domain

LETTERS = re.compile(rb"[A-Za-z0-9_:.\x80-\xff-]+")  # pieces that a name may have
FIRST = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_:.\x80-\xff-]*")
COMMAND = re.compile("([MmLlHhVvCcSsQqTtAaZz])")
STRUCTURE = ("drawing", "/drawing", "element", "attribute", "=", "text", "/")


class SVGDomain(Domain):
    """SVG as tokens of elements, attributes, path commands in upper and lower case, and pieces of strings.

    Lossless: everything is kept as it is written, numbers and the blanks between them too, but for comments, processing
    instructions, the document type, entities (their texts are kept) and how attributes are ordered and quoted: the
    canonical form (C14N) of what is written is that of what was read. A value ends where an attribute, an element, text or
    the end of the element begins; "/" closes the innermost element.

    Quantised, and lossy: metadata, what editors note, scripts and blanks between elements go, styles become attributes
    (needs tinycss2), and path data, points, positions and sizes of shapes lie on a grid, one token a coordinate, at most half
    a step of the view box away from where they were. Inside a transform that enlarges, the grid is finer.

    Args:
        mode: "lossless" or "quantised".
        grid: steps over the longer side of a view box, where quantised.

    Raises:
        VocabularyError: there is no such mode, or the grid has less than 2 or more than 8,192 steps.

    Source: after the semantic tokens of LLM4SVG (Xing et al., arXiv 2412.11102, section 3.1).
    """

    name: ClassVar[str] = "svg"

    def __init__(self, mode: str = "lossless", grid: int = 512) -> None:
        if mode not in ("lossless", "quantised") or not 2 <= grid <= 8192:
            raise VocabularyError(
                f"mode {mode!r} is not lossless or quantised, or a grid of {grid} not of 2 to 8,192 steps"
            )
        self._mode, self._grid = mode, grid
        commands = [*COMMANDS, *(command.lower() for command in COMMANDS)]
        self._pieces = StringPieces(len(STRUCTURE) + len(ELEMENTS) + len(ATTRIBUTES) + len(commands))
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
        all_commands = dict(zip(commands, ranges["commands"], strict=True))
        self._on_grid = GridTokens(grid, start, all_commands) if mode == "quantised" else None
        on_grid = self._on_grid.descriptions if self._on_grid else {}
        super().__init__([name for names in (*parts.values(), on_grid) for name in names], described | on_grid)
        self._elements, self._attributes, self._strings = ranges["elements"], ranges["attributes"], ranges["strings"]
        self._commands = all_commands
        self._command_of = {index: command for command, index in self._commands.items()}
        self._spelling = dict(zip(self._strings, self._pieces.pieces, strict=True))
        self._spelling |= {index: command.encode() for index, command in self._command_of.items()}
        self._element, self._attribute, self._named, self._text, self._end = range(2, 7)
        self._element_of = {name: self.index(f"el:{name}") for name in ELEMENTS}
        self._attribute_of = {name: self.index(f"at:{name}") for name in ATTRIBUTES}
        self.grammar: SVGGrammar = self._grammar_of(ranges["commands"])

    def _grammar_of(self, commands: range) -> SVGGrammar:
        pieces, on_grid = self._pieces.pieces, self._on_grid
        kinds: dict[str, Any] = {
            "element": self._element, "attribute": self._attribute, "named": self._named, "text": self._text,
            "end": self._end, "elements": self._elements, "attributes": self._attributes,
            "path_data": self._attribute_of["d"], "commands": commands, "strings": self._strings,
            "letters": [self._strings[at] for at, piece in enumerate(pieces) if LETTERS.fullmatch(piece)],
            "first_letters": [self._strings[at] for at, piece in enumerate(pieces) if FIRST.fullmatch(piece)],
        }  # fmt: skip
        if on_grid is None:
            return SVGGrammar(len(self.tokens), **kinds)
        return QuantisedGrammar(
            len(self.tokens), far=on_grid.far, steps=on_grid.steps, turns=on_grid.turns, arcs=on_grid.arcs,
            letters_of=self._command_of, geometry={self._attribute_of[key]: at for key, at in GEOMETRY.items()}, **kinds,
        )  # fmt: skip

    @property
    def settings(self) -> dict[str, Any]:
        """Mode, and grid where there is one."""
        return {"mode": self._mode} | ({"grid": self._grid} if self._on_grid else {})

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
        steps: list[float] = []  # of the grid in each open element

        def start(name: str, attributes: dict[str, str]) -> None:
            found.extend(self._spelt(name, self._element_of, self._element))
            if self._on_grid:
                steps.append(step_inside(attributes, steps[-1] if steps else None, self._grid))
            for key, value in attributes.items():
                on_grid = self._on_grid.read(name, key, value, steps[-1]) if self._on_grid else None
                found.extend(self._spelt(key, self._attribute_of, self._attribute))
                if on_grid is not None:
                    found.extend(on_grid)
                else:
                    found.extend(self._path(value) if key == "d" else self._pieces.split(value))

        def end() -> None:
            found.append(self._end)
            if steps:
                steps.pop()

        def characters(run: str) -> None:
            found.append(self._text)
            found.extend(self._pieces.split(run))

        if self._on_grid is None:
            read_xml(text, start, end, characters)
            return [*found, 1]
        events: list[Event] = []
        read_xml(
            text,
            lambda name, attributes: events.append(Event(name, attributes)),
            lambda: events.append(Event()),
            lambda run: events.append(Event(text=run)),
        )
        for event in cleaned(events):
            if event.text is not None:
                characters(event.text)
            elif event.name:
                start(event.name, event.attributes)
            else:
                end()
        return [*found, 1]

    def write(self, indices: Sequence[int]) -> str:
        """Write a drawing.

        Args:
            indices: any tokens; what may not stand where it stands is left out, and what is open is closed.

        Returns:
            Well-formed XML, on one line but for the breaks in its text.
        """
        writer, state, follow = Writer(), self.grammar.advance(self.grammar.start(), 0), self.grammar.follow
        steps: list[float | None] = [None]
        parts: list[tuple[int, list[int]]] = []  # tokens of an element's start, and the strings behind each

        def flush() -> None:
            if parts:
                writer.start(*self._start_of(parts, steps))
                parts.clear()

        run: list[int] | None = None  # of text
        size, first = self.grammar.size, self._attributes.stop  # of path commands, strings and what lies on the grid
        for index in indices:
            after = follow(state, index) if 0 < index < size else None
            if after is None:
                continue
            state = after
            if index >= first or index == self._named:
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
                steps.pop()
        if run is not None:
            writer.text(self._joined(run))
        flush()
        if not writer.begun:
            writer.start("svg", [("xmlns", SVG)] if self._on_grid else [])
        return writer.finish()

    def _spelt(self, name: str, known: dict[str, int], other: int) -> list[int]:
        """An element or attribute, by its own token or by its name."""
        return [known[name]] if name in known else [other, *self._pieces.split(name), self._named]

    def _path(self, value: str) -> list[int]:
        """Path data: commands have tokens of their own."""
        found: list[int] = []
        for part in COMMAND.split(value):
            found += [self._commands[part]] if part in self._commands else self._pieces.split(part)
        return found

    def _joined(self, indices: list[int]) -> str:
        """Text of pieces and commands."""
        return self._pieces.join(map(self._spelling.__getitem__, indices))

    def _start_of(
        self, parts: list[tuple[int, list[int]]], steps: list[float | None]
    ) -> tuple[str, list[tuple[str, str]]]:
        """Name and attributes of an element; the step inside it is put on top of the others."""
        found: list[tuple[str, list[int]]] = []
        for index, string in parts:
            if index in (self._element, self._attribute):
                at = string.index(self._named) if self._named in string else len(string)
                found.append((self._joined(string[:at]), string[at + 1 :]))
            else:
                found.append((self.tokens[index][3:], string))
        name, attributes = found[0][0], found[1:]
        if self._on_grid is None:
            steps.append(None)
            return name, [(key, self._joined(value)) for key, value in attributes]
        stop, commands = self._strings.stop, self._command_of
        # the grammar lets no value begin on the grid and go on with pieces of strings
        on_grid = [bool(value) and (value[0] >= stop or value[0] in commands) for _, value in attributes]
        texts = ["" if there else self._joined(value) for (_, value), there in zip(attributes, on_grid, strict=True)]
        named = [(key, text) for (key, _), text in zip(attributes, texts, strict=True)]
        step = step_inside(dict(reversed(named)), steps[-1], self._grid)  # the first of a name counts
        written = [("xmlns", SVG)] if len(steps) == 1 else []
        steps.append(step)
        for (key, value), text, there in zip(attributes, texts, on_grid, strict=True):
            written.append((key, self._on_grid.write(value, step) if there else text))
        return name, written
