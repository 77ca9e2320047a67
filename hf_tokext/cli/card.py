"""`tokext card`: a model card from a checkpoint's own report."""

from pathlib import Path
from typing import Annotated

import typer


def card(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the checkpoint.")],
    repo: Annotated[str | None, typer.Option("--repo", help="Its name on the Hub; default: the folder's name.")] = None,
    bits: Annotated[
        Path | None,
        typer.Option("--bits", help="What `tokext measure bits BASE DIR --json` wrote, for the card's table."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a card that somebody wrote.")] = False,
) -> None:
    """Write README.md into a checkpoint's folder: what was done, how to load it, limits, licence."""
    from hf_tokext.hub import write_card

    print(f"written to {write_card(folder, repo_id=repo, bits=bits, overwrite=overwrite)}")
