"""`tokext measure` and `tokext heal` on bad checkpoints: what `tokext transplant` refuses, they refuse."""

import json
import os
import struct

import pytest

from hf_tokext.cli import main

PICKLE = b"cos\nsystem\n(S'touch pwned'\ntR."


def moved(here, name):
    """Move the base's weights away and give an index that names them."""
    (here / "base" / "model.safetensors").rename(here / "secret.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": str(name)}}
    (here / "base" / "model.safetensors.index.json").write_text(json.dumps(index))


def linked(here, name):
    (here / "base" / name).rename(here / "secret")
    (here / "base" / name).symlink_to(here / "secret")


def headed(here, claimed, length):
    with (here / "base" / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", claimed) + b"{")
        stream.truncate(length)


def pickled(here):
    (here / "base" / "model.safetensors").unlink()
    (here / "base" / "pytorch_model.bin").write_bytes(PICKLE)


def adapter(here, config=True):
    """An adapter beside the weights, whose base is another folder."""
    if not config:
        (here / "base" / "config.json").unlink()
    named = {"peft_type": "LORA", "base_model_name_or_path": str(here / "donor")}
    (here / "base" / "adapter_config.json").write_text(json.dumps(named))


BAD = {
    "adapter": (adapter, "is a PEFT adapter"),
    "adapter without a config": (lambda here: adapter(here, config=False), "is a PEFT adapter"),
    "index that climbs": (lambda here: moved(here, "../secret.safetensors"), "outside of its folder"),
    "absolute index": (lambda here: moved(here, here / "secret.safetensors"), "outside of its folder"),
    "linked weights": (lambda here: linked(here, "model.safetensors"), "outside of the folder"),
    "linked tokenizer": (lambda here: linked(here, "tokenizer.json"), "outside of the folder"),
    "oversized header": (lambda here: headed(here, 150_000_000, 200_000_000), "header"),
    "truncated": (lambda here: headed(here, 10**6, 100), "truncated or damaged"),
    "pickle": (pickled, "pickled weights"),
}


def run(capfd, command):
    arguments = {
        "bits": ["measure", "bits", "base", "--text", "text.txt"],
        "vocabulary": ["measure", "vocabulary", "base", "--text", "text.txt"],
        "heal": ["heal", "base", "--text", "text.txt", "--steps", "1"],
    }[command]
    with pytest.raises(SystemExit) as left:
        main(arguments)
    captured = capfd.readouterr()
    return left.value.code, captured.out + captured.err


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("command", ["bits", "heal"])
@pytest.mark.parametrize("case", BAD)
def test_refused_in_one_line(here, capfd, case, command):
    spoil, message = BAD[case]
    spoil(here)
    code, said = run(capfd, command)
    last = said.strip().splitlines()[-1]
    assert code == 1 and last.startswith("tokext: ") and message in last and "Traceback" not in said
    assert not (here / "pwned").exists() and not (here / "base-healed").exists()


@pytest.mark.parametrize(
    ("part", "command"),  # vocabulary does not look at the model
    [("tokenizer", "bits"), ("tokenizer", "vocabulary"), ("tokenizer", "heal"), ("model", "bits"), ("model", "heal")],
)
def test_code_that_a_checkpoint_brings_is_never_run(here, capfd, monkeypatch, part, command):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # a user who agrees to whatever is asked
    (here / "base" / "evil.py").write_text(f"open({str(here / 'pwned')!r}, 'w').close()\nclass Evil:\n    pass\n")
    name, changes = {
        "tokenizer": (
            "tokenizer_config.json",
            {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}},
        ),
        "model": (
            "config.json",
            {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}},
        ),
    }[part]
    file = here / "base" / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    code, said = run(capfd, command)
    assert not (here / "pwned").exists() and "y/N" not in said
    if code:
        assert code == 1 and "Traceback" not in said
