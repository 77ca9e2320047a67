"""`tokext extend`: put domains on a checkpoint, beside the vocabulary that it has."""

import json
from typing import Annotated, Any

import typer

from hf_tokext.errors import VocabularyError


def extend(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder or Hub id of a language model in safetensors.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder to write.")],
    domain: Annotated[
        list[str],
        typer.Option(
            "--domain",
            help="NAME, or NAME:SETTING=VALUE,...; there are svg, molecule and llvm_ir. Repeat for more than one.",
        ),
    ],
    method: Annotated[
        str, typer.Option(help="How new rows are made: description, pieces, or a row method such as mean.")
    ] = "description",
    text: Annotated[
        list[str] | None, typer.Option(help="Your own text, for calibration; repeat for more, or quote a pattern.")
    ] = None,
    pad_to_multiple_of: Annotated[int | None, typer.Option(help="Round the rows up to a multiple.")] = None,
    calibrate: Annotated[bool, typer.Option(help="Run the base once to calibrate new rows.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing checkpoint folder.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Teach the vocabulary of BASE the tokens of drawings, and write a standard checkpoint to OUT."""
    from hf_tokext.cli.transplant import StageBars, files_of
    from hf_tokext.extend import extend_checkpoint, make_domain
    from hf_tokext.measure.texts import read_texts

    domains = [make_domain(*_named(entry)) for entry in domain]
    progress = StageBars()
    try:
        report = extend_checkpoint(
            base,
            output,
            domains,
            method=method,
            texts=read_texts(files_of(text)) if text else None,
            pad_to_multiple_of=pad_to_multiple_of,
            calibrate=calibrate,
            overwrite=overwrite,
            seed=seed,
            progress=progress,
        )
    finally:
        progress.close()
    print(report.to_markdown())
    for each in domains:
        print(
            f"{each.name}: {len(each.tokens):,} tokens from {each.text_of(0)} to {each.text_of(len(each.tokens) - 1)}"
        )
    print(f"written to {output}")


def _named(entry: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of a domain."""
    name, _, rest = entry.partition(":")
    settings = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise VocabularyError(f"--domain {entry!r} is not of the form NAME:SETTING=VALUE,SETTING=VALUE")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return name, settings
