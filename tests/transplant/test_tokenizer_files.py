import base64
import json

import pytest
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from hf_tokext.errors import UnsafeCheckpointError, VocabularyError
from hf_tokext.transplant.tokenizer_files import TOKENIZER_FILES, load_tokenizer, tokenizer_folder, write_tokenizer
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.tiny_models import tiny_config
from tests.tokenizers import byte_level

BASE_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
DONOR_TEMPLATE = "{% for m in messages %}[INST]{{ m.content }}{% endfor %}"


def with_markers(*markers, special=True):
    tokenizer = byte_level(300)
    tokenizer.add_tokens([AddedToken(marker, special=special, normalized=False) for marker in markers])
    return tokenizer


def folder_of(path, tokenizer, template=None):
    tokenizer.save_pretrained(path)
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    return path


@pytest.fixture
def written(tmp_path):
    """Writes the donor's tokenizer into a new folder; gives the folder and the warnings."""

    def write(base, donor, name="out"):
        out = tmp_path / name
        out.mkdir()
        tiny_config("llama", tied=False, vocab_size=400).save_pretrained(out)
        tokenizer = AutoTokenizer.from_pretrained(base)
        return out, write_tokenizer(donor, base, read_vocabulary(base), read_vocabulary(donor), out, tokenizer)

    return write


def base_folder(path, template=BASE_TEMPLATE):
    return folder_of(path, with_markers("<|im_start|>", "<|im_end|>", "<|unused|>"), template)


def test_a_folder_with_tokenizer_json_is_given_as_it_is(tmp_path):
    given = folder_of(tmp_path / "given", byte_level(300))
    before = {path.name: path.read_bytes() for path in given.iterdir()}
    for source in (given, str(given)):
        with tokenizer_folder(source) as found:
            assert found == given
    assert {path.name: path.read_bytes() for path in given.iterdir()} == before


def test_an_object_is_saved_for_as_long_as_it_is_needed():
    tokenizer = byte_level(300)
    with tokenizer_folder(tokenizer) as found:
        kept = found
        assert read_vocabulary(found).pieces == read_vocabulary(tokenizer).pieces
        assert read_vocabulary(found).named == {"eos_token": 2, "bos_token": 1, "pad_token": 0}
    assert not kept.exists()


def test_a_tokenizer_of_an_older_format_is_converted(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s")))
    tiny_config("bert", tied=True, vocab_size=7).save_pretrained(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    with tokenizer_folder(tmp_path) as found:
        assert found != tmp_path
        vocabulary = read_vocabulary(found)
        assert [vocabulary.piece(5), vocabulary.piece(6)] == [b" cat", b"s"]
    assert {path.name for path in tmp_path.iterdir()} == before
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path), BertTokenizer)


def test_a_tiktoken_file_is_converted(tmp_path):
    ranks = [bytes([byte]) for byte in range(256)] + [b"ri", b"ver", b"river", b" river", "é".encode()]
    ranks.insert(257, b"er")
    ranks.insert(258, b"ve")
    lines = [base64.b64encode(piece) + b" %d" % rank for rank, piece in enumerate(ranks)]
    (tmp_path / "tiktoken.model").write_bytes(b"\n".join(lines))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"})
    )
    with tokenizer_folder(tmp_path) as found:
        vocabulary = read_vocabulary(found)
    assert list(vocabulary.pieces[: len(ranks)]) == ranks
    assert vocabulary.special == {len(ranks): "<|endoftext|>"}


def test_files_are_checked_before_they_are_loaded(tmp_path):
    folder = folder_of(tmp_path / "given", byte_level(300))
    assert load_tokenizer(folder, "given").get_vocab() == byte_level(300).get_vocab()
    (folder / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(UnsafeCheckpointError, match="outside of the folder"):
        load_tokenizer(folder, "given")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "Sorcery"}}))
    with pytest.raises(VocabularyError, match="'Sorcery', which tokenizers .* does not know"):
        load_tokenizer(folder, "given")


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with (
        pytest.raises(VocabularyError, match="holds no tokenizer that transformers can load"),
        tokenizer_folder(tmp_path),
    ):
        pass


def test_tokenizer_json_is_the_donors_byte_for_byte_and_reloads_to_its_ids(tmp_path, written):
    donor = folder_of(tmp_path / "donor", byte_level(310, text="rivers and boats " * 20))
    text = json.dumps(json.loads((donor / "tokenizer.json").read_text()), indent=7) + "\n\n"
    (donor / "tokenizer.json").write_text(text)
    out, warnings = written(base_folder(tmp_path / "base", None), donor)
    assert warnings == [] and (out / "tokenizer.json").read_text() == text
    probe = "rivers  and\nbøats"
    expected = Tokenizer.from_file(str(donor / "tokenizer.json")).encode(probe, add_special_tokens=False).ids
    assert AutoTokenizer.from_pretrained(out)(probe, add_special_tokens=False).input_ids == expected


def test_tokenizer_config_is_the_donors_without_what_points_elsewhere(tmp_path, written):
    donor = folder_of(tmp_path / "donor", byte_level(300))
    config = json.loads((donor / "tokenizer_config.json").read_text())
    stale = {
        "tokenizer_class": "LlamaTokenizer", "auto_map": {"AutoTokenizer": ["remote.Code", None]}, "processor_class": "X",
        "name_or_path": "someone/else", "tokenizer_file": "nowhere", "is_local": True, "local_files_only": True,
    }  # fmt: skip
    own = {"model_max_length": 77, "padding_side": "left", "clean_up_tokenization_spaces": False}
    (donor / "tokenizer_config.json").write_text(json.dumps(config | own | stale))
    out, _ = written(base_folder(tmp_path / "base", None), donor)
    new = json.loads((out / "tokenizer_config.json").read_text())
    left = {key: value for key, value in (config | own).items() if key not in {*stale, "model_max_length"}}
    # which inputs a model takes and how long a text may be are the base's to say
    assert new == left | {"tokenizer_class": "TokenizersBackend", "model_input_names": ["input_ids", "attention_mask"]}


def test_nothing_of_the_base_comes_along(tmp_path, written):
    base = base_folder(tmp_path / "base", None)
    for name in TOKENIZER_FILES - {"tokenizer.json", "tokenizer_config.json"}:
        (base / name).write_text("not a template: <|im_start|>" if "template" in name else "{}")
    out, _ = written(base, folder_of(tmp_path / "donor", byte_level(300)))
    assert {path.name for path in out.iterdir()} == {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_the_donors_chat_template_comes_before_the_bases(tmp_path, written):
    base = base_folder(tmp_path / "base")
    markers = with_markers("<|im_start|>", "<|im_end|>", "[INST]")
    donor = folder_of(tmp_path / "donor", markers, DONOR_TEMPLATE)
    out, warnings = written(base, donor)
    assert warnings == [] and (out / "chat_template.jinja").read_text() == DONOR_TEMPLATE
    (donor / "chat_template.jinja").unlink()
    config = json.loads((donor / "tokenizer_config.json").read_text())
    (donor / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": DONOR_TEMPLATE}))
    out, warnings = written(base, donor, "again")
    assert warnings == [] and not (out / "chat_template.jinja").exists()
    assert AutoTokenizer.from_pretrained(out).chat_template == DONOR_TEMPLATE


def test_a_folder_of_chat_templates_comes_whole(tmp_path, written):
    donor = folder_of(tmp_path / "donor", byte_level(300), DONOR_TEMPLATE)
    (donor / "additional_chat_templates").mkdir()
    (donor / "additional_chat_templates" / "tools.jinja").write_text("tools")
    out, _ = written(base_folder(tmp_path / "base"), donor)
    assert (out / "additional_chat_templates" / "tools.jinja").read_text() == "tools"
    assert (out / "chat_template.jinja").read_text() == DONOR_TEMPLATE


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("in_config", [True, False])
def test_the_bases_chat_template_stays_where_the_donor_knows_all_its_markers(tmp_path, written, special, in_config):
    base = base_folder(tmp_path / "base")
    if in_config:
        (base / "chat_template.jinja").unlink()
        config = json.loads((base / "tokenizer_config.json").read_text())
        (base / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": BASE_TEMPLATE}))
    donor = folder_of(tmp_path / "donor", with_markers("<|im_end|>", "<|im_start|>", special=special))
    out, warnings = written(base, donor)
    assert warnings == [] and (out / "chat_template.jinja").read_text() == BASE_TEMPLATE
    loaded = PreTrainedTokenizerFast.from_pretrained(out)
    ids = loaded.apply_chat_template([{"role": "user", "content": "a"}], return_dict=False)
    assert [loaded.convert_ids_to_tokens(ids)[place] for place in (0, -1)] == ["<|im_start|>", "<|im_end|>"]


def test_a_chat_template_whose_marker_is_gone_goes_and_that_is_said(tmp_path, written):
    base = base_folder(tmp_path / "base")
    for name, markers, missing in (("one", ("<|im_end|>",), "<|im_start|>"), ("none", (), "<|im_end|>, <|im_start|>")):
        out, warnings = written(base, folder_of(tmp_path / f"donor {name}", with_markers(*markers)), name)
        assert warnings == [f"the chat template is gone: the new tokenizer lacks its markers {missing}"]
        assert not (out / "chat_template.jinja").exists()
        assert AutoTokenizer.from_pretrained(out).chat_template is None


def test_markers_that_are_not_special_count_and_runs_of_blanks_do_not(tmp_path, written):
    base = folder_of(tmp_path / "base", with_markers("<think>", "\n\n\n", special=False), "<think>\n\n\n{{ messages }}")
    out, warnings = written(base, folder_of(tmp_path / "donor", byte_level(300)))
    assert warnings == ["the chat template is gone: the new tokenizer lacks its markers <think>"]
    assert not (out / "chat_template.jinja").exists()
