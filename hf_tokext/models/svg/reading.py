"""Reading XML that may be hostile: nothing is fetched, and nothing grows."""

import re
from collections.abc import Callable
from xml.parsers import expat

from hf_tokext.errors import TextError

LONGEST = 16 << 20  # characters of a document, entities replaced
DEEPEST = 128  # elements inside each other
MOST_ELEMENTS = 250_000
MOST_ENTITIES = 64
LONGEST_ENTITY = 1024

# XML 1.0, production 23
_DECLARATION = re.compile(
    r"""\ufeff?<\?xml\s+version\s*=\s*(?:"1\.\d+"|'1\.\d+')(?:\s+(?:encoding|standalone)\s*=\s*(?:"[\w.-]*"|'[\w.-]*'))*\s*\?>"""
)

Start = Callable[[str, dict[str, str]], None]


def read_xml(text: str, start: Start, end: Callable[[], None], characters: Callable[[str], None]) -> None:
    """Read a document; comments, processing instructions and the document type are left out.

    Args:
        text: the document.
        start: takes the name of an element as it is written, and its attributes in their order.
        end: called at the end of each element.
        characters: takes a run of text inside the root.

    Raises:
        TextError: it is no well-formed XML, too long, too deep or too full, or has entities that are unknown, external, nested or long.
    """
    if len(text) > LONGEST:
        raise TextError(f"the drawing has {len(text):,} characters, more than {LONGEST:,}; take a smaller one")
    depth = read = entities = elements = 0
    run: list[str] = []

    def flush() -> None:
        if run:
            characters("".join(run))
            run.clear()

    def count(size: int) -> None:
        nonlocal read
        read += size
        if read > LONGEST:
            raise TextError(f"the drawing's entities grow past {LONGEST:,} characters; it is no honest drawing")

    def started(name: str, attributes: list[str]) -> None:
        nonlocal depth, elements
        depth += 1
        elements += 1
        if depth > DEEPEST:
            raise TextError(f"line {parser.CurrentLineNumber}: more than {DEEPEST} elements inside each other")
        if elements > MOST_ELEMENTS:
            raise TextError(f"the drawing has more than {MOST_ELEMENTS:,} elements; take a simpler one")
        flush()
        count(sum(map(len, attributes)))
        start(name, dict(zip(attributes[::2], attributes[1::2], strict=True)))

    def ended(name: str) -> None:
        nonlocal depth
        depth -= 1
        flush()
        end()

    def text_run(data: str) -> None:
        count(len(data))
        run.append(data)

    def entity(name: str, parameter: bool, value: str | None, *external: str | None) -> None:
        nonlocal entities
        entities += 1
        if value is None or parameter or "&" in value or len(value) > LONGEST_ENTITY or entities > MOST_ENTITIES:
            raise TextError(f"entity {name!r} is external, nested, long, or one of many; replace it by its text")

    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.CharacterDataHandler, parser.EntityDeclHandler = text_run, entity
    # A document that stands alone may use no entity that it does not declare; in any other, expat drops those of
    # attributes without a word. The encoding that a file declares is behind us, too.
    match = _DECLARATION.match(text)
    declared = match[0] if match else "\ufeff" if text.startswith("\ufeff") else ""
    alone = '<?xml version="1.0" standalone="yes"' + "\n" * declared.count("\n") + "?>"
    try:
        parser.Parse(alone.encode(), False)
        parser.Parse(text[len(declared) :].encode(), True)
    except expat.ExpatError as error:
        longer = len(alone.rpartition("\n")[2]) - len(declared.rpartition("\n")[2])
        column = error.offset - (longer if error.lineno == 1 + alone.count("\n") else 0)
        raise TextError(
            f"this is no well-formed XML: {expat.ErrorString(error.code)}, line {error.lineno}, column {column}"
            + ("" if "<" in text else "; give the text of a drawing, not the name of its file")
        ) from error
    except UnicodeEncodeError as error:
        raise TextError(f"character {error.start} of the drawing is a lone surrogate, which has no UTF-8") from error
