"""`tokext transplant`: put another tokenizer on a checkpoint."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_tokext.errors import TextError, VocabularyError

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def transplant(
    base: Annotated[str, typer.Argument(help="Folder or Hub id of the model whose weights stay.")],
    places: Annotated[
        list[str], typer.Argument(metavar="[DONOR] OUT", help="Whose tokenizer comes, and the folder to make.")
    ],
    train_on: Annotated[
        list[Path] | None, typer.Option("--train-on", help="Train a new tokenizer on this file instead of DONOR.")
    ] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Ids of the new tokenizer, with --train-on.")] = None,
    digits: Annotated[
        str | None,
        typer.Option(help="single, left3 or right3: how the new tokenizer (without DONOR: BASE's own) cuts numbers."),
    ] = None,
    method: Annotated[str, typer.Option(help="Row method, or auto.")] = "auto",
    text: Annotated[list[Path] | None, typer.Option(help="Your own text: counts, calibration, word vectors.")] = None,
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
        raise typer.BadParameter(
            "give BASE DONOR OUT, or BASE OUT with --train-on FILES --vocab-size N or with --digits SCHEME"
        )
    *donors, output = places
    donor = donors[0] if donors else None
    overrides = dict(_pair(entry) for entry in map_ or ())
    memory = _bytes(max_memory) if max_memory else None

    import torch

    from hf_tokext.measure.texts import read_texts
    from hf_tokext.transplant import transplant_checkpoint

    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, None: None}
    if dtype not in kinds:
        raise typer.BadParameter(f"--dtype must be float32, bfloat16 or float16, not {dtype!r}")
    training = read_texts(train_on) if train_on else None
    progress = _Progress()
    try:
        report = transplant_checkpoint(
            base,
            donor,
            output,
            train_on=training,
            vocab_size=vocab_size,
            digits=digits,
            method=method,
            overrides=overrides,
            texts=read_texts(text) if text else None,
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


class _Progress:
    """One progress bar a stage, on stderr."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
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


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)", text.upper(), re.ASCII)
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not size:
        raise TextError(f"--max-memory {text!r} is not a size; write for example 500M or 2G")
    return size
