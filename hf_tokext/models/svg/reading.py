"""Reading XML that may be hostile: nothing is fetched, and nothing grows."""

from collections.abc import Callable
from xml.parsers import expat

from hf_tokext.errors import TextError

LONGEST = 16 << 20  # characters of a document, entities replaced
DEEPEST = 128  # elements inside each other
MOST_ENTITIES = 64
LONGEST_ENTITY = 1024

Start = Callable[[str, dict[str, str]], None]


def read_xml(text: str, start: Start, end: Callable[[], None], characters: Callable[[str], None]) -> None:
    """Read a document; comments, processing instructions and the document type are left out.

    Args:
        text: the document.
        start: takes the name of an element as it is written, and its attributes in their order.
        end: called at the end of each element.
        characters: takes a run of text inside the root.

    Raises:
        TextError: it is no well-formed XML, too long or too deep, or has entities that are unknown, external, nested or long.
    """
    if len(text) > LONGEST:
        raise TextError(f"the drawing has {len(text):,} characters, more than {LONGEST:,}; take a smaller one")
    depth = read = entities = 0
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
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise TextError(f"line {parser.CurrentLineNumber}: more than {DEEPEST} elements inside each other")
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

    def other(data: str) -> None:
        if data.startswith("&") and data.endswith(";"):
            raise TextError(f"line {parser.CurrentLineNumber}: {data} is declared nowhere in the drawing")

    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.CharacterDataHandler, parser.EntityDeclHandler = text_run, entity
    parser.DefaultHandlerExpand = other
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise TextError(f"this is no well-formed XML: {error}") from error
    except UnicodeEncodeError as error:
        raise TextError(f"character {error.start} of the drawing is a lone surrogate, which has no UTF-8") from error
