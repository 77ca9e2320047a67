"""Writing well-formed XML whatever is asked for."""

import re
from collections import ChainMap
from functools import lru_cache
from urllib.parse import quote
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*(:[A-Za-z_][A-Za-z0-9_.\-]*)?")
_OTHER_NAME = re.compile(r"[^\s<>/&='\":]+(:[^\s<>/&='\":]+)?")
_PATH = r"(?:[A-Za-z0-9._~/@!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})"
URI = re.compile(  # of RFC 3986, without addresses in numbers
    r"(?=.)(?:[A-Za-z][A-Za-z0-9+.-]*:|(?![^/?#]*:))(?://[A-Za-z0-9.-]*(?::\d{1,5})?(?=[/?#]|$))?"
    rf"(?!//){_PATH}*(?:\?(?:{_PATH}|\?)*)?(?:#(?:{_PATH}|\?)*)?"
)
XML = "http://www.w3.org/XML/1998/namespace"
RESERVED = {XML, "http://www.w3.org/2000/xmlns/"}
BREAKS = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}  # which a reader would make blanks of, in an attribute


class Writer:
    """Writes elements one after another; names that are none are replaced, and what cannot stand is left out."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._root: list[str] = []  # namespaces that the root has to declare
        self._open: list[tuple[str, ChainMap[str, str]]] = []  # names, and namespaces by prefix
        self._in_tag = False

    @property
    def begun(self) -> bool:
        """Whether there is a root."""
        return bool(self._parts)

    def start(self, name: str, attributes: list[tuple[str, str]]) -> None:
        """Open an element.

        Args:
            name: as it is to be written; "g" takes the place of what is no name.
            attributes: names and values; the first of each name counts.
        """
        self._end_tag()
        known = self._open[-1][1] if self._open else ChainMap({"xml": XML})
        kept: dict[str, str] = {}
        for key, value in attributes:
            if key not in kept and is_name(key) and _may_declare(key, value):
                kept[key] = value
        declared = {key[6:]: value for key, value in kept.items() if key.startswith("xmlns:")}
        known = known.new_child(declared) if declared else known
        name = name if is_name(name) and not name.startswith("xmlns:") else "g"
        seen: set[tuple[str, str]] = set()
        written = []
        for key, value in kept.items():
            prefix, _, local = key.rpartition(":")
            if prefix not in ("", "xmlns"):
                where = self._namespace(prefix, known), local
                if where in seen:
                    continue  # the same attribute by another prefix
                seen.add(where)
            written.append(f" {key}={quoteattr(value, BREAKS)}")
        prefix = name.rpartition(":")[0]
        if prefix:
            self._namespace(prefix, known)
        self._parts.append(f"<{name}")
        if not self._open:
            self._parts.append("")  # where the root declares what is found to be missing
        self._parts += written
        self._open.append((name, known))
        self._in_tag = True

    def text(self, text: str) -> None:
        """Write text inside the element.

        Args:
            text: the text.
        """
        if text:
            self._end_tag()
            self._parts.append(escape(text, {"\r": "&#13;"}))

    def end(self) -> None:
        """Close the innermost element."""
        name, _ = self._open.pop()
        self._parts.append("/>" if self._in_tag else f"</{name}>")
        self._in_tag = False

    def finish(self) -> str:
        """Close what is open.

        Returns:
            The document.
        """
        while self._open:
            self.end()
        self._parts[1] = "".join(f' xmlns:{prefix}="{_made_up(prefix)}"' for prefix in self._root)
        return "".join(self._parts)

    def _end_tag(self) -> None:
        if self._in_tag:
            self._parts.append(">")
        self._in_tag = False

    def _namespace(self, prefix: str, known: ChainMap[str, str]) -> str:
        if prefix not in known:
            known[prefix] = _made_up(prefix)
            self._root += [prefix] if prefix not in self._root else []
        return known[prefix]


@lru_cache(4096)
def is_name(name: str) -> bool:
    """Say whether an element or attribute may have a name.

    Args:
        name: with a prefix or without.

    Returns:
        Whether it is one in every edition of XML 1.0, as expat has it, and in Namespaces in XML.
    """
    if _PLAIN_NAME.fullmatch(name):
        return True
    if name.isascii() or not _OTHER_NAME.fullmatch(name):
        return False
    try:
        for part in name.split(":"):
            parser = expat.ParserCreate("utf-8")
            parser.Parse(f"<{part}/>".encode(), True)
    except (expat.ExpatError, UnicodeEncodeError):
        return False
    return True


def _made_up(prefix: str) -> str:
    """Namespace of a prefix that is declared nowhere."""
    return f"urn:{quote(prefix)}"


def _may_declare(key: str, value: str) -> bool:
    """Whether an attribute is no declaration of a namespace, or one that may be."""
    if key == "xmlns":
        return value == "" or _is_namespace(value)
    if key == "xmlns:xml":
        return value == XML
    return not key.startswith("xmlns:") or (key != "xmlns:xmlns" and _is_namespace(value))


def _is_namespace(value: str) -> bool:
    return URI.fullmatch(value) is not None and value not in RESERVED
