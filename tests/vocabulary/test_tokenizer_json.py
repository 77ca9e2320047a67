"""A tokenizer.json that is too large, too deep or of unknown parts is refused before anything parses it."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary import tokenizer_json
from hf_tokext.vocabulary.pieces import read_vocabulary
from hf_tokext.vocabulary.tokenizer_json import (
    MAX_BYTES,
    MAX_DEPTH,
    SECTIONS,
    known_components,
    nesting,
    read_tokenizer_json,
)
from tests.tokenizers import byte_level

SAMPLES = sorted(Path("~/.cache/hf_tokext/samples").expanduser().glob("*/tokenizer.json"))


@pytest.fixture
def file(tmp_path):
    byte_level().save_pretrained(tmp_path)
    return tmp_path / "tokenizer.json"


def edit(file, **sections):
    file.write_text(json.dumps(json.loads(file.read_text()) | sections))


def forbid_parsing(monkeypatch):
    def parse(*_, **__):
        raise AssertionError("it was parsed")

    monkeypatch.setattr(tokenizer_json.json, "loads", parse)


def test_what_is_sound_is_read_as_it_stands(file):
    assert read_tokenizer_json(file) == json.loads(file.read_text()) == read_vocabulary(file).spec


def test_size(file, monkeypatch):
    assert MAX_BYTES == 64_000_000
    whole = file.read_bytes()
    with file.open("r+b") as stream:  # blanks after the object are valid JSON
        stream.seek(0, 2)
        stream.write(b" " * 100)
    monkeypatch.setattr(tokenizer_json, "MAX_BYTES", len(whole) + 100)
    assert read_tokenizer_json(file)["model"]["type"] == "BPE"
    monkeypatch.setattr(tokenizer_json, "MAX_BYTES", len(whole) + 99)
    forbid_parsing(monkeypatch)
    with pytest.raises(VocabularyError, match=r"is not read.*[Ff]etch"):
        read_vocabulary(file.parent)


def test_a_huge_file_is_not_even_opened(file, monkeypatch):
    with file.open("r+b") as stream:
        stream.truncate(MAX_BYTES + 1)  # takes no space on the disk
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(VocabularyError, match="64 MB"):
        read_vocabulary(file)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("[", "]"), ('{"a":', "}"), ('{"type":"Sequence","normalizers":[', "]}"), ("[", ""), ('[{"a\\"[":', "")],
)
def test_depth(file, opening, closing, monkeypatch):
    per_level = sum(opening.replace('\\"[', "").count(bracket) for bracket in "[{")
    deepest = (MAX_DEPTH - 1) // per_level
    spec = file.read_text().rstrip().removesuffix("}")
    file.write_text(spec + ',"x":' + opening * deepest + ("1" + closing * deepest + "}" if closing else ""))
    if closing:
        assert read_tokenizer_json(file)["x"] is not None
    forbid_parsing(monkeypatch)
    for levels in (deepest + 1, 100_000):
        file.write_text(spec + ',"x":' + opening * levels + "1" + closing * levels + "}")
        with pytest.raises(VocabularyError, match=r"levels deep; more than 64"):
            read_vocabulary(file)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\ab\u00e9\n'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\'), inner, max_size=3),
    max_leaves=12,
)


def levels(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


@settings(max_examples=300, deadline=None)
@given(JSON, st.booleans())
def test_levels_are_counted_right_whatever_strings_hold(value, plain):
    assert nesting(json.dumps(value, ensure_ascii=plain).encode()) == levels(value)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("kind", ["Evil", "sequence", "", 3, ["BPE"], {"type": "BPE"}])
def test_unknown_components(file, section, kind):
    changed = {"type": kind} | ({"vocab": {}} if section == "model" else {})
    edit(file, **{section: changed})
    with pytest.raises(
        VocabularyError, match=rf"{section} of type .*tokenizers {tokenizers.__version__} does not know"
    ):
        read_vocabulary(file)
    if isinstance(kind, str):
        with pytest.raises(Exception, match="did not match any variant"):
            Tokenizer.from_file(str(file))  # which Rust indeed does not know


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "model"])
@pytest.mark.parametrize("bad", [{"type": "Evil"}, {}, "NFC", None, 3, [{"type": "ByteLevel"}]])
def test_unknown_components_within_a_sequence(file, section, bad):
    key = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}.get(section)
    key = key or {"decoder": "decoders", "post_processor": "processors"}[section]
    sequence = {"type": "Sequence", key: [{"type": "ByteLevel"}, {"type": "Sequence", key: [bad]}]}
    edit(file, **{section: sequence})
    with pytest.raises(VocabularyError, match=f"{section} of type"):
        read_tokenizer_json(file)
    edit(file, **{section: {"type": "Sequence", key: bad}} if bad != [{"type": "ByteLevel"}] else {section: 3})
    with pytest.raises(VocabularyError, match=f"{section} of type"):
        read_tokenizer_json(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": 3}', '{"model": []}', "\udcff", '"x"'])
def test_what_is_no_tokenizer_json(file, text):
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(VocabularyError):
        read_vocabulary(file)


def test_a_model_without_a_type_is_an_old_file(file):
    spec = json.loads(file.read_text())
    del spec["model"]["type"]
    file.write_text(json.dumps(spec))
    assert read_tokenizer_json(file) == spec
    assert Tokenizer.from_file(str(file)).get_vocab_size() == 290


def test_every_component_that_can_be_made_is_known_by_its_own_name():
    pair = ("a", 0), ("b", 1)
    made = {
        "normalizer": [
            normalizers.BertNormalizer(), normalizers.ByteLevel(), normalizers.Lowercase(), normalizers.NFC(),
            normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Nmt(), normalizers.Prepend("a"),
            normalizers.Replace("a", "b"), normalizers.Sequence([]), normalizers.Strip(), normalizers.StripAccents(),
        ],
        "pre_tokenizer": [
            pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(), pre_tokenizers.CharDelimiterSplit("a"),
            pre_tokenizers.Digits(), pre_tokenizers.FixedLength(3), pre_tokenizers.Metaspace(),
            pre_tokenizers.Punctuation(), pre_tokenizers.Sequence([]), pre_tokenizers.Split("a", "isolated"),
            pre_tokenizers.UnicodeScripts(), pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(),
        ],
        "decoder": [
            decoders.BPEDecoder(), decoders.ByteFallback(), decoders.ByteLevel(), decoders.CTC(), decoders.Fuse(),
            decoders.Metaspace(), decoders.Replace("a", "b"), decoders.Sequence([]), decoders.Strip(),
            decoders.WordPiece(),
        ],
        "post_processor": [
            processors.BertProcessing(*pair), processors.ByteLevel(), processors.RobertaProcessing(*pair),
            processors.Sequence([]), processors.TemplateProcessing(single="$A", special_tokens=[]),
        ],
        "model": [models.BPE(), models.Unigram(), models.WordLevel(), models.WordPiece({"[UNK]": 0})],
    }  # fmt: skip
    for section, parts in made.items():
        names = set()
        for part in parts:
            core = Tokenizer(models.BPE())
            setattr(core, section, part)
            names.add(json.loads(core.to_str())[section]["type"])
        assert known_components(section) - {"Precompiled"} == names  # Precompiled needs a table of its own


@pytest.mark.skipif(not SAMPLES, reason="no real tokenizers were fetched here; scripts/samples.py fetches them")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_real_files_are_read(path):
    assert read_tokenizer_json(path) == json.loads(path.read_text(encoding="utf-8"))
