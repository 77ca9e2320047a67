"""The command `tokext`: one file a command, each importing what it needs only when it runs."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hf_tokext.cli import byteify, card, codec, complete, extend, heal, measure, transplant
from hf_tokext.errors import TokextError

app = typer.Typer(
    name="tokext",
    help="New tokens for pretrained models: swap the tokenizer of a language model, extend it, heal it, read it byte by byte, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("transplant")(transplant.transplant)
app.command("heal")(heal.heal)
app.command("extend")(extend.extend)
app.command("byteify")(byteify.byteify)
app.command("complete")(complete.complete)
app.command("card")(card.card)
app.add_typer(codec.app, name="codec")
app.add_typer(measure.app, name="measure")


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Exists for the help: `main` takes `--debug` out of the arguments, so that it may stand anywhere."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    An error of the package ends it with one line on stderr and exit code 1; `--debug` shows the traceback.

    Args:
        arguments: what follows `tokext`; None takes it from the process.

    Raises:
        TokextError: only with `--debug`.
        SystemExit: always, with the exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app([argument for argument in given if argument != "--debug"])
    except TokextError as error:
        if debug:
            raise
        message = " ".join(line.strip() for line in str(error).splitlines() if line.strip())  # libraries' span lines
        print(f"tokext: {message}", file=sys.stderr)
        raise SystemExit(1) from None
