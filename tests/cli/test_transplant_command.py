"""`tokext transplant` as typed: what it makes."""

import json
import shutil

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from tests.cli.scratch import DONOR_ROWS, OTHER, ROLES, contents, run
from tests.tiny_models import tiny, tiny_folder
from tests.tokenizers import byte_level


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


def test_train_on_a_quoted_pattern(capfd, here):
    for name, word in (("more-1", "zzyzx "), ("more-2", "qwxqw ")):
        (here / f"{name}.txt").write_text(word * 50)
    (here / "more-3.md").write_text("vvkvv " * 50)
    assert run(capfd, "base", "out", "--train-on", "more-*.txt", "--vocab-size", 280, "--text", "t[e]xt.txt")[0] == 0
    vocabulary = AutoTokenizer.from_pretrained(here / "out").get_vocab()
    assert {"Ġzzyzx", "Ġqwxqw"} <= vocabulary.keys() and "Ġvvkvv" not in vocabulary


def test_a_pattern_is_also_a_name(capfd, here):
    (here / "a[1].txt").write_text("zzyzx " * 50)
    assert run(capfd, "base", "out", "--train-on", "a[1].txt", "--vocab-size", 270)[0] == 0
    assert "Ġzzyzx" in AutoTokenizer.from_pretrained(here / "out").get_vocab()


def test_a_pattern_without_a_file_is_refused(capfd, here):
    code, _, err = run(capfd, "base", "out", "--train-on", "none-*.txt", "--vocab-size", 270)
    assert code == 1 and "no file matches the pattern 'none-*.txt'" in err and not (here / "out").exists()


def test_files_that_the_shell_spread_are_named_with_what_to_do(capfd, here):
    (here / "more.txt").write_text("zzyzx " * 50)
    code, _, err = run(capfd, "base", "out", "--train-on", "text.txt", "more.txt", "--vocab-size", 300)
    said = " ".join(err.replace("│", " ").split())
    assert code == 2 and "more.txt is a file" in said and "every file needs its own flag" in said
    assert "quote a pattern" in said and not (here / "out").exists()


def test_options_of_the_row_method(capfd, here):
    for name, options in (("k1", ["--option", "k=1", "--option", "fast=false"]), ("k64", [])):
        assert run(capfd, "base", "donor", name, "--method", "omp", "--no-calibrate", *options)[0] == 0
    one, many = (model(here / name).get_input_embeddings().weight for name in ("k1", "k64"))
    assert not torch.equal(one, many)
    words = [
        "--method",
        "neighbours",
        "--text",
        "text.txt",
        "--option",
        "weights=softmax",
        "--option",
        "temperature=0.5",
    ]
    assert run(capfd, "base", "donor", "words", *words)[0] == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("depth=3", "row method 'compose' has no option 'depth'; its options are input_decay, output_decay"),
        ("depth", "--option 'depth' is not of the form NAME=VALUE"),
    ],
)
def test_bad_options_of_the_row_method(capfd, here, option, message):
    code, _, err = run(capfd, "base", "donor", "out", "--option", option)
    assert code == 1 and err.strip().splitlines()[-1].startswith(f"tokext: {message}") and not (here / "out").exists()


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
