"""`tokext transplant` as typed: what it makes, and one clear line for every bad input."""

import json
import shutil
import struct

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from hf_tokext import errors
from hf_tokext.cli import main
from tests.models import tiny, tiny_folder
from tests.tokenizers import byte_level

OTHER = "a wholly different text about rivers, boats and bridges; rivers and boats again, under bridges " * 4
ROLES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
DONOR_ROWS = 320


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A base, a donor with padded rows, and a text file; copied for tests that spoil them."""
    root = tmp_path_factory.mktemp("made")
    tokenizer = byte_level(300, **ROLES)
    tiny_folder("llama", root / "base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(root / "base")
    tiny_folder("gpt2", root / "donor", vocab_size=DONOR_ROWS)
    byte_level(310, text=OTHER, **ROLES).save_pretrained(root / "donor")
    (root / "text.txt").write_text(OTHER)
    return root


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A scratch copy that is the working directory, so that arguments are as short as a user's."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["transplant", *map(str, arguments)])
    captured = capfd.readouterr()
    return left.value.code, captured.out, captured.err


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def model(folder):
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    return getattr(transformers, architecture).from_pretrained(folder)


def rows(folder):
    return len(model(folder).get_input_embeddings().weight)


def test_base_donor_out(capfd, here):
    code, out, err = run(capfd, "base", "donor", "out")
    assert code == 0
    assert out.startswith("# What the transplant did\n") and out.endswith("written to out\n")
    assert "| anchor | " in out and "What it will cost" not in out
    assert "verify" in err and "Traceback" not in err  # the bars, apart from the report
    assert (here / "out" / "hf_tokext_report.md").read_text() in out
    got, donor = (AutoTokenizer.from_pretrained(here / name) for name in ("out", "donor"))
    assert got(OTHER).input_ids == donor(OTHER).input_ids
    assert rows(here / "out") == len(donor)


def test_donor_is_base_gives_bit_equal_weights(capfd, here):
    before = contents(here / "base")
    assert run(capfd, "base", "base", "out")[0] == 0
    assert contents(here / "base") == before
    old, new = model(here / "base").state_dict(), model(here / "out").state_dict()
    assert old.keys() == new.keys()
    assert all(torch.equal(new[name], value) and new[name].dtype == value.dtype for name, value in old.items())


def test_train_on(capfd, here):
    code, out, _ = run(capfd, "base", "out", "--train-on", "text.txt", "--vocab-size", 270, "--text", "text.txt")
    assert code == 0 and rows(here / "out") == 270
    assert f"On your text ({len(OTHER)} bytes)" in out
    tokenizer = AutoTokenizer.from_pretrained(here / "out")
    ids = tokenizer(OTHER, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == OTHER and len(ids) < len(
        AutoTokenizer.from_pretrained(here / "base")(OTHER).input_ids
    )


def test_train_on_several_files(capfd, here):
    (here / "more.txt").write_text("zzyzx " * 50)
    arguments = ("--train-on", "text.txt", "--train-on", "more.txt", "--vocab-size", 300)
    assert run(capfd, "base", "out", *arguments)[0] == 0
    assert "zzyzx" in AutoTokenizer.from_pretrained(here / "out").get_vocab()


def test_map(capfd, here):
    assert run(capfd, "base", "donor", "out", "--map", "a=</s>", "--map", "vers=the cat")[0] == 0
    new, old = (model(here / name).get_input_embeddings().weight for name in ("out", "base"))
    tokenizer = AutoTokenizer.from_pretrained(here / "out")
    assert torch.equal(new[tokenizer.convert_tokens_to_ids("a")], old[2])
    assert json.loads((here / "out" / "hf_tokext_report.json").read_text())["counts"]["override"] == 2


@pytest.mark.parametrize(("options", "expected"), [(["--pad-to-multiple-of", 64], 320), (["--match-rows"], DONOR_ROWS)])
def test_rows(capfd, here, options, expected):
    assert run(capfd, "base", "donor", "out", *options)[0] == 0
    assert rows(here / "out") == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype(capfd, here, dtype):
    assert run(capfd, "base", "donor", "out", "--dtype", dtype)[0] == 0
    assert {str(value.dtype) for value in model(here / "out").state_dict().values()} == {f"torch.{dtype}"}


def test_unknown_dtype_is_a_usage_error(capfd, here):
    code, _, err = run(capfd, "base", "donor", "out", "--dtype", "int4")
    assert code == 2 and "--dtype must be float32, bfloat16 or float16" in " ".join(err.replace("│", " ").split())
    assert not (here / "out").exists()


@pytest.mark.parametrize("memory", ["500M", "1.5g", str(10**9)])
def test_max_memory_with_a_donor_method(capfd, here, memory):
    code, out, _ = run(capfd, "base", "donor", "out", "--method", "omp", "--max-memory", memory)
    assert code == 0 and "Row method `omp`" in out


def test_dry_run_prints_plan_and_cost_and_writes_nothing(capfd, here):
    before = contents(here)
    code, out, _ = run(capfd, "base", "donor", "out", "--dry-run", "--method", "omp", "--match-rows")
    assert code == 0 and contents(here) == before
    assert "| anchor | " in out and out.endswith("nothing was written (--dry-run)\n")
    cost = out.split("What it will cost:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split(":")[0] for line in cost] == ["* weights", "* free disk", "* memory", "* omp"]


def test_overwrite(capfd, here):
    tiny_folder("gpt2", here / "out")
    (here / "out" / "stale.txt").write_text("old")
    assert run(capfd, "base", "donor", "out", "--overwrite")[0] == 0
    assert model(here / "out").config.model_type == "llama"
    assert not (here / "out" / "stale.txt").exists()
    assert {path.name for path in here.iterdir()} == {"base", "donor", "out", "text.txt"}


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_masked_base(capfd, here, name):
    shutil.rmtree(here / "base")
    tokenizer = byte_level(300, **ROLES, mask_token="<mask>")
    tiny_folder(name, here / "base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(here / "base")
    byte_level(310, text=OTHER, **ROLES, mask_token="<mask>").save_pretrained(here / "donor")
    assert run(capfd, "base", "donor", "out")[0] == 0
    assert type(model(here / "out")).__name__.endswith("ForMaskedLM")
    assert AutoTokenizer.from_pretrained(here / "out").mask_token == "<mask>"


def test_base_without_a_head(capfd, here):
    """A bare encoder, as sentence encoders are: the embedding is changed, there is no head to change."""
    shutil.rmtree(here / "base")
    tokenizer = byte_level(300, **ROLES)
    tiny("bert", vocab_size=len(tokenizer)).bert.save_pretrained(here / "base")
    tokenizer.save_pretrained(here / "base")
    assert run(capfd, "base", "donor", "out")[0] == 0
    assert type(model(here / "out")).__name__ == "BertModel"
    assert not (here / "out" / "generation_config.json").exists()


def gguf_only(here):
    (here / "base" / "model.safetensors").unlink()
    (here / "base" / "model-Q4_K_M.gguf").write_bytes(b"GGUF" + bytes(60))


def gguf_alone(here):
    shutil.rmtree(here / "base")
    (here / "base").mkdir()
    (here / "base" / "model-Q4_K_M.gguf").write_bytes(b"GGUF" + bytes(60))


def pickle_only(here):
    (here / "base" / "model.safetensors").unlink()
    (here / "base" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")


def truncated(here):
    path = here / "base" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def truncated_header(here):
    (here / "base" / "model.safetensors").write_bytes(struct.pack("<Q", 10**6) + b"{")


def index_that_leaves(here):
    (here / "base" / "model.safetensors").rename(here / "secret.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../secret.safetensors"}}
    (here / "base" / "model.safetensors.index.json").write_text(json.dumps(index))


def missing_shard(here):
    (here / "base" / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (here / "base" / "model.safetensors.index.json").write_text(json.dumps(index))


def ids_past_the_table(here):
    byte_level(310, text=OTHER, **ROLES).save_pretrained(here / "base")


def no_tokenizer(name):
    def spoil(here):
        for path in (here / name).glob("tokenizer*"):
            path.unlink()

    return spoil


def damaged_tokenizer(name):
    def spoil(here):
        (here / name / "tokenizer.json").write_text('{"model": {"type": "BPE"')

    return spoil


def no_config(here):
    (here / "base" / "config.json").unlink()


def damaged_config(here):
    (here / "base" / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], ')


def no_weights(here):
    (here / "base" / "model.safetensors").unlink()


def few_donor_rows(here):
    tiny_folder("gpt2", here / "donor", vocab_size=300)
    byte_level(310, text=OTHER, **ROLES).save_pretrained(here / "donor")


def texts(**files):
    def spoil(here):
        for name, content in files.items():
            (here / f"{name}.txt").write_bytes(content)

    return spoil


def existing(here):
    (here / "out").mkdir()
    (here / "out" / "config.json").write_text("{}")


def photos(here):
    (here / "out").mkdir()
    (here / "out" / "cat.png").write_bytes(b"x")


def nothing(here):
    pass


PLAIN = ["base", "donor", "out"]
TRAIN = ["base", "out", "--train-on", "text.txt", "--vocab-size"]
BAD = {
    "no such base": (nothing, ["./none", "donor", "out"], "CheckpointError", "there is no folder ./none"),
    "no such base on the Hub": (nothing, ["no/such", "donor", "out"], "CheckpointError", "there is no folder no/such"),
    "no such donor": (nothing, ["base", "./none", "out"], "VocabularyError", "./none"),
    "no such donor on the Hub": (nothing, ["base", "no/such", "out"], "VocabularyError", "no/such"),
    "base is a file": (nothing, ["text.txt", "donor", "out"], "CheckpointError", "text.txt is a file"),
    "no config": (no_config, PLAIN, "CheckpointError", "no config.json"),
    "damaged config": (damaged_config, PLAIN, "CheckpointError", "not readable JSON"),
    "no weights": (no_weights, PLAIN, "CheckpointError", "has neither model.safetensors nor"),
    "GGUF beside a config": (gguf_only, PLAIN, "QuantizedCheckpointError", "model-Q4_K_M.gguf"),
    "GGUF alone": (gguf_alone, PLAIN, "QuantizedCheckpointError", "model-Q4_K_M.gguf"),
    "pickle": (pickle_only, PLAIN, "UnsafeCheckpointError", "pickled weights (pytorch_model.bin)"),
    "truncated": (truncated, PLAIN, "CheckpointError", "truncated or damaged"),
    "truncated header": (truncated_header, PLAIN, "CheckpointError", "truncated or damaged"),
    "index that leaves": (index_that_leaves, PLAIN, "UnsafeCheckpointError", "outside of its folder"),
    "missing shard": (missing_shard, PLAIN, "CheckpointError", "model-00001-of-00002.safetensors, which is missing"),
    "ids past the table": (ids_past_the_table, PLAIN, "VocabularyError", "does not belong to this model"),
    "base without tokenizer": (no_tokenizer("base"), PLAIN, "VocabularyError", "tokenizer"),
    "donor without tokenizer": (no_tokenizer("donor"), PLAIN, "VocabularyError", "tokenizer"),
    "damaged tokenizer of the base": (damaged_tokenizer("base"), PLAIN, "VocabularyError", "tokenizer"),
    "damaged tokenizer of the donor": (damaged_tokenizer("donor"), PLAIN, "VocabularyError", "tokenizer"),
    "donor of too few rows": (few_donor_rows, [*PLAIN, "--match-rows"], "RowMethodError", "300 rows"),
    "empty text": (texts(text=b" \n"), [*TRAIN, 300], "TextError", "text.txt is empty"),
    "text of no bytes": (texts(text=b""), [*TRAIN, 300], "TextError", "text.txt is empty"),
    "text not UTF-8": (texts(text=b"caf\xe9"), [*TRAIN, 300], "TextError", "text.txt is not UTF-8: byte 0xe9 at offset 3"),
    "no such text": (nothing, ["base", "out", "--train-on", "none.txt", "--vocab-size", 300], "TextError", "none.txt"),
    "text for counts not UTF-8": (texts(text=b"\xff"), [*PLAIN, "--text", "text.txt"], "TextError", "not UTF-8"),
    "no vocabulary size": (nothing, TRAIN[:-1], "RowMethodError", "--vocab-size N"),
    "vocabulary too small": (nothing, [*TRAIN, 259], "VocabularyError", "a vocabulary of 259 is too small"),
    "vocabulary negative": (nothing, [*TRAIN, -5], "VocabularyError", "too small"),
    "existing output": (existing, PLAIN, "OutputExistsError", "--overwrite"),
    "output is a file": (nothing, ["base", "donor", "text.txt", "--overwrite"], "OutputExistsError", "is a file"),
    "output of another kind": (photos, [*PLAIN, "--overwrite"], "OutputExistsError", "does not look like a checkpoint"),
    "output in the base": (nothing, ["base", "donor", "base/out"], "OutputExistsError", "inputs are never changed"),
    "output is the base": (nothing, ["base", "donor", "base", "--overwrite"], "OutputExistsError", "never changed"),
    "output is the donor": (nothing, ["base", "donor", "donor", "--overwrite"], "OutputExistsError", "never changed"),
    "output in the donor": (nothing, ["base", "donor", "donor/out"], "OutputExistsError", "never changed"),
    "output holds the base": (nothing, ["base", "donor", ".", "--overwrite"], "OutputExistsError", "never changed"),
    "memory in words": (nothing, [*PLAIN, "--max-memory", "lots"], "TextError", "--max-memory 'lots' is not a size"),
    "memory negative": (nothing, [*PLAIN, "--max-memory", "-2G"], "TextError", "--max-memory '-2G' is not a size"),
    "memory of strange digits": (nothing, [*PLAIN, "--max-memory", "\u00b2G"], "TextError", "is not a size"),
    "memory without digits": (nothing, [*PLAIN, "--max-memory", "G"], "TextError", "is not a size"),
    "memory zero": (nothing, [*PLAIN, "--max-memory", "0"], "TextError", "is not a size"),
    "memory too little": (nothing, [*PLAIN, "--method", "omp", "--max-memory", "1K"], "RowMethodError", "raise it"),
    "map without equals": (nothing, [*PLAIN, "--map", "river"], "VocabularyError", "NEW=OLD"),
    "map of nothing": (nothing, [*PLAIN, "--map", "=a"], "VocabularyError", "NEW=OLD"),
    "map to nothing": (nothing, [*PLAIN, "--map", "a="], "VocabularyError", "NEW=OLD"),
    "map of an unknown token": (nothing, [*PLAIN, "--map", "qqq=a"], "VocabularyError", "no token of the new"),
    "pad to nothing": (nothing, [*PLAIN, "--pad-to-multiple-of", 0], "VocabularyError", "at least 1, not 0"),
    "unknown method": (nothing, [*PLAIN, "--method", "magic"], "RowMethodError", "unknown row method 'magic'; known: "),
    "words without text": (nothing, [*PLAIN, "--method", "neighbours"], "RowMethodError", "--text FILES"),
    "donor method, text as donor": (nothing, [*TRAIN, 300, "--method", "omp"], "RowMethodError", "with weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(capfd, here, monkeypatch, case):
    spoil, arguments, kind, message = BAD[case]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    spoil(here)
    before = contents(here)
    code, out, err = run(capfd, *arguments)
    assert (code, out) == (1, "")
    last = err.rstrip("\n").rsplit("\n", 1)[-1]
    assert last.startswith("tokext: ") and message in last, err
    assert "Traceback" not in err and err.count("tokext: ") == 1
    assert len(last) < 600
    assert contents(here) == before
    assert not [path for path in here.rglob("*") if ".tokext-" in path.name or path.name == "pwned"]
    with pytest.raises(getattr(errors, kind)) as raised:
        main(["transplant", *map(str, arguments), "--debug"])
    assert type(raised.value).__name__ == kind
    assert last == "tokext: " + " ".join(line.strip() for line in str(raised.value).splitlines() if line.strip())
