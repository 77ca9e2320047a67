"""Sorts of characters that the pre-tokenizer does not tell apart, one representative each."""

from collections.abc import Iterable
from itertools import product

from hf_tokext.vocabulary.viability.cuts import Cutter, characters_of_every_sort

NEIGHBOURS = ("", "a", "A", "1", " ", "\n", "'", "!", "\u0301", "\u4e00")
SOME = 1 << 16  # code points, of which one of each category is tried in all settings
Setting = tuple[str, str]


class Letters:
    """Numbers the sorts of characters, from 0.

    A character is set between others; where the cuts of two characters are the same in all settings, they are of one
    sort. Settings come from ordinary neighbours and from the strings that the rules name; of these only some, which tell
    the sorts of some thousand characters apart, are asked for all others.

    Args:
        cutter: the pre-tokenizer.

    Attributes:
        samples: a character of each sort.
        named: characters that the rules name, which may differ from those near them.
    """

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        self._settings: list[Setting] = []
        self.samples: list[str] = []
        self.named = cutter.named()
        self._numbers: dict[tuple, int] = {}
        self._of: dict[str, int] = {}
        if cutter.trivial:
            self.of(" ")
        else:
            self._choose()

    def _choose(self) -> None:
        literals = self._cutter.literals()
        settings = list(product(NEIGHBOURS, NEIGHBOURS))
        pairs = ["".join(pair) for pair in product(NEIGHBOURS[1:], repeat=2)]
        runs = [each * size for each in NEIGHBOURS[1:] for size in (3, 4)]
        settings += [setting for text in (*pairs, *runs) for setting in ((text, ""), ("", text))]
        for text, before, after in product(literals, ("", "a"), NEIGHBOURS):
            settings += [(before + text[:place], text[place + 1 :] + after) for place in range(len(text))]
        rows: dict[tuple, str] = {}
        tried = {*map(chr, range(0x80)), *characters_of_every_sort(SOME), *NEIGHBOURS[1:]} | self.named
        for character in sorted(tried):
            rows.setdefault(self._row(character, settings), character)
        parts = [list(rows)]
        while len(parts) < len(rows):
            place = max(range(len(settings)), key=lambda at: sum(len({row[at] for row in part}) for part in parts))
            self._settings.append(settings[place])
            split = [
                [row for row in part if row[place] == value] for part in parts for value in {r[place] for r in part}
            ]
            parts = split
        for character in (*rows.values(), *tried):
            self.of(character)

    def _row(self, character: str, settings: Iterable[Setting]) -> tuple:
        return tuple(self._cutter.cuts(before + character + after) for before, after in settings)

    def of(self, character: str) -> int:
        """Number of the sort of a character; a sort met for the first time is added to the samples.

        Args:
            character: one character.

        Returns:
            The number.
        """
        found = self._of.get(character)
        if found is None:
            found = self._numbers.setdefault(self._row(character, self._settings), len(self._numbers))
            if found == len(self.samples):
                self.samples.append(character)
            self._of[character] = found
        return found

    @property
    def known(self) -> list[str]:
        """Characters whose sort was asked for."""
        return list(self._of)
