"""Which two tokens stay two when BPE merges the text they spell together.

Within one word BPE is pairwise-local: tokens are the encoding of what they spell if each is the encoding of its own
text and each neighbouring pair is the encoding of its. A pair fails if some symbol at the end of the first token and
some symbol at the beginning of the second, both there at the same time, merge before one of them is used up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

NEVER = 1 << 40  # later than every merge
NONE = -1


class BpePairs:
    """The merges of a vocabulary, asked about two neighbours.

    Time is counted in ranks: a symbol is born at the highest rank among the merges that make it (a symbol of one
    character at -1), and used up at the birth of the symbol it becomes part of. In two words that are merged side by
    side, a merge of the first comes before one of the second if its time is not later: the lowest rank goes first, and
    of equal ranks the leftmost.

    Args:
        symbols: [V] string of each id, None where the id is no symbol of the model.
        merges: pairs of strings, in the order of their ranks.
        atoms: ids that text is cut into before any merge.

    Attributes:
        reachable: [V] bool, whether the id is the encoding of its own string.
    """

    def __init__(self, symbols: Sequence[str | None], merges: Iterable[tuple[str, str]], atoms: Iterable[int]) -> None:
        ids = {symbol: index for index, symbol in enumerate(symbols) if symbol is not None}
        ranks = {(ids[left], ids[right]): rank for rank, (left, right) in enumerate(merges)}
        self._pairs = np.array([(*pair, rank) for pair, rank in ranks.items()], dtype=np.int64).reshape(-1, 3)
        keys = self._pairs[:, 0] * len(symbols) + self._pairs[:, 1]
        order = np.argsort(keys)
        # One more at the end, which is no pair, so that a search always hits a place.
        self._keys, self._ranks = np.append(keys[order], NONE), np.append(self._pairs[order, 2], NEVER)
        # One place more than there are symbols: the last, NONE, is the whole of a symbol that is used up by nothing.
        size = len(symbols) + 1
        self._left, self._right = np.full(size, NONE), np.full(size, NONE)
        self._born = np.full(size, NEVER)
        # The latest merge, from its own birth on, of what a symbol's left or right part becomes part of.
        self._left_wait, self._right_wait = np.full(size, NEVER), np.full(size, NEVER)
        self._born[list(atoms)] = -1
        made = np.array([ids[left + right] for left, right in _strings(symbols, self._pairs)], dtype=np.int64)
        lengths = np.array([len(symbol or "") for symbol in symbols], dtype=np.int64)[made]
        for length in np.unique(lengths).tolist():
            self._derive(made, np.flatnonzero((lengths == length) & (self._born[made] == NEVER)))
        self.reachable = self._born[:-1] < NEVER
        self._index_partners()
        self._index_beginnings()

    def _derive(self, made: np.ndarray, ways: np.ndarray) -> None:
        """Find the merges that make symbols of one length when their own strings are encoded: one each, or none."""
        born, pairs = self._born, self._pairs
        ways = ways[(born[pairs[ways, 0]] < NEVER) & (born[pairs[ways, 1]] < NEVER)]
        ways = ways[~self._crossed(pairs[ways, 0], pairs[ways, 1])]
        whole, (left, right, rank) = made[ways], pairs[ways].T
        self._left[whole], self._right[whole] = left, right
        born[whole] = np.maximum(np.maximum(born[left], born[right]), rank)
        left_first = born[left] <= born[right]
        self._left_wait[whole] = np.where(left_first, np.maximum(rank, born[right]), rank)
        self._right_wait[whole] = np.where(left_first, rank, np.maximum(rank, born[left]))

    def _crossed(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether parts of two symbols merge before both are whole: [n] bool for n pairs."""
        crossed = np.zeros(len(first), dtype=bool)
        way, end, end_whole = np.arange(len(first)), first, np.full(len(first), NONE)
        while len(way):
            there, start, start_whole = np.arange(len(way)), second[way], np.full(len(way), NONE)
            while len(there):
                ends, wholes = end[there], end_whole[there]
                apart = (wholes != NONE) | (start_whole != NONE)
                found = apart & self._merge(ends, wholes, start, start_whole)
                crossed[way[there[found]]] = True
                there, start_whole = there[self._left[start] != NONE], start[self._left[start] != NONE]
                start = self._left[start_whole]
            kept = self._right[end] != NONE
            way, end_whole = way[kept], end[kept]
            end = self._right[end_whole]
        return crossed

    def _merge(self, end: np.ndarray, end_whole: np.ndarray, start: np.ndarray, start_whole: np.ndarray) -> np.ndarray:
        """Whether two neighbouring symbols merge, given what each becomes part of: [n] bool."""
        keys = end * (len(self._born) - 1) + start
        places = np.searchsorted(self._keys[:-1], keys)
        ranks = np.where(self._keys[places] == keys, self._ranks[places], NEVER)
        born, end_dies, start_dies = self._born, self._born[end_whole], self._born[start_whole]
        together = (born[end] <= start_dies) & (born[start] < end_dies)
        end_first = born[end] <= born[start]
        end_waits = np.where(end_first, end_dies, self._right_wait[end_whole])
        start_waits = np.where(end_first, self._left_wait[start_whole], start_dies)
        return together & (ranks < end_waits) & (ranks <= start_waits) & (ranks < NEVER)

    def _index_partners(self) -> None:
        """Merges sorted by their left symbol, then by rank."""
        pairs = self._pairs[np.lexsort((self._pairs[:, 2], self._pairs[:, 0]))]
        self._partner_ranks, self._partners = pairs[:, 2].copy(), pairs[:, 1].copy()
        self._partner_starts = np.searchsorted(pairs[:, 0], np.arange(len(self._born)))

    def _index_beginnings(self) -> None:
        """For every symbol the tokens that begin with it at some time, with when it is used up in them."""
        token = np.flatnonzero(self.reachable)
        symbol, whole = token, np.full(len(token), NONE)
        found = [np.zeros((4, 0), dtype=np.int64)]
        while len(token):
            found.append(np.stack((symbol, token, self._born[whole], self._left_wait[whole])))
            kept = self._left[symbol] != NONE
            token, whole = token[kept], symbol[kept]
            symbol = self._left[whole]
        entries = np.concatenate(found, axis=1)
        entries = entries[:, np.argsort(entries[0], kind="stable")]
        self._begun_starts = np.searchsorted(entries[0], np.arange(len(self._born)))
        self._begun, self._begun_dies, self._begun_wait = (column.copy() for column in entries[1:])

    def row(self, first: int) -> np.ndarray:
        """Tell which ids may stand after an id within one word.

        Args:
            first: the id before, a reachable one.

        Returns:
            [V] bool, True where the two are the encoding of what they spell together.
        """
        good = self.reachable.copy()
        end, whole = first, NONE
        while end != NONE:
            good[self._broken(end, whole)] = False
            end, whole = int(self._right[end]), end
        return good

    def _broken(self, end: int, whole: int) -> np.ndarray:
        """Tokens that do not stand after one that ends with a symbol, which becomes part of `whole`."""
        born, dies, waits = self._born[end], self._born[whole], self._right_wait[whole]
        start, stop = self._partner_starts[end], self._partner_starts[end + 1]
        stop = start + int(np.searchsorted(self._partner_ranks[start:stop], dies))
        partners, ranks = self._partners[start:stop], self._partner_ranks[start:stop]
        births = self._born[partners]
        usable = (births < dies) & ((births >= born) | (ranks < waits))
        partners, ranks, births = partners[usable], ranks[usable], births[usable]
        begins = self._begun_starts[partners]
        counts = self._begun_starts[partners + 1] - begins
        places = np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
        later = np.repeat(births >= born, counts)
        ends_by = np.where(later, self._begun_wait[places], self._begun_dies[places])
        broken = (np.repeat(ranks, counts) <= ends_by) & (self._begun_dies[places] >= born)
        return self._begun[places[broken]]


def _strings(symbols: Sequence[str | None], pairs: np.ndarray) -> Iterator[tuple[str, str]]:
    return ((symbols[left] or "", symbols[right] or "") for left, right in pairs[:, :2].tolist())


def merge_pairs(merges: Iterable[str | Sequence[str]]) -> list[tuple[str, str]]:
    """Read the merges of tokenizer.json, which are strings with a space or lists of two.

    Args:
        merges: as they are in the file.

    Returns:
        Pairs of strings.
    """
    return [tuple(merge.split(" ")) if isinstance(merge, str) else (merge[0], merge[1]) for merge in merges]  # type: ignore[misc]


def symbols_of(ids: Mapping[str, int], size: int) -> list[str | None]:
    """List the strings of a vocabulary by id.

    Args:
        ids: id of each string.
        size: number of ids.

    Returns:
        [size] strings, None where there is none.
    """
    found: list[str | None] = [None] * size
    for string, index in ids.items():
        found[index] = string
    return found
