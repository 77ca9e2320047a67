"""Pieces of names and strings: every byte, and what names in programs are often made of."""

import re


def _listed(words: str) -> list[str]:
    return words.split()


_WORDS = _listed("""
llvm. .p0 .i32 .i64 memcpy memset lifetime start end .str .addr .loop str mem alloc malloc free len size get set init
read write print file open close next prev list node tree hash key val ptr buf data type count index num add del
find new old error err out in st th er on an re he or at en ed nd te es is it ti al ar de co ro ri ic ne le li la se
me ra ch ta no ma to ca ce ge si el tr us ut ex un ad pr sh ou ct ll ss ee oo qu _s _p _t _i _c _d _m _f .i .0 .1 ::
struct. union. class. enum. core std fmt option slice impl anon closure drop panic bb if. for. while. cond body then
else exit call arr idx retval inc sub conv cmp tobool lor land rhs lhs switch sw. return _ZN 17h E.llvm. string char int
long short float double unsigned static global const assert failed invalid unknown header block stream copy state
match length distance literal symbol symbols bits code table context dictionary compress decompress zlib lz util
""")


class Pieces:
    """The pieces, and how a text is cut into them: the longest that fits first.

    Attributes:
        pieces: their bytes; the first 256 are the single ones.
    """

    def __init__(self) -> None:
        longer = sorted({word.encode() for word in _WORDS if len(word) > 1}, key=lambda word: (-len(word), word))
        self.pieces = [bytes([byte]) for byte in range(256)] + longer
        self._place = {piece: place for place, piece in enumerate(self.pieces)}
        self._pattern = re.compile(b"|".join(map(re.escape, longer)) + rb"|[\0-\xff]")

    def split(self, text: str, single: bool = False) -> list[int]:
        """Cut a text into pieces.

        Args:
            text: the text, without lone surrogates.
            single: into bytes.

        Returns:
            Places of the pieces.
        """
        spelt = text.encode()
        return list(spelt) if single else [self._place[piece] for piece in self._pattern.findall(spelt)]

    def names(self) -> list[str]:
        """Names of the pieces as tokens: a colon and the text, or "x" and the bytes in hexadecimal."""
        plain = re.compile(rb"[!-~]+").fullmatch
        return [
            f":{piece.decode()}" if plain(piece) and not set(piece) & set(b"|<>") else f"x{piece.hex()}"
            for piece in self.pieces
        ]

    def matching(self, pattern: bytes) -> list[int]:
        """Find the pieces of a form.

        Args:
            pattern: a regular expression of the whole piece.

        Returns:
            Their places.
        """
        fits = re.compile(pattern).fullmatch
        return [place for place, piece in enumerate(self.pieces) if fits(piece)]
