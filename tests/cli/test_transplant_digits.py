"""`tokext transplant --digits`: the same model, with numbers cut otherwise."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.cli.scratch import OTHER, contents, run


def rows(folder):
    return AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight.detach()


def test_base_out(capfd, here):
    before = contents(here / "base")
    code, out, _ = run(capfd, "base", "out", "--digits", "right3", "--no-calibrate")
    assert code == 0 and contents(here / "base") == before
    assert "1234567 is now 1+3+3, was 1+1+1+1+1+1+1" in out
    old, new = (AutoTokenizer.from_pretrained(here / name) for name in ("base", "out"))
    assert new.tokenize("1234567 and 3.14159")[:3] == ["1", "234", "567"]
    assert new(OTHER).input_ids == old(OTHER).input_ids
    assert new.get_vocab().items() >= old.get_vocab().items()
    was, now = rows(here / "base"), rows(here / "out")
    assert len(new) == len(old) + 1_100 == len(now)
    assert torch.equal(now[: len(old)], was[: len(old)])
    parts = was[old.convert_tokens_to_ids([*"234"])]
    made = now[new.convert_tokens_to_ids("234")]
    assert torch.cosine_similarity(made, parts.mean(0), dim=0) > 0.999


def test_single_needs_no_rows(capfd, here):
    assert run(capfd, "base", "out", "--digits", "single")[0] == 0
    assert torch.equal(rows(here / "out"), rows(here / "base"))


def test_base_donor_out(capfd, here):
    assert run(capfd, "base", "donor", "out", "--digits", "left3")[0] == 0
    donor, new = (AutoTokenizer.from_pretrained(here / name) for name in ("donor", "out"))
    assert new(OTHER).input_ids == donor(OTHER).input_ids
    assert new.tokenize("1234567") == ["123", "456", "7"]


def test_train_on(capfd, here):
    arguments = ("--train-on", "text.txt", "--vocab-size", 270, "--digits", "right3")
    assert run(capfd, "base", "out", *arguments)[0] == 0
    new = AutoTokenizer.from_pretrained(here / "out")
    assert len(new) == 270 + 1_100 and new.tokenize("1234567") == ["1", "234", "567"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("base", "out"), 2, "--digits SCHEME"),
        (("base", "out", "--digits", "threes"), 1, "choose one of single, left3, right3"),
        (("base", "a", "b", "out", "--digits", "single"), 2, "give BASE DONOR OUT"),
        (("base", "donor", "out", "--digits", "single", "--train-on", "text.txt", "--vocab-size", 270), 2, "give BASE"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(capfd, here, arguments, code, says):
    left, _, err = run(capfd, *arguments)
    assert left == code and says in err and not (here / "out").exists()
