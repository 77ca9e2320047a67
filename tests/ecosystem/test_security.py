"""What comes from strangers: every door refuses it by name, runs none of it and leaves nothing behind."""

import json
import os
import pickle

import pytest
import torch
from transformers import AutoTokenizer, TrainerCallback

from hf_tokext import transplant_checkpoint
from hf_tokext.cli import main
from hf_tokext.errors import UnsafeCheckpointError, VocabularyError
from hf_tokext.training import heal_checkpoint, heal_model
from hf_tokext.vocabulary.digits import rewrite_digits_in_folder
from hf_tokext.vocabulary.tokenizer_json import MAX_BYTES, MAX_DEPTH
from tests.ecosystem.checkpoints import small
from tests.tiny_models import tiny
from tests.tokenizers import TEXT, byte_level


@pytest.fixture
def base(tmp_path):
    return small("llama-tied", tmp_path / "base").folder


@pytest.fixture
def donor(tmp_path):
    byte_level(295).save_pretrained(tmp_path / "donor")
    return tmp_path / "donor"


def spoil(folder, how):
    file = folder / "tokenizer.json"
    spec = json.loads(file.read_text())
    if how == "too large":
        with file.open("r+b") as stream:
            stream.truncate(MAX_BYTES + 1)
    elif how == "too deep":
        text = file.read_text().rstrip().removesuffix("}")
        file.write_text(text + ',"x":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}")
    else:
        file.write_text(json.dumps(spec | {"normalizer": {"type": "Evil"}}))


HOWS = {"too large": "64 MB", "too deep": "65 levels", "unknown part": "normalizer of type 'Evil'"}
DOORS = {
    "base": lambda base, donor, out: transplant_checkpoint(base, donor, out),
    "donor": lambda base, donor, out: transplant_checkpoint(donor, base, out),
    "digits": lambda base, donor, out: transplant_checkpoint(base, None, out, digits="single"),
    "heal": lambda base, donor, out: heal_checkpoint(base, [TEXT], out, steps=1, progress=False),
    "rewrite": lambda base, donor, out: rewrite_digits_in_folder(base, "single"),
}


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("door", DOORS)
def test_a_bad_tokenizer_json_reaches_no_parser(base, donor, door, how, tmp_path, monkeypatch):
    if door == "donor":
        base, donor = donor, base  # the one that is spoilt is put on the other
    spoil(base, how)
    before = sorted(path.name for path in tmp_path.iterdir())

    def parse(*_, **__):
        raise AssertionError("transformers was given the file")

    kept = AutoTokenizer.from_pretrained
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda f, *a, **k: (parse if f == base else kept)(f, *a, **k))
    with pytest.raises(VocabularyError, match=HOWS[how]):
        DOORS[door](base, donor, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("command", ["transplant", "measure bits", "measure vocabulary", "heal"])
def test_the_command_line_says_so_in_one_line(base, donor, command, how, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    arguments = {
        "transplant": [base, donor, tmp_path / "out"],
        "measure bits": [base, "--text", text],
        "measure vocabulary": [base, "--text", text],
        "heal": [base, "--text", text, "--steps", "1"],
    }[command]
    spoil(base, how)
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), *map(str, arguments)])
    said = capsys.readouterr()
    assert stopped.value.code not in (0, None)
    assert HOWS[how] in said.err.replace("\n", " ") and "Traceback" not in said.err + said.out


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "additional_chat_templates/a.jinja"])
def test_a_link_out_of_the_donor_is_not_followed(base, donor, name, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text((donor / name).read_text() if (donor / name).exists() else "secret")
    (donor / name).parent.mkdir(exist_ok=True)
    (donor / name).unlink(missing_ok=True)
    (donor / name).symlink_to(secret)
    with pytest.raises(UnsafeCheckpointError, match="outside of the folder"):
        transplant_checkpoint(base, donor, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_linked_folder_of_templates_is_not_followed(base, donor, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.jinja").write_text("secret")
    (donor / "additional_chat_templates").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(UnsafeCheckpointError, match="outside of the folder"):
        transplant_checkpoint(base, donor, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("door", ["base", "heal"])
def test_pickled_weights_are_not_opened(base, donor, door, tmp_path):
    (base / "model.safetensors").unlink()
    proof = tmp_path / "exploded"
    (base / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(str(proof))))
    with pytest.raises(UnsafeCheckpointError, match="never unpickled"):
        DOORS[door](base, donor, tmp_path / "out")
    assert not proof.exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("form", ["bare", "torch.save"])
def test_a_stopped_run_that_was_tampered_with_runs_nothing(name, form, tmp_path, monkeypatch):
    """What a run is resumed from is torch's own format; torch reads it without running what it names."""
    options = {"steps": 4, "window": 32, "tokens_per_step": 64, "train": "all", "progress": False, "bf16": False}
    options |= {"output_dir": tmp_path / "run", "save_every": 2}

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainerCallback, "on_step_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            heal_model(tiny("llama", vocab_size=300), byte_level(), [TEXT], **options)
    file, proof = tmp_path / "run" / "checkpoint-2" / name, tmp_path / "exploded"
    assert file.is_file()
    if form == "bare":
        file.write_bytes(pickle.dumps(Bomb(str(proof))))
    else:
        torch.save({"state": Bomb(str(proof))}, file)
    with pytest.raises(Exception, match=r"[Ww]eights.only|weights_only"):
        heal_model(tiny("llama", vocab_size=300), byte_level(), [TEXT], resume=True, **options)
    assert not proof.exists()
