"""The whole way: folders and objects of every architecture, reloaded with the Auto classes."""

import json
import shutil

import pytest
import torch
import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, TokenizersBackend

from hf_tokext import ByteTokenizer, register_family
from hf_tokext.errors import OutputExistsError, RowMethodError, UnsupportedModelError, VocabularyError
from hf_tokext.rows import register_row_method
from hf_tokext.rows.problem import Rows
from hf_tokext.transplant import transplant_checkpoint, transplant_tokenizer
from hf_tokext.transplant.report import REPORT_JSON
from tests.tiny_models import CAUSAL, ENCODER_DECODERS, MASKED, tiny_folder
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

OTHER = "a wholly different text about rivers, boats and bridges; rivers and boats again, under bridges " * 4
ALL = (*CAUSAL, *MASKED, *ENCODER_DECODERS)


def base_folder(path, name="llama", **options):
    tokenizer = byte_level(300, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    spare = 8 if name == "qwen2" else 0  # its class adds tokens of its own
    tiny_folder(name, path, vocab_size=len(tokenizer) + spare, **options)
    tokenizer.save_pretrained(path)
    return path


def other_tokenizer(size=310):
    return byte_level(size, text=OTHER, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def reload(folder):
    config = json.loads((folder / "config.json").read_text())
    return getattr(transformers, config["architectures"][0]).from_pretrained(folder)


def logits(model, ids):
    extra = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.eval()(input_ids=ids, **extra).logits


@pytest.mark.parametrize("name", ALL)
def test_every_architecture(name, tmp_path):
    base = base_folder(tmp_path / "base", name)
    before = {p.name: p.read_bytes() for p in base.iterdir()}
    other_tokenizer().save_pretrained(tmp_path / "donor")
    report = transplant_checkpoint(base, tmp_path / "donor", tmp_path / "out", pad_to_multiple_of=64)
    assert {p.name: p.read_bytes() for p in base.iterdir()} == before
    model, old = reload(tmp_path / "out"), reload(base)
    assert model.get_input_embeddings().weight.shape[0] == report.rows == 320
    new_tok, old_tok = AutoTokenizer.from_pretrained(tmp_path / "out"), AutoTokenizer.from_pretrained(base)
    for token in ("a", "Ġ", "b", "</s>"):
        new_id, old_id = new_tok.convert_tokens_to_ids(token), old_tok.convert_tokens_to_ids(token)
        assert torch.equal(model.get_input_embeddings().weight[new_id], old.get_input_embeddings().weight[old_id]), (
            token
        )
    # text that both cut into the same pieces is read alike: the logits of copied ids differ by a constant at most
    text = "b a b"
    pieces = new_tok.tokenize(text)
    if pieces == old_tok.tokenize(text):
        new_ids, old_ids = (torch.tensor([t(text, add_special_tokens=False).input_ids]) for t in (new_tok, old_tok))
        pairs = [(new_tok.convert_tokens_to_ids(t), old_tok.convert_tokens_to_ids(t)) for t in ("a", "b", "</s>")]
        got = logits(model, new_ids)[..., [p[0] for p in pairs]]
        assert torch.allclose(got, logits(old, old_ids)[..., [p[1] for p in pairs]], atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_objects_equal_folders(name, tmp_path):
    base = base_folder(tmp_path / "base", name)
    donor = other_tokenizer()
    transplant_checkpoint(base, donor, tmp_path / "out")
    own = PreTrainedTokenizerFast.from_pretrained(base)  # the file as it is; Qwen2Tokenizer would add a token
    model, tokenizer, report = transplant_tokenizer(reload(base), own, donor)
    folder_model = reload(tmp_path / "out")
    expected = folder_model.state_dict()
    for key, value in model.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-5), key
    assert len(tokenizer) == report.rows
    model.save_pretrained(tmp_path / "saved")
    again = reload(tmp_path / "saved")
    ids = torch.arange(3, 20)[None]
    assert torch.equal(logits(again, ids), logits(model, ids))
    again.train()
    model.train()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shards", ["5GB", "20KB"])
def test_donor_is_base_gives_bit_equal_weights(tied, dtype, shards, tmp_path):
    base = base_folder(tmp_path / "base", tied=tied, dtype=dtype, max_shard_size=shards)
    transplant_checkpoint(base, base, tmp_path / "out")
    for key, value in reload(base).state_dict().items():
        got = reload(tmp_path / "out").state_dict()[key]
        assert got.dtype == value.dtype and torch.equal(got, value), key


def test_sentencepiece_onto_byte_level_and_back(tmp_path):
    base = base_folder(tmp_path / "base")
    sentencepiece_like().save_pretrained(tmp_path / "donor")
    report = transplant_checkpoint(base, tmp_path / "donor", tmp_path / "out")
    assert report.counts["anchor"] > 150 and report.counts["quiet"] >= 26
    quiet = [index for index, source in enumerate(report.sources) if source == "quiet"]
    assert reload(tmp_path / "out").generation_config.suppress_tokens == quiet
    # an untrained model's states have no common direction, so the mass cannot be lowered; then it is said
    assert any("not calibrated" in warning for warning in report.warnings)
    assert any("never used hold" in warning for warning in report.warnings)
    back = transplant_checkpoint(tmp_path / "out", base, tmp_path / "back")
    assert back.counts["anchor"] > 150


def test_code_of_the_base_is_not_named_where_it_does_not_come_along(tmp_path):
    base = base_folder(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "modeling_x.M"}}))
    (base / "modeling_x.py").write_text("")
    transplant_checkpoint(base, other_tokenizer(), tmp_path / "out")
    assert "auto_map" not in json.loads((tmp_path / "out" / "config.json").read_text())


@pytest.mark.parametrize("name", ["llama", "qwen2"])
@pytest.mark.parametrize("given", ["object", "folder"])
def test_a_donor_of_a_registered_class_keeps_it(name, given, tmp_path):
    donor = ByteTokenizer(errors="escape")
    donor.save_pretrained(tmp_path / "bytes")
    base = base_folder(tmp_path / "base", name)
    transplant_checkpoint(base, donor if given == "object" else tmp_path / "bytes", tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ("auto_map" in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())) == (name == "qwen2")
    assert type(loaded) is ByteTokenizer and loaded.errors == "escape"
    assert loaded("a\ud800\0é").input_ids == donor("a\ud800\0é").input_ids


class Lowercasing(PreTrainedTokenizerFast):
    """A registered class that does in Python what no tokenizer.json says."""

    def _encode_plus(self, text, *args, **kwargs):
        return super()._encode_plus(text.lower() if isinstance(text, str) else text, *args, **kwargs)


class LowercasingConfig(transformers.PreTrainedConfig):
    model_type = "test_lowercasing"


def test_a_donors_class_of_other_ids_than_its_file_is_dropped_and_said(tmp_path):
    register_family(LowercasingConfig, tokenizer=Lowercasing, tokenizer_only=True)
    own = Lowercasing(tokenizer_object=other_tokenizer().backend_tokenizer, eos_token="</s>", bos_token="<s>")
    own.save_pretrained(tmp_path / "donor")
    report = transplant_checkpoint(base_folder(tmp_path / "base"), tmp_path / "donor", tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert type(loaded) is TokenizersBackend and [w for w in report.warnings if "no Lowercasing any more" in w]


def test_a_donors_class_survives_a_token_that_only_its_config_names(tmp_path):
    ByteTokenizer().save_pretrained(tmp_path / "donor")
    path = tmp_path / "donor" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mask_token": "<mask>"}))
    transplant_checkpoint(base_folder(tmp_path / "base"), tmp_path / "donor", tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert type(loaded) is ByteTokenizer and loaded.mask_token_id == 260


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, "{"])
def test_a_damaged_config_of_the_donors_tokenizer_is_named(tmp_path, content):
    other_tokenizer().save_pretrained(tmp_path / "donor")
    (tmp_path / "donor" / "tokenizer_config.json").write_text(content)
    with pytest.raises(VocabularyError, match=r"tokenizer_config\.json|no tokenizer that transformers can load"):
        transplant_checkpoint(base_folder(tmp_path / "base"), tmp_path / "donor", tmp_path / "out")


def test_ids_that_are_given_are_not_trained(tmp_path):
    tiny_folder("llama", tmp_path / "base", vocab_size=260)
    ByteTokenizer().save_pretrained(tmp_path / "base")
    with pytest.raises(UnsupportedModelError, match="given, not learnt"):
        transplant_checkpoint(tmp_path / "base", None, tmp_path / "out", train_on=[OTHER], vocab_size=300)


def test_no_stale_file_of_the_base_survives(tmp_path):
    base = base_folder(tmp_path / "base")
    for stale in ("tokenizer.model", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"):
        (base / stale).write_text("{}")
    transplant_checkpoint(base, other_tokenizer(), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not names & {"tokenizer.model", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"}
    assert REPORT_JSON in names


def test_train_on_text(tmp_path):
    base = base_folder(tmp_path / "base")
    report = transplant_checkpoint(base, None, tmp_path / "out", train_on=[OTHER], vocab_size=280, texts=[OTHER])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "rivers \x00\x7f é 漢 and boats"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
    assert report.text["tokens_after"] < report.text["tokens_before"]
    assert [warning for warning in report.warnings if "llama.cpp" in warning]


def test_override_and_its_errors(tmp_path):
    base = base_folder(tmp_path / "base")
    donor = other_tokenizer()
    transplant_checkpoint(base, donor, tmp_path / "out", overrides={"a": "</s>"})
    new, old = reload(tmp_path / "out").get_input_embeddings().weight, reload(base).get_input_embeddings().weight
    at = AutoTokenizer.from_pretrained(tmp_path / "out").convert_tokens_to_ids("a")
    assert torch.equal(new[at], old[2])
    with pytest.raises(VocabularyError, match="no token of the new tokenizer"):
        transplant_checkpoint(base, donor, tmp_path / "x", overrides={"nothing like it": "a"})


def test_dry_run_writes_nothing(tmp_path):
    base = base_folder(tmp_path / "base")
    report = transplant_checkpoint(base, other_tokenizer(), tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists() and report.counts["anchor"] > 200


def test_existing_output_is_kept_unless_overwrite(tmp_path):
    base = base_folder(tmp_path / "base")
    out = base_folder(tmp_path / "out", "gpt2")
    with pytest.raises(OutputExistsError):
        transplant_checkpoint(base, other_tokenizer(), out)
    assert json.loads((out / "config.json").read_text())["model_type"] == "gpt2"
    transplant_checkpoint(base, other_tokenizer(), out, overwrite=True)
    assert json.loads((out / "config.json").read_text())["model_type"] == "llama"


def test_failure_leaves_nothing(tmp_path):
    @register_row_method("broken-for-test")
    def broken(problem):
        return Rows(torch.full((len(problem.wanted), problem.base.shape[1]), float("nan")))

    base = base_folder(tmp_path / "base")
    with pytest.raises(RowMethodError, match="not finite"):
        transplant_checkpoint(base, other_tokenizer(), tmp_path / "out", method="broken-for-test")
    assert {path.name for path in tmp_path.iterdir() if not path.name.endswith("lock")} == {"base"}


def test_tokenizer_with_ids_past_the_table_is_refused(tmp_path):
    base = base_folder(tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    tiny_folder("llama", base, vocab_size=200)
    byte_level(300, bos_token="<s>", eos_token="</s>").save_pretrained(base)
    with pytest.raises(VocabularyError, match="does not belong"):
        transplant_checkpoint(base, other_tokenizer(), tmp_path / "out")


def test_generation_config_and_gpt2_roles(tmp_path):
    base = base_folder(tmp_path / "base")
    donor = byte_level(300, text=OTHER, bos_token="</s>", eos_token="</s>", unk_token="</s>")
    report = transplant_checkpoint(base, donor, tmp_path / "out")
    model = reload(tmp_path / "out")
    assert model.generation_config.eos_token_id == model.config.eos_token_id == 2
    assert torch.equal(model.get_input_embeddings().weight[2], reload(base).get_input_embeddings().weight[2])
    assert report.verification["end of sequence"] == "ids [2] stop generation"


def test_tiny_covers_nested_config(tmp_path):
    base = base_folder(tmp_path / "base", "gemma3_multimodal")
    transplant_checkpoint(base, other_tokenizer(), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["text_config"]["vocab_size"] == len(
        other_tokenizer()
    )
