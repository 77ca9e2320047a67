"""`tokext byteify` and `tokext complete`, as they are typed."""

import json
import math
from itertools import pairwise

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import ByteLevelForCausalLM, complete, score_bytes
from hf_tokext.cli import main
from tests.cli.scratch import contents


def run(*arguments):
    """Run a command; gives its exit code."""
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return left.value.code


def test_a_checkpoint_of_bytes_is_written_and_gone_on_from(here, capfdbinary):
    before = contents(here / "base")
    assert run("byteify", "base", "bytes", "--measure", "canonical", "--tolerance", "0.01") == 0
    assert b"measure canonical, tolerance 0.01" in capfdbinary.readouterr().out
    assert contents(here / "base") == before
    model = AutoModelForCausalLM.from_pretrained("bytes")
    assert isinstance(model, ByteLevelForCausalLM) and model.config.tolerance == 0.01
    for folder in ("base", "bytes"):
        options = [] if folder == "bytes" else ["--tolerance", "0.01"]
        for mode in ("boundary", "bytes"):
            arguments = ["complete", folder, "--prompt", "The qui", "--max-new-tokens", "5"]
            assert run(*arguments, *options, *(["--bytes"] if mode == "bytes" else [])) == 0
            (expected,) = complete(model, "The qui", mode=mode, max_new_tokens=5, do_sample=False)
            assert capfdbinary.readouterr().out == expected + b"\n"


def test_a_prompt_may_end_inside_a_character(here, capfdbinary):
    typed = "d" + b"\xc3".decode(errors="surrogateescape")  # as Python has an argument that is no UTF-8
    assert run("complete", "base", "--prompt", typed, "--max-new-tokens", "3", "--measure", "all_strings") == 0
    model, tokenizer = AutoModelForCausalLM.from_pretrained("base"), AutoTokenizer.from_pretrained("base")
    (expected,) = complete(model, b"d\xc3", tokenizer, measure="all_strings", max_new_tokens=3, do_sample=False)
    assert capfdbinary.readouterr().out == expected + b"\n"


def test_bits_of_a_checkpoint_of_bytes_are_measured(here, capsys):
    (here / "text.txt").write_text("déjà vu, " * 9)
    assert run("byteify", "base", "bytes") == 0
    capsys.readouterr()
    assert run("measure", "bits", "bytes", "base", "--text", "text.txt", "--window", "36", "--json") == 0
    found, of_tokens = json.loads(capsys.readouterr().out)
    data = ("déjà vu, " * 9).encode()
    starts = [0, 34, 69, len(data)]  # 35 would be in the middle of a character
    pieces = [data[start:stop] for start, stop in pairwise(starts)]
    scores = score_bytes(AutoModelForCausalLM.from_pretrained("bytes", dtype=torch.float32), pieces)
    total = -sum(score.log_probabilities.sum() for score in scores) / math.log(2)
    assert found["bits_per_byte"] == pytest.approx(total / len(data), rel=1e-6)
    assert found["bytes"] == found["tokens"] == len(data) == of_tokens["bytes"]
    assert run("measure", "bits", "bytes", "--text", "text.txt", "--window", "4") != 0
    assert "no room" in capsys.readouterr().err


def test_what_is_drawn_is_drawn_by_the_seed(here, capfdbinary):
    found = []
    for seed in ("1", "1", "2", "3"):
        arguments = ["--prompt", "The qui", "--temperature", "1.5", "--seed", seed, "--max-new-tokens", "12"]
        assert run("complete", "base", *arguments) == 0
        found.append(capfdbinary.readouterr().out)
    assert found[0] == found[1] and len(set(found)) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["byteify", "nowhere", "out"], "nowhere"),
        (["byteify", "base", "out", "--measure", "viterbi"], "measure must be one of"),
        (["byteify", "base", "out", "--tolerance", "1"], "tolerance"),
        (["byteify", "base", "base"], "base"),
        (["complete", "base", "--prompt", ""], "prompt 0 is empty"),
        (["complete", "base", "--prompt", "a", "--suffix", "b"], "not trained to fill in the middle"),
        (
            ["complete", "base", "--prompt", "a", "--suffix", "b", "--arrangement", "middle"],
            "arrangement must be one of",
        ),
        (["complete", "base", "--prompt", "a", "--max-new-tokens", "0"], "max-new-tokens"),
        (["complete", "base", "--prompt", "a", "--temperature", "-1"], "temperature"),
        (["complete", "base", "--prompt", "a", "--temperature", "inf", "--bytes"], "temperature"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(here, capsys, arguments, message):
    before = contents(here)
    assert run(*arguments) != 0
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert contents(here) == before


def test_a_model_that_is_smaller_than_its_tokenizer(here, capsys):
    AutoTokenizer.from_pretrained("donor").save_pretrained("base")  # 10 ids more than the base has rows
    before = contents(here)
    assert run("byteify", "base", "out") != 0
    assert "they do not belong together" in capsys.readouterr().err
    assert contents(here) == before
