import copy
import pickle
import random
import re
from xml.etree import ElementTree

import pytest
import resvg_py
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokext.errors import TextError
from hf_tokext.models.svg.domain import SVGDomain
from tests.models.svg.icons import ARCS, FLAG, ICONS

DOMAIN = SVGDomain()


def canonical(text):
    return ElementTree.canonicalize(re.sub(r"<\?.*?\?>", "", text))


def is_well_formed(text):
    ElementTree.fromstring(text)  # raises what it is not
    return True


@pytest.mark.parametrize("name", ICONS)
def test_nothing_is_lost(name):
    indices = DOMAIN.parse(ICONS[name])
    DOMAIN.grammar.read(indices)
    written = DOMAIN.write(indices)
    assert canonical(written) == canonical(ICONS[name])
    assert DOMAIN.parse(written) == indices
    assert resvg_py.svg_to_bytes(svg_string=written) == resvg_py.svg_to_bytes(svg_string=ICONS[name])


def test_elements_as_deep_as_are_read_are_written():
    text = "<g>" * 128 + "</g>" * 128
    indices = DOMAIN.parse(text)
    DOMAIN.grammar.read(indices)
    assert canonical(DOMAIN.write(indices)) == canonical(text)


def test_names_that_are_spelt_are_kept_where_xml_has_them():
    text = "<svg \u00e4='1' a\u0308='2' a\u00b7='3' x\u00e9:y='4' xmlns:x\u00e9='urn:x'><\u65e5\u672c/></svg>"
    assert canonical(DOMAIN.write(DOMAIN.parse(text))) == canonical(text)


@pytest.mark.parametrize("kind", ["element", "attribute"])
def test_a_name_of_any_characters_is_read_again(kind):
    draw, kept = random.Random(0), 0
    hard = "\u00b5\u00aa\u00ba\u00b2\u2167\u0345\u0308\u00b7\u203f\u2c00\u1d80\u3006\U0001d49c\U00010400;!/ >\u00e9"
    for number in range(400):
        drawn = "".join(chr(draw.randrange(0x80, 0x3100)) for _ in range(2))
        name = draw.choice(hard) + draw.choice(["", "a", ":b", "\u00e9"]) if number % 2 else drawn
        spelt = [DOMAIN._pieces._token[bytes([byte])] for byte in name.encode()]
        tokens = [DOMAIN.index("el:svg"), DOMAIN.index(kind), *spelt, DOMAIN.index("=")]
        written = DOMAIN.write(tokens)
        assert is_well_formed(written)
        kept += name in written
    assert 10 < kept < 300


def test_a_domain_is_pickled_and_copied_by_its_settings():
    domain = SVGDomain("quantised", 64)
    domain.write(domain.parse(FLAG))
    for found in (pickle.loads(pickle.dumps(domain)), copy.deepcopy(domain)):
        assert found.settings == {"mode": "quantised", "grid": 64} and found.parse(FLAG) == domain.parse(FLAG)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<svg>\n <g></svg>", "mismatched tag, line 2, column 6"),
        ("<?xml version='1.0' encoding='latin-1'\n?><svg><g></svg>", "mismatched tag, line 2, column 12"),
        ("<svg><g></svg>", "mismatched tag, line 1, column 10"),
        ("\ufeff<svg", "unclosed token, line 1, column 1"),
    ],
)
def test_an_error_says_where(text, message):
    with pytest.raises(TextError, match=message):
        DOMAIN.parse(text)


def test_a_file_is_text_whatever_encoding_it_declares():
    for declaration in (
        "",
        "\ufeff",
        '<?xml version="1.1"?>',
        '<?xml version="1.0" encoding="UTF-16" standalone="no" ?>',
    ):
        assert DOMAIN.write(DOMAIN.parse(f"{declaration}<svg>\u00e9</svg>")) == "<svg>\u00e9</svg>"


def test_tokens_by_hand():
    tokens = [
        DOMAIN.tokens[index]
        for index in DOMAIN.parse('<svg xmlns="http://www.w3.org/2000/svg"><path d="M1.5-2,l30 4Z" a-b="é"/>hi</svg>')
    ]
    assert tokens == [
        "drawing", "el:svg", "at:xmlns", ":http://www.w3.org/2000/svg", "el:path", "at:d", "d:M", ":1", ":.5", ":-2", ":,",
        "d:l", ":30", "x2034", "d:Z", "attribute", ":a", ":-", ":b", "=", "xc3", "xa9", "/", "text", ":h", ":i", "/", "/drawing",
    ]  # fmt: skip


def test_path_commands_are_tokens_in_path_data_only():
    def commands(text):
        return [DOMAIN.tokens[index] for index in DOMAIN.parse(text) if DOMAIN.tokens[index].startswith("d:")]

    assert commands(ARCS) == [f"d:{letter}" for letter in "MALZmcsqtHVz"]
    assert commands('<svg><text id="MLZ">Mcq</text></svg>') == []


numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers().map(str)
strings = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t <>&\"' "), max_size=30
)


@settings(max_examples=150, deadline=None)
@given(data=st.lists(numbers, max_size=8).map(" ".join), value=strings, text=strings)
def test_any_value_and_text_comes_back(data, value, text):
    root = ElementTree.Element("svg", {"d": data, "own-attribute": value, "id": value})
    ElementTree.SubElement(root, "g").tail = text
    root.text = text
    document = ElementTree.tostring(root, encoding="unicode")
    try:
        written = DOMAIN.write(DOMAIN.parse(document))
    except TextError:
        pytest.fail("a well-formed document was refused")
    assert canonical(written) == canonical(document)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 140) | st.integers(-3, len(DOMAIN.tokens) + 3), max_size=60))
def test_whatever_tokens_are_written_the_xml_is_well_formed(indices):
    written = DOMAIN.write(indices)
    assert is_well_formed(written)
    assert DOMAIN.write(DOMAIN.parse(written)) == written


def test_mutants_are_read_or_refused():
    draw, refused = random.Random(0), 0
    for _ in range(600):
        text = draw.choice(list(ICONS.values()))
        for _ in range(draw.choice((1, 3))):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(["<", "&", '"', "\0", "\ud800", "e9", ""]) + text[at + draw.randint(0, 2) :]
        try:
            assert is_well_formed(DOMAIN.write(DOMAIN.parse(text)))
        except TextError:
            refused += 1
    assert 100 < refused < 600


def grown(levels):
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, levels))
    return f'<!DOCTYPE svg [<!ENTITY a0 "ha">{entities}]><svg>&a{levels - 1};</svg>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no well-formed XML"),
        ("a drawing.svg", "no well-formed XML: .*; give the text of a drawing, not the name of its file"),
        (FLAG[:-10], "no well-formed XML"),
        ("<svg><g></svg>", "mismatched tag"),
        ("<svg>\ud800</svg>", "lone surrogate"),
        ("<g>" * 129 + "</g>" * 129, "more than 128 elements inside each other"),
        (f"<svg>{'x' * (16 << 20)}</svg>", "characters, more than"),
        (grown(8), "entity 'a1' is external, nested, long"),
        ('<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>', "entity 'x' is external"),
        ('<!DOCTYPE svg [<!ENTITY % x "y">]><svg/>', "entity 'x' is external"),
        (f'<!DOCTYPE svg [<!ENTITY x "{"y" * 1000}">]><svg>{"&x;" * 20_000}</svg>', "amplification|entities grow past"),
        ('<!DOCTYPE svg SYSTEM "svg.dtd"><svg>&nbsp;</svg>', "undefined entity, line 1, column 36"),
        ('<!DOCTYPE svg SYSTEM "svg.dtd">\n<svg a="&nbsp;"/>', "undefined entity, line 2"),
        (f"<svg>{'<a/>' * 250_000}</svg>", "more than 250,000 elements"),
        ("<svg>&nbsp;</svg>", "undefined entity"),
    ],
)
def test_hostile_input_is_refused(text, message):
    with pytest.raises(TextError, match=message):
        DOMAIN.parse(text)


def test_huge_numbers_are_strings_like_others():
    text = f'<svg viewBox="0 0 1e999999 {"9" * 5000}"/>'
    assert canonical(DOMAIN.write(DOMAIN.parse(text))) == canonical(text)


@pytest.mark.parametrize(
    ("tokens", "written"),
    [
        ([], "<svg/>"),
        (["el:path", "at:d", "d:M", ":1"], '<path d="M1"/>'),
        (["el:svg", "at:id", ":a", "at:id", ":b"], '<svg id="ab"/>'),
        (["el:svg", "/", "el:g", "text"], "<svg/>"),
        (["el:inkscape:grid"], '<inkscape:grid xmlns:inkscape="urn:inkscape"/>'),
        (["el:svg", "at:xmlns:cc", "el:cc:Work", "at:rdf:about", ":x"], '<svg xmlns:rdf="urn:rdf" xmlns:cc="urn:cc"><cc:Work rdf:about="x"/></svg>'),
        (["element", ":x", "::", "=", "text", ":&"], "<g>&amp;</g>"),
        (["el:svg", "attribute", ":a", "=", ":1", "attribute", ":a", "=", ":2"], '<svg a="1"/>'),
        (["el:svg", "text", "xff", "x00", ":<" if ":<" in DOMAIN.tokens else "x3c"], "<svg>&lt;</svg>"),
    ],
)  # fmt: skip
def test_what_cannot_stand_is_left_out_and_what_is_missing_added(tokens, written):
    assert DOMAIN.write([DOMAIN.index(token) for token in tokens]) == written


def test_every_token_is_described():
    structural = {"element", "attribute", "="}
    assert {token for token in DOMAIN.tokens if not DOMAIN.descriptions.get(token)} <= structural
    assert (
        DOMAIN.descriptions["d:c"] == "relative cubic curve to"
        and DOMAIN.descriptions["at:stroke-width"] == "stroke width"
    )
    assert DOMAIN.descriptions["el:linearGradient"] == "linear gradient"
