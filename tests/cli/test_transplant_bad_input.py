"""`tokext transplant` on bad input: one clear line, a typed error, nothing written, nothing changed."""

import json
import shutil
import struct

import pytest

from hf_tokext import errors
from hf_tokext.cli import main
from tests.cli.scratch import OTHER, ROLES, contents, run
from tests.tiny_models import tiny_folder
from tests.tokenizers import byte_level


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
