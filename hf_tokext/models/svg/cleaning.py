"""Drawings without what only editors need, styles as attributes."""

from collections import ChainMap
from typing import NamedTuple

from hf_tokext.models.svg.styles import Rule, read_sheet, styled

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
WITH_TEXT = {"text", "tspan", "tref", "textPath", "title", "desc", "style"}  # where blanks and text count
NOT_STYLED = {"title", "desc", "style", "script"}
MOST_MATCHES = 2_000_000  # of a rule and an element


class Event(NamedTuple):
    """An element that begins (with its name) or ends (without), or text (in `text`).

    Attributes:
        name: of an element that begins, or "".
        attributes: of it.
        text: None but for text.
    """

    name: str = ""
    attributes: dict[str, str] = {}  # noqa: RUF012 (it is never changed)
    text: str | None = None


def cleaned(events: list[Event]) -> list[Event]:
    """Leave out metadata, what editors note, and blanks between elements; make styles attributes.

    Elements and attributes of other namespaces go, `xlink:href` becomes `href`, and a prefix of SVG itself is taken off. A
    style sheet goes where all its selectors are tags, ids and classes; where not, where it is for some media only, or where
    rules and elements are very many, all styles stay as they are.

    Args:
        events: of a drawing.

    Returns:
        Events of the drawing that is left.

    Raises:
        MissingExtraError: tinycss2 is missing.
        TextError: brackets of a style nest too deep.
    """
    kept = _without_editors(events)
    sheets = _sheets(kept)
    rules: list[Rule] | None = []
    for sheet in sheets:
        read = None if sheet is None else read_sheet(sheet)
        rules = None if rules is None or read is None else rules + read
    if rules is None or len(rules) * len(kept) > MOST_MATCHES:
        return _joined(kept)
    found, sheet_depth = [], 0
    for event in kept:
        is_start, is_end = bool(event.name), not event.name and event.text is None
        if sheet_depth or event.name == "style":
            sheet_depth += is_start - is_end
        elif is_start and event.name not in NOT_STYLED:
            attributes = styled(event.name, event.attributes, rules)
            if sheets:
                attributes.pop("class", None)
            found.append(Event(event.name, attributes))
        else:
            found.append(event)
    return _joined(found)


def _joined(events: list[Event]) -> list[Event]:
    """Make one of texts that have come to stand side by side."""
    found: list[Event] = []
    for event in events:
        if event.text is not None and found and found[-1].text is not None:
            found[-1] = Event(text=found[-1].text + event.text)
        else:
            found.append(event)
    return found


def _sheets(events: list[Event]) -> list[str | None]:
    """Texts of the style elements: "" for what is no CSS, None for what is for some media only."""
    found: list[str | None] = []
    inside, is_read = 0, False
    for event in events:
        if event.name == "style":
            inside += 1
            is_css = event.attributes.get("type", "").strip().lower() in ("", "text/css")
            is_read = is_css and event.attributes.get("media", "").strip().lower() in ("", "all", "screen")
            found.append("" if is_read or not is_css else None)
        elif inside and event.text is not None:
            found[-1] = f"{found[-1]}{event.text}" if is_read else found[-1]
        elif inside and not event.name:
            inside -= 1
    return found


def _without_editors(events: list[Event]) -> list[Event]:
    spaces: list[ChainMap[str, str]] = [ChainMap()]  # namespaces by prefix, of each open element
    names: list[str] = []  # of the open elements that are kept
    found: list[Event] = []
    dropped = 0  # elements open inside one that goes
    for event in events:
        if event.text is not None:
            counts = not WITH_TEXT.isdisjoint(names) or spaces[-1].get(" preserve")
            if not dropped and names and names[-1] != "script" and (event.text.strip() or counts):
                found.append(event)
        elif event.name:
            new = {key[6:]: value for key, value in event.attributes.items() if key.startswith("xmlns:")}
            if "xmlns" in event.attributes:
                new[""] = event.attributes["xmlns"]
            if "xml:space" in event.attributes:
                new[" preserve"] = "yes" if event.attributes["xml:space"] == "preserve" else ""
            known = spaces[-1].new_child(new) if new else spaces[-1]
            spaces.append(known)
            prefix, _, local = event.name.rpartition(":")
            foreign = known.get(prefix, "" if prefix else SVG) != SVG
            # a root is kept whatever it is, that a document remains
            if dropped or (names and (foreign or local in ("metadata", "script"))):
                dropped += 1
                continue
            names.append(local)
            found.append(Event(local, _attributes(event.attributes, known)))
        else:
            spaces.pop()
            if dropped:
                dropped -= 1
            else:
                names.pop()
                found.append(event)
    return found


def _attributes(attributes: dict[str, str], known: ChainMap[str, str]) -> dict[str, str]:
    found = {}
    for key, value in attributes.items():
        prefix, _, local = key.rpartition(":")
        if key == "xmlns" or prefix == "xmlns":
            continue
        if not prefix or prefix == "xml":
            found[key] = value
        elif known.get(prefix) == XLINK and local == "href":
            found.setdefault("href", value)
    return found
