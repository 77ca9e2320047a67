import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_tokext import SVGTokenizer, domains_of, extend_model
from hf_tokext.errors import TextError
from tests.models.svg.icons import ARCS, FLAG, ICONS
from tests.tiny_models import tiny
from tests.tokenizers import byte_level


@pytest.fixture(scope="module")
def tokenizer():
    return SVGTokenizer()


def test_drawings_come_back(tokenizer):
    for text in ICONS.values():
        ids = tokenizer(text).input_ids
        assert ids == tokenizer.domain.parse(text)
        assert tokenizer.decode(ids) == tokenizer.domain.write(ids)
    batch = tokenizer([FLAG, ARCS], padding=True, return_tensors="pt")
    assert tokenizer.batch_decode(batch.input_ids) == [
        tokenizer.decode(tokenizer(text).input_ids) for text in (FLAG, ARCS)
    ]
    with pytest.raises(TextError, match="no well-formed XML"):
        tokenizer("<svg>")


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert type(found) is SVGTokenizer and found(ARCS).input_ids == tokenizer(ARCS).input_ids
    stock = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert stock(tokenizer.domain.spell(ARCS)).input_ids == tokenizer(ARCS).input_ids


def test_a_language_model_learns_the_domain():
    base = byte_level(300)
    model, new, _ = extend_model(tiny("llama", vocab_size=len(base)), base, ["svg"], calibrate=False)
    svg = domains_of(new)["svg"]
    text = f"the cat {svg.spell(FLAG)} sat"
    ids = new(text).input_ids
    assert len(ids) == len(base("the cat ").input_ids) + len(svg.parse(FLAG)) + len(base(" sat").input_ids)
    assert svg.documents(new.decode(ids)) == [svg.write(svg.parse(FLAG))]
    rows = model.get_input_embeddings().weight
    described = base("relative move to", add_special_tokens=False).input_ids
    assert (rows[new.convert_tokens_to_ids("<|svg:d:m|>")] - rows[described].mean(0)).abs().max() < 1e-6
