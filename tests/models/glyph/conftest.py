"""A tiny font, and what is made of it."""

import pytest

from hf_tokext import GlyphConfig, GlyphForCausalLM, GlyphTokenizer
from hf_tokext.models.blocks.markers import MARKERS
from hf_tokext.models.glyph.rendering import render_glyphs
from tests.tiny_models import tiny_config

BDF = """STARTFONT 2.1
FONT tiny
SIZE 8 75 75
FONTBOUNDINGBOX 8 8 0 -2
CHARS 4
STARTCHAR space
ENCODING 32
BBX 0 0 0 0
BITMAP
ENDCHAR
STARTCHAR A
ENCODING 65
SWIDTH 500 0
DWIDTH 6 0
BBX 5 6 1 0
BITMAP
20
50
88
F8
88
88
ENDCHAR
STARTCHAR comma
ENCODING 44
BBX 2 3 0 -2
BITMAP
40
40
80
ENDCHAR
STARTCHAR Alpha
ENCODING 913
BBX 5 6 1 0
BITMAP
20
50
88
F8
88
88
ENDCHAR
STARTCHAR faraway
ENCODING 128578
BBX 1 1 0 0
BITMAP
80
ENDCHAR
ENDFONT
"""


@pytest.fixture(scope="session")
def bdf(tmp_path_factory):
    path = tmp_path_factory.mktemp("font") / "tiny.bdf"
    path.write_text(BDF)
    return path


@pytest.fixture(scope="session")
def glyphs(bdf):
    return render_glyphs(bdf, MARKERS)


@pytest.fixture(scope="session")
def tokenizer():
    return GlyphTokenizer()


@pytest.fixture(scope="session")
def fresh(glyphs):
    """Make a model; pictures where it needs them."""

    def make(name="llama", embedding="glyph", kind=GlyphForCausalLM, **changes):
        backbone = tiny_config(name, tied=True, vocab_size=50, layers=2)
        for key, value in changes.items():
            setattr(backbone, key, value)
        config = GlyphConfig(backbone_config=backbone, embedding=embedding)
        return kind(config, glyphs if embedding == "glyph" else None)

    return make
