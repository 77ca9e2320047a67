import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext.errors import OutputExistsError, RegistrationError, VocabularyError
from hf_tokext.extend import domains as registry
from hf_tokext.extend import (
    domains_of,
    extend_checkpoint,
    extend_model,
    keep_to_grammar,
    make_domain,
    register_domain,
)
from hf_tokext.vocabulary.spaces import Spaces
from tests.tiny_models import CAUSAL, tiny, tiny_folder
from tests.tokenizers import byte_level
from tests.vocabulary.brackets import Brackets

TEXT = "the cat <|sat|> on the mat\n"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(registry, "_DOMAINS", dict(registry._DOMAINS))
    register_domain(Brackets)


def base(name="llama", **options):
    tokenizer = byte_level(300)
    return tiny(name, vocab_size=len(tokenizer) + (8 if name == "qwen2" else 0), **options), tokenizer


@pytest.mark.parametrize("name", CAUSAL)
def test_old_rows_stay_and_new_ones_are_the_mean_of_their_description(name):
    model, tokenizer = base(name)
    before = model.get_input_embeddings().weight.detach().clone()
    model, new, report = extend_model(model, tokenizer, ["brackets"], calibrate=False)
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight[: len(tokenizer)], before[: len(tokenizer)])
    space = Spaces.read(new)["brackets"]
    assert (space.base, space.size) == (len(tokenizer), len(Brackets().tokens))
    described = {"<|brackets:round|>": "round bracket", "<|brackets:a|>": "brackets a"}
    for text, words in described.items():
        expected = before[tokenizer(words).input_ids].mean(0)
        assert torch.allclose(weight[new.convert_tokens_to_ids(text)], expected, atol=1e-6)
        head = model.get_output_embeddings().weight
        assert head.shape[0] == weight.shape[0] == model.config.get_text_config().vocab_size
    assert report.counts["override"] == space.size


@pytest.mark.parametrize("tied", [True, False])
def test_calibrated_too_old_rows_stay(tied):
    """A token that a single old one describes has a row like its own, and takes nothing from it."""
    model, tokenizer = base(tied=tied)
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    before = [table.detach().clone() for table in tables]
    described = {f"<|brackets:{token}|>": "the" for token in Brackets().tokens}
    model, _, report = extend_model(model, tokenizer, ["brackets"], descriptions=described)
    after = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new[: len(old)], old)
    assert report.counts["override"] == len(described)


def test_documents_are_one_id_a_token_anywhere_and_come_back():
    model, tokenizer = base()
    _, new, _ = extend_model(model, tokenizer, [Brackets("xyz")])
    assert new(TEXT).input_ids == tokenizer(TEXT).input_ids
    domain = domains_of(new)["brackets"]
    start = Spaces.read(new)["brackets"].base
    text = f"the{domain.spell('(x)[y]')}cat {domain.spell('z')}"
    ids = new(text).input_ids
    assert ids == [
        *tokenizer("the").input_ids, *(start + i for i in domain.parse("(x)[y]")),
        *tokenizer("cat ").input_ids, *(start + i for i in domain.parse("z")),
    ]  # fmt: skip
    assert new.decode(ids, skip_special_tokens=True) == text
    assert domain.documents(new.decode(ids)) == ["(x)[y]", "z"]
    assert domain.documents(new.decode(ids[:3])) == ["()"]  # cut off
    assert domain.documents("<|brackets:round|> <|svg:path|>") == []


def test_a_second_domain_comes_beside_the_first():
    class Others(Brackets):
        name = "others"

    model, tokenizer = base()
    model, once, _ = extend_model(model, tokenizer, ["brackets"])
    kept = model.get_input_embeddings().weight.detach().clone()
    model, twice, _ = extend_model(model, once, [register_domain(Others)("pq")])
    assert list(domains_of(twice)) == ["brackets", "others"]
    assert domains_of(twice)["others"].settings == {"letters": "pq"}
    assert torch.equal(model.get_input_embeddings().weight[: len(kept)], kept)
    assert list(domains_of(once)) == ["brackets"] and not domains_of(tokenizer)
    with pytest.raises(VocabularyError, match="extended by 'others' before"):
        extend_model(model, twice, ["others"])


@pytest.mark.parametrize("tied", [True, False])
def test_a_checkpoint_is_extended_into_a_new_folder(tied, tmp_path):
    tokenizer = byte_level(300)
    tiny_folder("llama", tmp_path / "base", vocab_size=len(tokenizer), tied=tied)
    tokenizer.save_pretrained(tmp_path / "base")
    report = extend_checkpoint(tmp_path / "base", tmp_path / "out", [Brackets("xyz")])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    new = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert report.verification and domains_of(new)["brackets"].settings == {"letters": "xyz"}
    held, expected, _ = extend_model(*_loaded(tmp_path / "base"), [Brackets("xyz")])
    assert torch.allclose(model.get_input_embeddings().weight, held.get_input_embeddings().weight, atol=1e-6)
    assert torch.allclose(model.get_output_embeddings().weight, held.get_output_embeddings().weight, atol=1e-6)
    assert new.get_vocab() == expected.get_vocab()
    with pytest.raises(OutputExistsError):
        extend_checkpoint(tmp_path / "base", tmp_path / "out", ["brackets"])
    new.save_pretrained(tmp_path / "again")
    assert list(domains_of(AutoTokenizer.from_pretrained(tmp_path / "again"))) == ["brackets"]


def _loaded(folder):
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_generation_is_kept_to_the_grammar():
    model, tokenizer = base()
    model, new, _ = extend_model(model, tokenizer, ["brackets"])
    domain = domains_of(new)["brackets"]
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.mul_(4)
    prompt = new("the cat: ", return_tensors="pt")
    found = model.generate(
        **prompt, max_length=40, do_sample=True, num_return_sequences=20,
        logits_processor=[keep_to_grammar(new, 40, only="brackets")],
    )  # fmt: skip
    start = prompt.input_ids.shape[1]
    for row in found:
        text = new.decode(row[start:]).split("</s>")[0]
        (document,) = domain.documents(text)
        assert text == domain.spell(document)
    with pytest.raises(VocabularyError, match="no domains"):
        keep_to_grammar(tokenizer)


def test_other_ways_to_make_rows():
    model, tokenizer = base()
    before = model.get_input_embeddings().weight.detach().clone()
    model, new, _ = extend_model(model, tokenizer, ["brackets"], method="pieces", calibrate=False)
    row = model.get_input_embeddings().weight[new.convert_tokens_to_ids("<|brackets:a|>")]
    assert torch.allclose(row, before[tokenizer("<|brackets:a|>").input_ids].mean(0), atol=1e-6)
    model, tokenizer = base()
    model, new, _ = extend_model(
        model, tokenizer, ["brackets"], method="mean", descriptions={"<|brackets:a|>": "cat"}, calibrate=False
    )
    weight, before = model.get_input_embeddings().weight, base()[0].get_input_embeddings().weight
    assert torch.allclose(weight[new.convert_tokens_to_ids("<|brackets:b|>")], before.mean(0), atol=1e-6)
    expected = before[tokenizer("cat").input_ids].mean(0)
    assert torch.allclose(weight[new.convert_tokens_to_ids("<|brackets:a|>")], expected, atol=1e-6)


def test_a_description_that_the_tokenizer_cannot_spell_is_no_obstacle():
    model, tokenizer = base()
    core = tokenizer.backend_tokenizer
    described = {"<|brackets:a|>": "", "<|brackets:b|>": "cat"}
    before = model.get_input_embeddings().weight.detach().clone()
    model, new, report = extend_model(model, tokenizer, ["brackets"], descriptions=described, calibrate=False)
    row = model.get_input_embeddings().weight[new.convert_tokens_to_ids("<|brackets:a|>")]
    assert torch.allclose(row, before[core.encode("<|brackets:a|>").ids].mean(0), atol=1e-6)
    assert report.counts["compose"] == 1


def test_what_cannot_be_done_is_refused():
    model, tokenizer = base()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(VocabularyError, match="no domain 'svgs'; the domains are box, brackets, .*svg"):
        extend_model(model, tokenizer, ["svgs"])
    with pytest.raises(VocabularyError, match="no domain is named"):
        extend_model(model, tokenizer, [])
    with pytest.raises(VocabularyError, match="is described, but is no token"):
        extend_model(model, tokenizer, ["brackets"], descriptions={"round": "round bracket"})
    with pytest.raises(VocabularyError, match="cannot be made with"):
        make_domain("brackets", {"size": 3})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(RegistrationError, match="choose another name"):
        register_domain(type("Svg", (Brackets,), {"name": "svg"}))
    _, new, _ = extend_model(model, tokenizer, [Brackets("xyz")])
    new.init_kwargs["tokext_spaces"][0]["settings"] = {"letters": "xy"}
    with pytest.raises(VocabularyError, match="another version of domain 'brackets'"):
        domains_of(new)
