"""The command line: fast help, clear errors, figures in a table."""

import json
import resource
import subprocess
import sys

import pytest

from hf_tokext.cli import main
from tests.tiny_models import tiny_folder
from tests.tokenizers import TEXT, byte_level


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "model"
    tiny_folder("llama", path, vocab_size=300)
    byte_level().save_pretrained(path)
    (path.parent / "text.txt").write_text(TEXT)
    return path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return left.value.code, captured.out, captured.err


def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom hf_tokext.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'transformers', 'numpy', 'peft') if m in sys.modules])"
    )
    taken = []
    for _ in range(3):  # processor time: other tests are running beside this one, and the first run compiles
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.stdout.strip().endswith("[]")
    assert "measure" in done.stdout and "heal" in done.stdout
    assert min(taken) < 1.0


def test_bits_prints_a_table(capsys, folder):
    code, out, err = run(
        capsys, "measure", "bits", folder, folder, "--text", folder.parent / "text.txt", "--window", 32
    )
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3
    assert lines[0].split() == ["model", "bits/byte", "tokens/byte", "context", "text", "that", "fits"]
    assert len({len(line) for line in lines}) == 1 and lines[1] == lines[2]
    assert "window" in err  # the progress bar, apart from the figures


def test_bits_as_json(capsys, folder):
    code, out, _ = run(capsys, "measure", "bits", folder, "--text", folder.parent / "text.txt", "--json")
    (found,) = json.loads(out)
    assert code == 0 and found["model"] == str(folder) and found["bits_per_byte"] > 0


def test_vocabulary_prints_every_text(capsys, folder):
    text = folder.parent / "text.txt"
    code, out, _ = run(capsys, "measure", "vocabulary", folder, "--text", text, "--text", text)
    assert code == 0 and len(out.splitlines()) == 4
    assert " 290 " in out


def test_heal_writes_a_checkpoint_and_prints_the_curve(capsys, folder):
    text = folder.parent / "text.txt"
    arguments = ["heal", folder, "--text", text, "--eval-text", text, "--steps", 4, "--window", 32]
    code, out, _ = run(capsys, *arguments, "--tokens-per-step", 64, "--train", "all")
    assert code == 0
    assert "4 steps" in out and "passes over the text" in out and out.count("bits per byte") == 5
    assert (folder.with_name("model-healed") / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "bits", "{folder}", "--text", "{folder}/none.txt"], "cannot read the text file"),
        (["measure", "bits", "/no/such/folder", "--text", "{text}"], "there is no folder"),
        (["measure", "bits", "{text}", "--text", "{text}"], "is a file"),
        (["measure", "bits", "{folder}", "--text", "{text}", "--dtype", "int4"], "--dtype must be one of"),
        (
            ["heal", "{folder}", "--text", "{text}", "--steps", "1", "--train", "some", "--output", "{folder}-x"],
            "train must be one of",
        ),
        (["heal", "{folder}", "--text", "{text}", "--steps", "1", "--output", "{folder}"], "{folder}"),
    ],
)
def test_errors_are_one_message_and_no_traceback(capsys, folder, arguments, message):
    names = {"folder": folder, "text": folder.parent / "text.txt"}
    code, out, err = run(capsys, *(argument.format(**names) for argument in arguments))
    last = err.strip().splitlines()[-1]
    assert code == 1 and out == ""
    assert last.startswith("tokext: ") and message.format(**names) in last and "Traceback" not in err


def test_debug_shows_the_traceback():
    from hf_tokext.errors import TextError

    with pytest.raises(TextError):
        main(["measure", "vocabulary", "x", "--text", "/no/such/file", "--debug"])
