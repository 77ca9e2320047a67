import random
import time
from xml.etree import ElementTree

import numpy as np
import pytest
import resvg_py
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.svg.domain import SVGDomain
from hf_tokext.models.svg.tokenization_svg import SVGTokenizer
from hf_tokext.models.svg.view import step_inside
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor
from tests.models.svg.icons import FLAG, ICONS

DOMAIN = SVGDomain("quantised")
CSS = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><style>
 * { stroke: black } rect, .a { fill: red } #b { fill: green; } .a.c { fill: blue !important; -own-x: 1 }</style>
<rect class="a" fill="white" /><rect id="b" class="a"/><rect id="b" class="a c" style="fill:teal;font:2px Sans;-x-y:1"/>
</svg>"""


def written(text):
    return DOMAIN.write(DOMAIN.parse(text))


def names(text):
    return [DOMAIN.tokens[index] for index in DOMAIN.parse(text)]


@pytest.mark.parametrize("name", ICONS)
def test_once_on_the_grid_a_drawing_stays_as_it_is(name):
    indices = DOMAIN.parse(ICONS[name])
    DOMAIN.grammar.read(indices)
    assert DOMAIN.parse(DOMAIN.write(indices)) == indices


def test_tokens_by_hand():
    text = '<svg viewBox="0 0 16 8" width="16"><path d="M8,1 2.02 3a1 2 -30 0150 20Z"/><rect x="3px" y="10%" rx="1"/></svg>'
    assert names(text) == [
        "drawing", "el:svg", "at:viewBox", ":0", "x2030", "x203136", "x2038", "at:width", ":16",
        "el:path", "at:d", "d:M", "n:256", "n:32", "d:L", "n:65", "n:96", "d:a", "n:32", "n:64", "turn:330", "arc:01",
        "far:3", "n:64", "far:1", "n:128", "d:Z", "/",
        "el:rect", "at:x", "n:96", "at:y", ":10", ":%", "at:rx", "n:32", "/", "/", "/drawing",
    ]  # fmt: skip
    assert written(text) == (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 8" width="16">'
        '<path d="M 8 1 L 2.03125 3 a 1 2 330 0 1 50 20 Z"/><rect x="3" y="10%" rx="1"/></svg>'
    )


def test_a_drawing_that_lies_on_the_grid_looks_the_same():
    assert resvg_py.svg_to_bytes(svg_string=written(FLAG)) == resvg_py.svg_to_bytes(svg_string=FLAG)


def test_styles_become_attributes_as_css_has_them_win():
    root = ElementTree.fromstring(written(CSS))
    assert [each.attrib for each in root] == [
        {"fill": "red", "stroke": "black"},
        {"id": "b", "fill": "green", "stroke": "black"},
        {"id": "b", "fill": "blue", "stroke": "black", "style": "font:2px Sans"},
    ]


@pytest.mark.parametrize(
    "rule", ["g rect { fill: red }", "@media print { a { fill: red } }", "a:hover { fill: red }", "rect { font: a }"]
)
def test_a_sheet_that_cannot_become_attributes_stays(rule):
    text = f'<svg><style>{rule}</style><rect class="a" style="fill:blue"/></svg>'
    assert rule in written(text) and 'class="a" style="fill:blue"' in written(text)


@pytest.mark.parametrize(
    ("style", "attributes"),
    [
        ("marker:none;marker-start:url(#a)", {"marker-start": "url(#a)", "marker-mid": "none", "marker-end": "none"}),
        ("font-size:1px;font:2px Sans;font-size:8px", {"style": "font:2px Sans;font-size:8px", "fill": "red"}),
        ("all:unset;opacity:1", {"style": "all:unset;opacity:1", "fill": "red"}),
        ("fill:;opacity:1", {"fill": "red", "opacity": "1"}),
        ("--a:blue;fill:var(--a);-x-y:1", {"fill": "var(--a)", "style": "--a:blue"}),
    ],
)
def test_shorthands_variables_and_empty_values(style, attributes):
    root = ElementTree.fromstring(written(f'<svg><path fill="red" style="{style}"/></svg>'))
    assert root[0].attrib == {"fill": "red"} | attributes


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ('type="text/css" media="screen"', '<rect fill="red"/>'),
        ('media="print"', '<style media="print">rect{fill:red}</style><rect/>'),
        ('type="text/less"', "<rect/>"),
    ],
)
def test_a_sheet_counts_by_its_type_and_media(kind, found):
    assert found in written(f"<svg><style {kind}>rect{{fill:red}}</style><rect/></svg>")


def test_very_many_rules_and_elements_stay():
    text = f"<svg><style>{'g{fill:red}' * 1500}</style>{'<g/>' * 1500}</svg>"
    assert written(text).count("g{fill:red}") == 1500


def test_blanks_count_anywhere_inside_a_text():
    assert "<text>a<a> </a>b</text>" in written("<svg> <text>a<a> </a>b</text> </svg>")


def test_what_is_measured_in_boxes_has_a_grid_of_its_own():
    text = '<svg viewBox="0 0 512 512"><clipPath clipPathUnits="objectBoundingBox"><rect x=".25" width=".5"/></clipPath></svg>'
    assert '<rect x="0.25" width="0.5"/>' in written(text)


@pytest.mark.parametrize("text", [f'<svg><g transform="{" " * 200_000}"/></svg>', f'<svg width="{"1" * 200_000}x"/>'])
def test_long_values_take_no_long_time(text):
    started = time.process_time()
    written(text)
    assert time.process_time() - started < 10


def test_what_only_editors_need_goes():
    text = """<s:svg xmlns:s="http://www.w3.org/2000/svg" xmlns:i="urn:editor" xmlns:l="http://www.w3.org/1999/xlink" i:a="1">
    <s:metadata><s:g/></s:metadata> <i:grid><s:g/></i:grid> <s:script>x</s:script>
    <s:text> two <i:x>no</i:x>words</s:text><s:use l:href="#a" l:title="no"/><!-- no --></s:svg>"""
    assert written(text) == ('<svg xmlns="http://www.w3.org/2000/svg"><text> two words</text><use href="#a"/></svg>')


@pytest.mark.parametrize(
    ("attributes", "outside", "step"),
    [
        ({"viewBox": "0 0 16 8"}, None, 0.03125),
        ({"viewBox": "-5,-5 100 512"}, 3.0, 1.0),
        ({"width": "48px", "height": "24"}, None, 0.09375),
        ({"width": "384pt"}, None, 1.0),
        ({"width": "2IN", "height": "1pc"}, None, 0.375),
        ({"width": "100%"}, None, 1.0),
        ({"clipPathUnits": "objectBoundingBox"}, 3.0, 1 / 512),
        ({"patternTransform": "scale(2)"}, 3.0, 1.5),
        ({"viewBox": "0 0 0 8"}, None, 1.0),
        ({"viewBox": "0 0 1e99 8"}, None, 1.0),
        ({"transform": "translate(5) scale(4,1)"}, 1.0, 0.25),
        ({"transform": "rotate(30)"}, 1.0, 1.0),
        ({"transform": "matrix(.5 0 0 .5 0 0)"}, 1.0, 2.0),
        ({"transform": "scale(1e99)"}, 1.0, 1.0),
        ({"transform": "skewX(45)"}, 1.0, 0.5),
        ({"transform": "scale(2) wrong"}, 1.0, 1.0),
        ({}, 0.7, 0.7),
    ],
)
def test_the_step_of_the_grid(attributes, outside, step):
    assert step_inside(attributes, outside, 512) == step


def test_a_transform_makes_the_grid_finer():
    text = '<svg viewBox="0 0 512 512"><g transform="scale(4)"><path d="M.3.3"/></g><path d="M.3.3"/></svg>'
    assert 'd="M 0.25 0.25"' in written(text) and 'd="M 0 0"' in written(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<svg viewBox="0 0 8 8"><path d="M1e99 1"/></svg>', "too large"),
        ('<svg viewBox="0 0 8 8"><rect x="1100"/></svg>', "138 times the size of the drawing away"),
        (f"<svg><g style='fill:{'(' * 65}'/></svg>", "more than 64 brackets"),
        (f"<svg><style>{'(' * 65}</style></svg>", "more than 64 brackets"),
        ("<svg>", "no well-formed XML"),
    ],
)
def test_what_cannot_be_on_the_grid_is_refused(text, message):
    with pytest.raises(TextError, match=message):
        DOMAIN.parse(text)


@pytest.mark.parametrize(
    "settings", [{"mode": "exact"}, {"mode": "quantised", "grid": 1}, {"mode": "quantised", "grid": 9000}]
)
def test_settings_that_there_are_not(settings):
    with pytest.raises(VocabularyError, match="is not lossless or quantised"):
        SVGDomain(**settings)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.integers(0, 140)
        | st.integers(len(DOMAIN.tokens) - 1600, len(DOMAIN.tokens) + 3)
        | st.integers(0, len(DOMAIN.tokens)),
        max_size=60,
    )
)
def test_whatever_tokens_are_written_the_xml_is_well_formed(indices):
    assert ElementTree.fromstring(DOMAIN.write(indices)).tag


def test_path_data_are_whole_wherever_they_may_end():
    draw = random.Random(0)
    ends = 0
    for _ in range(60):
        state = DOMAIN.grammar.read([DOMAIN.index(token) for token in ("drawing", "el:path", "at:d")])
        read = []
        for _ in range(40):
            allowed = DOMAIN.grammar.allowed(state)
            if allowed[DOMAIN.index("/")]:
                ends += 1
                assert DOMAIN.grammar.distance(state) == 2
                text = DOMAIN.write([DOMAIN.index("el:path"), DOMAIN.index("at:d"), *read])
                again = DOMAIN.parse(text)  # a second pair of M is read as L, and radii are made to fit
                assert DOMAIN.parse(DOMAIN.write(again)) == again
            kinds = [
                kind
                for kind in (
                    *DOMAIN.grammar._commands,
                    DOMAIN.index("n:5"),
                    DOMAIN.index("far:-2"),
                    DOMAIN.index("turn:7"),
                    DOMAIN.index("arc:10"),
                )
                if allowed[kind]
            ]
            read.append(draw.choice(kinds))
            before = DOMAIN.grammar.distance(state)
            state = DOMAIN.grammar.advance(state, read[-1])
            assert before - 1 <= DOMAIN.grammar.distance(state) <= before + DOMAIN.grammar.longest_step
    assert ends > 100


def test_the_tokenizer_keeps_its_settings(tmp_path):
    tokenizer = SVGTokenizer(domain_settings={"mode": "quantised", "grid": 256})
    tokenizer.save_pretrained(tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert found.domain.settings == {"mode": "quantised", "grid": 256}
    ids = found(FLAG).input_ids
    assert ids == tokenizer(FLAG).input_ids and found.decode(ids) == SVGDomain("quantised", 256).write(ids)


def test_what_a_random_model_writes_is_well_formed():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2 + len(DOMAIN.tokens), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    prompt = torch.ones((1, 1), dtype=torch.long)
    count = 0
    for length in (9, 24):
        for mode in ({"do_sample": True, "num_return_sequences": 24}, {"num_beams": 4, "num_return_sequences": 4}, {}):
            processor = GrammarLogitsProcessor([(DOMAIN, 2)], length, only="svg", eos_token_id=0)
            found = model.generate(prompt, max_length=length, logits_processor=[processor], **mode)
            for row in found[:, 1:].tolist():
                indices = [index - 2 for index in row if index]
                assert DOMAIN.grammar.complete(DOMAIN.grammar.read(indices))
                assert np.isfinite(len(ElementTree.fromstring(DOMAIN.write(indices))))
                count += 1
    assert count == 2 * 29
