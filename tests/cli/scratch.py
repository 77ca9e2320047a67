"""What the tests of `tokext transplant` share."""

import pytest

from hf_tokext.cli import main

OTHER = "a wholly different text about rivers, boats and bridges; rivers and boats again, under bridges " * 4
ROLES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
DONOR_ROWS = 320


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["transplant", *map(str, arguments)])
    captured = capfd.readouterr()
    return left.value.code, captured.out, captured.err


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
