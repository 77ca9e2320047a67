"""Codes beside a model's own vocabulary: rows, markers, and what cannot be."""

import pytest
import torch

from hf_tokext import UnsupportedModelError, VocabularyError, extend_with_codecs
from hf_tokext.extend import extend_model
from hf_tokext.vocabulary.spaces import Spaces
from tests.models.multimodal.conftest import codecs, make
from tests.models.multimodal.test_generation import check
from tests.tiny_models import tiny
from tests.tokenizers import byte_level


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_codes_are_as_far_from_each_other_as_their_vectors(tied):
    model, processor = make("image", lm="llama", tied=tied, quantizer="vq")
    space, codec = processor.spaces["image"], model.senses["image"].codec
    vectors = codec.shares(torch.zeros(16, dtype=torch.long), torch.arange(16))
    far = torch.pdist(vectors)
    for table in {id(each.weight): each.weight for each in (
        model.get_input_embeddings(), model.get_output_embeddings()
    )}.values():  # fmt: skip
        rows = table[space.base : space.base + 16]
        found = torch.pdist(rows)
        torch.testing.assert_close(found / found.mean(), far / far.mean(), atol=1e-3, rtol=1e-3)
        usual = table[:290]
        length = [(each - usual.mean(0)).square().sum(1).mean().sqrt() for each in (rows, usual)]
        torch.testing.assert_close(length[0], length[1], atol=1e-4, rtol=1e-3)


def test_text_is_encoded_as_before_and_markers_are_one_id_each():
    tokenizer = byte_level()
    _, processor = make()
    for text in ("the cat sat", "<|image", "a <|picture|> é"):
        assert processor.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    for space in processor.spaces.values():
        for text, index in zip(space.marker_texts, space.markers, strict=True):
            assert processor.tokenizer(f"a{text}b", add_special_tokens=False)["input_ids"][1:-1] == [index]
    assert len(tokenizer) == 290  # it is not changed


def test_logits_of_the_new_ids_are_lowered():
    """On a model whose states have a common direction, which new rows are laid against."""
    torch.manual_seed(0)
    base = tiny("llama", vocab_size=290, tied=False)
    with torch.no_grad():  # an untrained model has no such direction; a norm with a bias of sorts gives it one
        base.model.norm.weight.fill_(0.05)
        base.model.norm.register_forward_hook(lambda _, __, states: states + torch.ones_like(states))
        base.get_output_embeddings().weight.add_(0.1)
    model, _ = extend_with_codecs(base, byte_level(), codecs("image"), calibrate=True)
    ids = torch.randint(3, 290, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(ids).logits
    new = slice(293, 293 + 24)
    assert (logits[..., new].mean() - logits[..., :290].mean()) < -2


def test_a_head_with_a_bias_gets_biases():
    base = tiny("llama", vocab_size=290, tied=False)
    base.lm_head = torch.nn.Linear(16, 290)
    with torch.no_grad():
        base.lm_head.bias.fill_(0.5)
    model, processor = extend_with_codecs(base, byte_level(), codecs("image"), calibrate=False)
    bias = model.get_output_embeddings().bias
    assert len(bias) == model.config.vocab_size and (bias == 0.5).all()
    assert processor.spaces["image"].base == 293


def test_rows_that_a_model_has_to_spare_are_left_alone():
    base = tiny("llama", vocab_size=320)  # more rows than the tokenizer has tokens
    before = base.get_input_embeddings().weight[290:].clone()
    model, processor = extend_with_codecs(base, byte_level(), codecs("image"), calibrate=False)
    space = processor.spaces["image"]
    assert space.markers == (290, 291, 292) and space.base == 320
    assert torch.equal(model.get_input_embeddings().weight[293:320], before[3:])


def test_seeds_decide():
    one, again, other = (make("image", seed=0)[0], make("image", seed=0)[0], make("image", seed=1)[0])
    same, differs = (
        torch.equal(one.get_input_embeddings().weight, each.get_input_embeddings().weight) for each in (again, other)
    )
    assert same and not differs
    for kind, read in (("rvq", "codebook"), ("none", "latent")):
        one, other = (make("image", image={"input": read}, quantizer=kind)[0].senses["image"] for _ in range(2))
        for name, value in one.projector.state_dict().items():
            assert torch.equal(value, other.projector.state_dict()[name])


@pytest.mark.parametrize("lm", ["llama", "gemma3"])  # Gemma's embeddings are its rows times the root of their length
def test_a_projector_begins_with_embeddings_like_those_of_tokens(lm):
    model, processor = make("image", lm=lm, image={"input": "codebook"}, quantizer="vq")
    sense, usual = model.senses["image"], model.get_input_embeddings()(torch.arange(290))
    found = sense.projector(sense.vectors(torch.arange(16) + processor.spaces["image"].base))
    torch.testing.assert_close(found.mean(0), usual.mean(0), atol=1e-4, rtol=1e-3)
    lengths = [(each - each.mean(0)).square().sum(1).mean().sqrt() for each in (found, usual)]
    torch.testing.assert_close(*lengths, atol=1e-4, rtol=1e-3)


def test_domains_go_on_first_and_stay():
    base, tokenizer, _ = extend_model(tiny("llama", vocab_size=290), byte_level(), ["molecule"], calibrate=False)
    model, processor = extend_with_codecs(base, tokenizer, codecs("image"), calibrate=False)
    assert list(Spaces.read(processor.tokenizer)) == ["molecule", "image"]
    from hf_tokext import domains_of, keep_to_grammar

    assert list(domains_of(processor.tokenizer)) == ["molecule"]
    keep = keep_to_grammar(processor.tokenizer, 202)
    torch.manual_seed(0)
    prompt = torch.tensor([[5, 6]])
    written = model.generate(
        prompt, max_new_tokens=200, do_sample=True, top_k=0, num_return_sequences=8, logits_processor=[keep]
    )
    assert sum(check(processor, row)["image"] for row in written) >= 1


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ((), {}, "no modality is named"),
        (("image",), {"photo": {}}, "'photo' is neither a modality"),
        (("image",), {"image": {"colour": 1}}, "'colour' is neither"),
        (("image",), {"image": {"layout": "sideways"}}, "one of flat, interleave, delay"),
        (("image",), {"image": {"input": "latent"}}, "has codes, not latents: input is ids or codebook"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changed(names, options, message):
    base, made = tiny("llama", vocab_size=290), codecs("image") if names else {}
    before = base.get_input_embeddings().weight.clone()
    with pytest.raises(VocabularyError, match=message):
        extend_with_codecs(base, byte_level(), made, options=options, calibrate=False)
    assert torch.equal(base.get_input_embeddings().weight, before)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("image", {"image": {"flow_layers": 0}}, "must be a whole number, at least 1"),
        ("image", {"image": {"projector_size": 0, "input": "codebook"}}, "must be a whole number, at least 1"),
        ("attention", {}, "cannot be called 'attention'"),
    ],
)
def test_what_fails_late_changes_nothing_either(name, options, message):
    base, made = tiny("llama", vocab_size=290), codecs("image")["image"]
    with pytest.raises(VocabularyError, match=message):
        extend_with_codecs(base, byte_level(), {name: made}, options=options, calibrate=False)
    assert len(base.get_input_embeddings().weight) == base.config.vocab_size == 290


def test_other_models_and_names_are_refused():
    made = codecs("image")
    with pytest.raises(VocabularyError, match="cannot be called 'my image'"):
        extend_with_codecs(tiny("llama", vocab_size=290), byte_level(), {"my image": made["image"]})
    with pytest.raises(UnsupportedModelError, match="no causal language model"):
        extend_with_codecs(tiny("t5", vocab_size=290), byte_level(), made)
    model, processor = make("image")
    with pytest.raises(VocabularyError, match="has modalities already"):
        extend_with_codecs(model, processor.tokenizer, codecs("speech"))
    tokenizer = byte_level()
    tokenizer.add_tokens(["<|image|>"])
    with pytest.raises(VocabularyError, match=r"has '<\|image\|>' already"):
        extend_with_codecs(tiny("llama", vocab_size=291), tokenizer, made)
