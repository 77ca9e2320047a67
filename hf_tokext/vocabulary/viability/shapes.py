"""Tokens taken apart into characters: the end of one begun before, whole ones, and the beginning of one."""

from collections.abc import Callable, Sequence

import numpy as np

from hf_tokext.vocabulary.viability.utf8_beginnings import characters


def continues(byte: int) -> bool:
    """Whether a byte of UTF-8 goes on with a character."""
    return byte & 0xC0 == 0x80


class Shapes:
    """What every token does to the characters of a text.

    Args:
        pieces: [V] bytes of each token, None for those that are no part of a text.

    Attributes:
        heads: [V] bytes at the front that go on with a character begun before; most are empty.
        texts: [V] the whole characters after them.
        tails: [V] the beginning of a character at the end.
        valid: [V] bool, whether any text holds the token's bytes.
        whole: [V] bool, whether it is valid and has whole characters only.
        tailed: [V] bool, whether it has a tail.
        bare_heads: [V] bool, whether it is a head and no more.
        ending: ids of valid tokens with a tail and no head.
    """

    def __init__(self, pieces: Sequence[bytes | None]) -> None:
        parts = [_apart(piece) if piece else None for piece in pieces]
        self.heads = [part[0] if part else b"" for part in parts]
        self.texts = [part[1] if part else "" for part in parts]
        self.tails = [part[2] if part else b"" for part in parts]
        self.valid = np.array([part is not None for part in parts], dtype=bool)
        headed = np.array([bool(head) for head in self.heads], dtype=bool)
        self.tailed = np.array([bool(tail) for tail in self.tails], dtype=bool)
        self.whole = self.valid & ~headed & ~self.tailed
        self.ending = np.flatnonzero(self.tailed & ~headed)
        self.bare_heads = self.valid & headed & ~self.tailed & np.array([not text for text in self.texts], dtype=bool)
        self._lengths = np.array([len(text) for text in self.texts], dtype=np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        plain = np.flatnonzero(self.valid & ~headed & (self._lengths > 0))
        self._plain = plain[np.argsort(-self._lengths[plain], kind="stable")]  # the longest first
        self._groups: dict[bytes, list[int]] = {}
        for index in np.flatnonzero(headed).tolist():
            self._groups.setdefault(self.heads[index], []).append(index)

    def number(self, letter: Callable[[str], int]) -> None:
        """Number the characters of all tokens.

        Args:
            letter: gives a character's number.
        """
        points = np.frombuffer("".join(self.texts).encode("utf-32-le"), dtype="<u4")
        values, places = np.unique(points, return_inverse=True)
        self._letters = np.array([letter(chr(value)) for value in values.tolist()], dtype=np.int16)[places]

    def walk(self, steps: np.ndarray, state: int, cut: int) -> np.ndarray:
        """Read the whole characters of every token without a head.

        Args:
            steps: [states, 2, letters] int16, an automaton over characters and cuts before them.
            state: the state before the token.
            cut: 1 if there is a cut before it, else 0.

        Returns:
            [V] int16, the state after it; 0 for tokens with a head, and the state before where there is no character.
        """
        found = np.zeros(len(self.texts), dtype=np.int16)
        found[self.ending] = state
        found[self._plain] = self.read(steps, steps[state, cut][self._first(self._plain)], self._plain, 1)
        return found

    def _first(self, ids: np.ndarray) -> np.ndarray:
        return self._letters[self._starts[ids]]

    def read(self, steps: np.ndarray, states: np.ndarray, ids: np.ndarray, start: int = 0) -> np.ndarray:
        """Read the whole characters of some tokens, from a place in them on, without cuts.

        Args:
            steps: [states, 2, letters] int16, as for `walk`.
            states: [n] int16, the state before each.
            ids: [n] ids, those with the most characters first.
            start: the place.

        Returns:
            [n] int16, the state after each.
        """
        states = states.copy()
        starts, lengths = self._starts[ids], self._lengths[ids]
        within = steps[:, 0]
        count = len(ids)
        for place in range(start, int(lengths.max(initial=0))):
            count = int(np.searchsorted(-lengths[:count], -place))  # those longer than the place
            states[:count] = within[states[:count], self._letters[starts[:count] + place]]
        return states

    def completing(self, begun: bytes) -> tuple[list[tuple[str, list[int]]], list[int]]:
        """Find the tokens that go on with a begun character.

        Args:
            begun: its first bytes.

        Returns:
            Each character that some tokens complete with their ids; and the ids of tokens that only add bytes to it.
        """
        done, longer = [], []
        for head, ids in self._groups.items():
            try:
                done.append(((begun + head).decode(), ids))
            except UnicodeDecodeError:
                if characters(begun + head):
                    longer += [index for index in ids if not self.texts[index] and not self.tails[index]]
        return [(character, ids) for character, ids in done if len(character) == 1], longer

    def sorted_by_length(self, ids: Sequence[int]) -> np.ndarray:
        """Ids, those with the most whole characters first."""
        found = np.array(ids, dtype=np.int64)
        return found[np.argsort(-self._lengths[found], kind="stable")]


def _apart(piece: bytes) -> tuple[bytes, str, bytes] | None:
    """Head, text and tail of a token; None if its bytes are in no text."""
    try:
        return b"", piece.decode(), b""
    except UnicodeDecodeError:
        pass
    head = next((place for place, byte in enumerate(piece) if not continues(byte)), len(piece))
    if head > 3:
        return None
    rest = piece[head:]
    for size in range(min(3, len(rest)) + 1):
        tail = rest[len(rest) - size :]
        if size and not (tail[0] >= 0xC0 and characters(tail)):
            continue
        try:
            return piece[:head], rest[: len(rest) - size].decode(), tail
        except UnicodeDecodeError:
            continue
    return None
