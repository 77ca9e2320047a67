"""`tokext transplant`: put another tokenizer on a checkpoint."""

import json
import re
import sys
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_tokext.errors import RowMethodError, TextError, VocabularyError

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def transplant(
    base: Annotated[str, typer.Argument(help="Folder or Hub id of the model whose weights stay.")],
    places: Annotated[
        list[str], typer.Argument(metavar="[DONOR] OUT", help="Whose tokenizer comes, and the folder to make.")
    ],
    train_on: Annotated[
        list[str] | None,
        typer.Option(
            "--train-on",
            help="Train a new tokenizer on this file instead of DONOR; repeat for more, or quote a pattern: '*.txt'.",
        ),
    ] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Ids of the new tokenizer, with --train-on.")] = None,
    digits: Annotated[
        str | None,
        typer.Option(help="single, left3 or right3: how the new tokenizer (without DONOR: BASE's own) cuts numbers."),
    ] = None,
    method: Annotated[str, typer.Option(help="Row method, or auto.")] = "auto",
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE for the row method, such as k=8; repeat for more.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Your own text: counts, calibration, word vectors; repeat for more, or quote a pattern."),
    ] = None,
    map_: Annotated[list[str] | None, typer.Option("--map", help="NEW=OLD: the old token that a new one gets.")] = None,
    match_rows: Annotated[bool, typer.Option(help="Exactly the donor's padded row count, for draft models.")] = False,
    pad_to_multiple_of: Annotated[int | None, typer.Option(help="Round the rows up to a multiple.")] = None,
    calibrate: Annotated[bool, typer.Option(help="Run the base once to calibrate new rows.")] = True,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; default: as stored.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Work space of the row method, such as 2G.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing checkpoint folder.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the plan and its cost; write nothing.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Put the tokenizer of DONOR on BASE and write a standard checkpoint to OUT.

    Without DONOR it is one trained on your text (--train-on), or BASE's own with numbers cut otherwise (--digits).
    """
    if len(places) not in ((1,) if train_on else (1, 2) if digits else (2,)):
        raise typer.BadParameter(_misplaced(places, bool(train_on), bool(text)))
    *donors, output = places
    donor = donors[0] if donors else None
    overrides = dict(_pair(entry) for entry in map_ or ())
    method_options = dict(_option(entry) for entry in option or ())
    memory = _bytes(max_memory) if max_memory else None

    import torch

    from hf_tokext.measure.texts import read_texts
    from hf_tokext.transplant import transplant_checkpoint

    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, None: None}
    if dtype not in kinds:
        raise typer.BadParameter(f"--dtype must be float32, bfloat16 or float16, not {dtype!r}")
    training = read_texts(files_of(train_on)) if train_on else None
    progress = StageBars()
    try:
        report = transplant_checkpoint(
            base,
            donor,
            output,
            train_on=training,
            vocab_size=vocab_size,
            digits=digits,
            method=method,
            method_options=method_options,
            overrides=overrides,
            texts=read_texts(files_of(text)) if text else None,
            match_rows=match_rows,
            pad_to_multiple_of=pad_to_multiple_of,
            calibrate=calibrate,
            dtype=kinds[dtype],
            max_memory=memory,
            overwrite=overwrite,
            dry_run=dry_run,
            seed=seed,
            progress=progress,
        )
    finally:
        progress.close()
    print(report.to_markdown())
    print("nothing was written (--dry-run)" if dry_run else f"written to {output}")


class StageBars:
    """One progress bar a stage, on stderr."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is.

        Args:
            stage: its name.
            done: what of it is done.
            total: what there is to do.
        """
        from tqdm import tqdm

        if stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, unit_scale=True, leave=True)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the line of the last bar, so that what is printed next stands on its own."""
        if self._bar is not None:
            self._bar.close()


def _pair(entry: str) -> tuple[str, str]:
    new, equals, old = entry.partition("=")
    if not (new and equals and old):
        raise VocabularyError(f"--map {entry!r} is not of the form NEW=OLD, such as '<|im_end|>=</s>'")
    return new, old


def _option(entry: str) -> tuple[str, Any]:
    name, equals, value = entry.partition("=")
    if not (name and equals):
        raise RowMethodError(f"--option {entry!r} is not of the form NAME=VALUE, such as k=8")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def files_of(patterns: list[str]) -> list[Path]:
    """Find the text files that a user means.

    Args:
        patterns: names, and patterns that the shell left alone; a file of the very name is no pattern.

    Returns:
        The files that are named, and those that match, sorted.

    Raises:
        TextError: a pattern matches nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        if not has_magic(pattern) or Path(pattern).exists():
            found.append(Path(pattern))
            continue
        matches = sorted(path for path in map(Path, glob(pattern, recursive=True)) if path.is_file())
        if not matches:
            raise TextError(f"no file matches the pattern {pattern!r}; check it, or name the files")
        found += matches
    return found


def _misplaced(places: list[str], trains: bool, has_text: bool) -> str:
    usage = "give BASE DONOR OUT, or BASE OUT with --train-on FILE --vocab-size N or with --digits SCHEME"
    stray = [place for place in places if Path(place).is_file()]
    if not (stray and (trains or has_text)):
        return usage
    return (
        f"{stray[0]} is a file and stands alone: every file needs its own flag (--train-on a.txt --train-on b.txt), or "
        f"quote a pattern so that the shell leaves it alone (--train-on '*.txt'); otherwise {usage}"
    )


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)", text.upper(), re.ASCII)
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not size:
        raise TextError(f"--max-memory {text!r} is not a size; write for example 500M or 2G")
    return size
