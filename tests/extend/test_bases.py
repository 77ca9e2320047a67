"""Domains on bases of every kind: what the base was stays, id by id and bit by bit."""

import json

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from hf_tokext.errors import VocabularyError
from hf_tokext.extend import domains as registry
from hf_tokext.extend import domains_of, extend_checkpoint, extend_model, register_domain
from hf_tokext.vocabulary.spaces import Spaces
from tests.another_process import run_program
from tests.handmade import metaspace
from tests.tiny_models import tiny, tiny_folder
from tests.tokenizers import TEXT, byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like
from tests.vocabulary.brackets import Brackets

DOCUMENT = "(a)[b]"
AROUND = ("{}", "x{}y", " {} ", "\n{}\n", "The{}The", "{}{}", "é{}\u0301x", "A.{}.", "[MASK]{}</s>", "12{}34")


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(registry, "_DOMAINS", dict(registry._DOMAINS))
    register_domain(Brackets)


def wordpiece():
    """Lower-cased; `##!` and `!` have the same bytes, and padding is on."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "!", "##!", "##a", "##t", "c", "brackets"]
    core = Tokenizer(models.WordPiece({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens[:5]])
    core.enable_padding(length=16)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")


def unigram():
    """Lower-cased and NFKC, with a space before every text, and an added token of its own that is spelt much alike."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁the", -2.0), ("▁", -3.0)] + [(c, -4.0) for c in "abcdefghktrs<|>:x"]
    core = Tokenizer(models.Unigram(pieces, unk_id=0))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.add_special_tokens([AddedToken("</s>", special=True, normalized=False)])
    core.add_tokens(["<|brackets", "|>"])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


BASES = {
    "byte-level": lambda: byte_level(300),
    "SentencePiece-like": sentencepiece_like,
    "metaspace with runs of spaces": lambda: metaspace(["a", "b", "ab", "▁"], added=("  ", "\n\n")),
    "WordPiece": wordpiece,
    "Unigram": unigram,
}


@pytest.mark.parametrize("spare", [0, 40])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", BASES)
def test_ids_rows_and_logits_of_the_base_are_the_same_bit_by_bit(name, tied, spare):
    tokenizer = BASES[name]()
    ids = len(tokenizer)
    model = tiny("llama", vocab_size=ids + spare, tied=tied)
    texts = [TEXT, "The Cat! ca! <|brackets <|brackets:|> \uff21\ufb01", "</s>[MASK] a  b\n\n"]
    given = torch.tensor([[index % ids for index in range(50)]])
    with torch.no_grad():
        before = model(given).logits
    tables = [model.get_input_embeddings().weight.clone(), model.get_output_embeddings().weight.clone()]
    model, new, report = extend_model(model, tokenizer, ["brackets"])
    assert [new(text).input_ids for text in texts] == [tokenizer(text).input_ids for text in texts]
    assert len(model.get_input_embeddings().weight) == max(ids + spare, len(new))
    for old, module in zip(tables, (model.get_input_embeddings(), model.get_output_embeddings()), strict=True):
        kept = [index for index in range(len(old)) if index not in Spaces.read(new)["brackets"]]
        assert torch.equal(module.weight[kept], old[kept])
    with torch.no_grad():
        assert torch.equal(model(given).logits[..., kept], before[..., kept])
    assert not report.warnings or not any("numbers" in warning for warning in report.warnings)


@pytest.mark.parametrize("name", BASES)
def test_a_token_is_one_id_whatever_stands_around_it(name):
    _, new, _ = extend_model(tiny("llama", vocab_size=len(BASES[name]())), BASES[name](), ["brackets"], calibrate=False)
    domain, space = domains_of(new)["brackets"], Spaces.read(new)["brackets"]
    wanted = space.ids(domain.parse(DOCUMENT))
    for around in AROUND:
        ids = new(around.replace("{}", domain.spell(DOCUMENT)), add_special_tokens=False).input_ids
        assert [index for index in ids if index in space] == wanted * around.count("{}"), around
        for skip in (False, True):
            found = domain.documents(new.decode(ids, skip_special_tokens=skip))
            assert found == [DOCUMENT] * around.count("{}"), around


def test_another_process_without_this_package_gives_the_same_ids_and_logits(tmp_path):
    tokenizer = byte_level(300)
    tiny_folder("llama", tmp_path / "base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "base")
    extend_checkpoint(tmp_path / "base", tmp_path / "out", ["brackets"])
    new = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = f"the cat {domains_of(new)['brackets'].spell(DOCUMENT)} sat"
    code = (
        "import sys, json, torch; from transformers import AutoTokenizer, AutoModelForCausalLM\n"
        "folder, text = sys.argv[1:]\n"
        "ids = AutoTokenizer.from_pretrained(folder)(text).input_ids\n"
        "logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([ids])).logits\n"
        "print(json.dumps([ids, logits[0, -1].tolist(), 'hf_tokext' in sys.modules]))"
    )
    done = run_program(code, tmp_path / "out", text)
    assert done.returncode == 0, done.stderr
    ids, logits, imported = json.loads(done.stdout)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert ids == new(text).input_ids and not imported
    assert torch.allclose(torch.tensor(logits), model(torch.tensor([ids])).logits[0, -1], atol=1e-5)


def test_what_generation_was_told_stays(tmp_path):
    """Ids that config and generation config name are those of the base, even where its tokenizer names others."""
    tokenizer = byte_level(300)
    model = tiny("llama", vocab_size=len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = [7, 9]
    model.generation_config.bad_words_ids = [[11]]
    model.generation_config.suppress_tokens = [12]
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    extend_checkpoint(tmp_path / "base", tmp_path / "out", ["brackets"])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    held, _, _ = extend_model(model, tokenizer, ["brackets"])
    for found in (loaded, held):
        assert found.config.eos_token_id == found.generation_config.eos_token_id == [7, 9]
        assert found.generation_config.bad_words_ids == [[11]] and found.generation_config.suppress_tokens == [12]


def test_an_added_token_that_the_base_has_no_row_for_gets_one(tmp_path):
    """As the marker of images in Gemma 3's models of text, whose id is one past the table."""
    tokenizer = byte_level(300)
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    tiny_folder("gemma3", tmp_path / "base", vocab_size=rows)
    tokenizer.save_pretrained(tmp_path / "base")
    extend_checkpoint(tmp_path / "base", tmp_path / "out", ["brackets"])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    new = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert Spaces.read(new)["brackets"].base == rows + 1 and len(model.get_input_embeddings().weight) == len(new)
    assert torch.equal(model.get_input_embeddings().weight[:rows], base.get_input_embeddings().weight)
    held, _, _ = extend_model(base, tokenizer, ["brackets"])
    assert torch.allclose(held.get_input_embeddings().weight, model.get_input_embeddings().weight, atol=1e-6)


def test_a_tokenizer_that_transformers_rebuilds_rightly_needs_no_code(tmp_path):
    plain = byte_level(300)
    vocab = json.loads(plain.backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in vocab["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=vocab["vocab"], merges=merges, pad_token="<pad>", eos_token="</s>")
    tiny_folder("qwen2", tmp_path / "base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "base")
    extend_checkpoint(tmp_path / "base", tmp_path / "out", ["brackets"])
    assert not list((tmp_path / "out").glob("*.py"))
    new = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
    domain = domains_of(new)["brackets"]
    assert type(new) is Qwen2Tokenizer
    assert new(domain.spell(DOCUMENT)).input_ids == Spaces.read(new)["brackets"].ids(domain.parse(DOCUMENT))


def test_a_tokenizer_whose_ids_have_gaps_is_refused():
    spec = json.loads(byte_level(300).backend_tokenizer.to_str())
    vocabulary = spec["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.get)] += 7
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)), eos_token="</s>")
    with pytest.raises(VocabularyError, match="ids have gaps"):
        extend_model(tiny("llama", vocab_size=310), tokenizer, ["brackets"])
