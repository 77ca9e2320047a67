"""CSS of a drawing as attributes."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from hf_tokext.errors import MissingExtraError, TextError

# Properties that SVG 1.1 lets stand as attributes (its appendix on properties), and those of SVG 2 that files have.
PROPERTIES = frozenset(
    """
    alignment-baseline baseline-shift clip clip-path clip-rule color color-interpolation color-interpolation-filters
    color-rendering cursor direction display dominant-baseline enable-background fill fill-opacity fill-rule filter
    flood-color flood-opacity font-family font-size font-size-adjust font-stretch font-style font-variant font-weight
    image-rendering letter-spacing lighting-color marker-end marker-mid marker-start mask opacity overflow paint-order
    pointer-events shape-rendering stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap
    stroke-linejoin stroke-miterlimit stroke-opacity stroke-width text-anchor text-decoration text-rendering
    unicode-bidi vector-effect visibility word-spacing writing-mode
    """.split()  # noqa: SIM905 (a list of quoted words would be twice as long)
)
MARKERS = ("marker-start", "marker-mid", "marker-end")  # what the shorthand "marker" stands for; it is no attribute
MOST_RULES = 2000
DEEPEST = 64  # brackets inside each other

Declaration = tuple[str, str, bool]  # name, value, whether it is important


class Rule(NamedTuple):
    """Declarations for elements of a tag (or "*"), an id and classes.

    Attributes:
        tag: name of the element, or "*".
        id: its id, or "".
        classes: classes that it must have.
        declarations: name, value, and whether it is important.
    """

    tag: str
    id: str
    classes: frozenset[str]
    declarations: tuple[Declaration, ...]

    @property
    def specificity(self) -> tuple[int, int, int]:
        """Which of two rules wins (CSS 2.1, section 6.4.3)."""
        return bool(self.id), len(self.classes), self.tag != "*"

    def matches(self, tag: str, attributes: dict[str, str]) -> bool:
        """Say whether the rule is for an element.

        Args:
            tag: its name.
            attributes: its attributes.

        Returns:
            Whether it is.
        """
        has_id = not self.id or self.id == attributes.get("id")
        return self.tag in ("*", tag) and has_id and self.classes <= set(attributes.get("class", "").split())


def declarations(text: str) -> tuple[Declaration, ...]:
    """Read the value of a style attribute.

    Args:
        text: declarations; those that are none are left out, as CSS has it.

    Returns:
        Name, value, and whether it is important, of each.

    Raises:
        MissingExtraError: tinycss2 is missing.
        TextError: brackets nest too deep.
    """
    return _short_declarations(text) if len(text) < 1000 else _read_declarations(text)


def read_sheet(text: str) -> list[Rule] | None:
    """Read a style sheet.

    Args:
        text: CSS.

    Returns:
        Its rules, None where one is more than a list of tags, ids and classes: it cannot become attributes.

    Raises:
        MissingExtraError: tinycss2 is missing.
        TextError: brackets nest too deep.
    """
    css = _tinycss2()
    _check_depth(text)
    found: list[Rule] = []
    for rule in css.parse_stylesheet(text, skip_comments=True, skip_whitespace=True):
        if rule.type != "qualified-rule":
            return None
        given = _declarations(css, css.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True))
        if any(name not in PROPERTIES for name, _, _ in given if not _is_of_one_renderer(name)):
            return None
        for selector in css.serialize(rule.prelude).split(","):
            simple = _selector(css, selector.strip(), given)
            if simple is None or len(found) == MOST_RULES:
                return None
            found.append(simple)
    return found


def styled(tag: str, attributes: dict[str, str], rules: Iterable[Rule]) -> dict[str, str]:
    """Give the attributes of an element with its styles among them.

    A style sheet wins over an attribute, a style attribute over a sheet, and what is important over what is not. What the
    shorthands "font" and "all" set, which cannot be attributes, stays behind them.

    Args:
        tag: name of the element.
        attributes: its attributes.
        rules: of the drawing's style sheets, in their order.

    Returns:
        Attributes; what is left of "style" are properties that cannot be attributes, those of one renderer left out.

    Raises:
        MissingExtraError: tinycss2 is missing.
        TextError: brackets nest too deep.
    """
    matching = sorted((rule for rule in rules if rule.matches(tag, attributes)), key=lambda rule: rule.specificity)
    own = declarations(attributes["style"]) if attributes.get("style", "").strip() else ()
    given = [*(each for rule in matching for each in rule.declarations), *own]
    shorthands = {name for name, _, _ in given if name in ("font", "all")}
    found = {name: value for name, value in attributes.items() if name != "style"}
    left: dict[str, str] = {}
    for name, value, _ in sorted(given, key=lambda each: each[2]):  # stable: the important ones last
        stays = "all" in shorthands or (name.startswith("font-") and "font" in shorthands)
        if name in PROPERTIES and not stays:
            found[name] = value
        elif not _is_of_one_renderer(name):
            left.pop(name, None)  # a later one stands later
            left[name] = value
    if left:
        found["style"] = ";".join(f"{name}:{value}" for name, value in left.items())
    return found


def _selector(css: Any, text: str, given: tuple[Declaration, ...]) -> Rule | None:
    tag, named, classes, after_point = "*", "", [], False
    for place, token in enumerate(css.parse_component_value_list(text, skip_comments=True)):
        if after_point:
            if token.type != "ident":
                return None
            classes.append(token.value)
            after_point = False
        elif token.type == "literal" and token.value == ".":
            after_point = True
        elif token.type == "hash" and not named:
            named = token.value
        elif place == 0 and (token.type == "ident" or (token.type == "literal" and token.value == "*")):
            tag = token.value
        else:
            return None
    return None if after_point or not text else Rule(tag, named, frozenset(classes), given)


def _read_declarations(text: str) -> tuple[Declaration, ...]:
    css = _tinycss2()
    _check_depth(text)
    return _declarations(css, css.parse_blocks_contents(text, skip_comments=True, skip_whitespace=True))


_short_declarations = lru_cache(4096)(_read_declarations)  # elements of a drawing have styles in common


def _declarations(css: Any, nodes: Iterable[Any]) -> tuple[Declaration, ...]:
    found: list[Declaration] = []
    for node in nodes:
        value = css.serialize(node.value).strip() if node.type == "declaration" else ""
        if value:
            names = MARKERS if node.lower_name == "marker" else (node.lower_name,)
            found += [(name, value, node.important) for name in names]
    return tuple(found)


def _is_of_one_renderer(name: str) -> bool:
    """Whether a property is one of a renderer's own; "--" begins a variable."""
    return name.startswith("-") and not name.startswith("--")


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[(\[{}\])]", text):
        depth = depth + 1 if bracket in "([{" else max(depth - 1, 0)
        if depth > DEEPEST:
            raise TextError(f"a style has more than {DEEPEST} brackets inside each other")


def _tinycss2() -> Any:
    try:
        import tinycss2
    except ImportError as error:
        raise MissingExtraError("tinycss2", "svg", "reading the styles of a drawing") from error
    return tinycss2
