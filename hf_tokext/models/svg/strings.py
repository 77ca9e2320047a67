"""Any string as pieces: bytes, groups of digits, and what often stands in a drawing."""

import re
from collections.abc import Iterable

WORDS = (
    "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink", "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "http://creativecommons.org/ns#", "http://web.resource.org/cc/", "http://purl.org/dc/elements/1.1/",
    "http://www.inkscape.org/namespaces/inkscape", "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd",
    "http://purl.org/dc/dcmitype/StillImage", "image/svg+xml", "font-family:", "font-size:", "font-style:", "font-weight:",
    "fill:", "fill-opacity:", "fill-rule:", "stroke:", "stroke-width:", "stroke-opacity:", "stroke-linecap:",
    "stroke-linejoin:", "stroke-miterlimit:", "stroke-dasharray:", "stroke-dashoffset:", "opacity:", "stop-color:",
    "stop-opacity:", "display:", "visibility:", "overflow:", "marker:", "marker-start:", "marker-end:", "marker-mid:",
    "enable-background:", "color:", "none", "inherit", "visible", "accumulate", "nonzero", "evenodd", "butt", "round",
    "miter", "square", "bevel", "normal", "inline", "currentColor", "context-stroke", "userSpaceOnUse",
    "objectBoundingBox", "matrix(", "translate(", "scale(", "rotate(", "url(#", "rgb(", "linearGradient",
    "radialGradient", "gradient", "Gradient", "path", "layer", "rect", "circle", "true", "false", "preserve", "black",
    "white", "start", "middle", "Sans", "px", "pt", "mm", "em", " -", ",-", ", ", "; ", ": ", "000000", "ffffff",
)  # fmt: skip
LONGEST_RUN = 24  # blanks behind a line feed
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # by XML 1.0, production 2


class StringPieces:
    """Pieces of strings as tokens.

    Args:
        first: token of the first piece.

    Attributes:
        pieces: bytes of each; the first 256 are the bytes themselves.
    """

    def __init__(self, first: int = 0) -> None:
        digits = [f"{number:0{size}}" for size in (2, 3) for number in range(10**size)]
        fractions = [f".{number:0{size}}" for size in (1, 2, 3) for number in range(10**size)]
        signed = [f"{sign}{number}" for sign in (" ", ",", "-") for number in range(1000)]
        colors = [f"{number:02x}" for number in range(256) if not f"{number:02x}".isdigit()]
        blanks = ["\n" + " " * count for count in range(1, LONGEST_RUN + 1)] + ["\n\n"]
        blanks += [" " * count for count in range(2, LONGEST_RUN + 1)] + ["\n" + "\t" * count for count in range(1, 7)]
        texts = [*digits, *fractions, *signed, *colors, *blanks, *WORDS]
        self.pieces = [bytes([byte]) for byte in range(256)] + [text.encode() for text in dict.fromkeys(texts)]
        self._token = {piece: token for token, piece in enumerate(self.pieces, first)}
        words = b"|".join(re.escape(word.encode()) for word in sorted(WORDS, key=len, reverse=True))
        self._pattern = re.compile(
            words
            + rb"|[ ,-](?:0|[1-9]\d{0,2})|\.\d{1,3}|\d{2,3}|[0-9a-f]{2}|\n {1,%d}|\n\t{1,6}|\n\n| {2,%d}|[\0-\xff]"
            % (LONGEST_RUN, LONGEST_RUN)
        )

    def split(self, text: str) -> list[int]:
        """Cut a text into pieces.

        Args:
            text: the text, without lone surrogates.

        Returns:
            Tokens of the pieces; their bytes, joined, are the text's.
        """
        return list(map(self._token.__getitem__, self._pattern.findall(text.encode())))

    @staticmethod
    def join(pieces: Iterable[bytes]) -> str:
        """Give the text of pieces.

        Args:
            pieces: bytes of each.

        Returns:
            The text, without bytes that are no UTF-8 and characters that XML does not allow.
        """
        return _FORBIDDEN.sub("", b"".join(pieces).decode("utf-8", "ignore"))

    def names(self) -> list[str]:
        """Names of the pieces as tokens: a colon and the text, or "x" and the bytes in hexadecimal."""
        found = []
        for piece in self.pieces:
            plain = all(0x21 <= byte < 0x7F and byte not in b"|<>" for byte in piece)
            found.append(f":{piece.decode()}" if plain else f"x{piece.hex()}")
        return found
