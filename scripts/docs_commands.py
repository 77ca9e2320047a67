"""A hook of mkdocs: writes the reference of the command line from the commands themselves, when the site is built."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from hf_tokext.cli import app

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands in the place of the mark.

    Args:
        markdown: a page.
        **_: what else mkdocs tells.

    Returns:
        The page, with the usage and the options of every command.
    """
    return markdown.replace(MARK, commands()) if MARK in markdown else markdown


def commands() -> str:
    """Usage, arguments and options of every command, as Markdown of the second level on."""
    return "\n".join(_lines("tokext", typer.main.get_command(app)))


def _lines(name: str, command: Any) -> Iterator[str]:
    context = typer.Context(command)
    inner = getattr(command, "commands", {})
    if not inner:
        usage = re.sub(r"\{(.*?)\}(\.\.\.)?", r"\1", " ".join(command.collect_usage_pieces(context))).upper()
        yield from (
            f"## {name}",
            "",
            command.help,
            "",
            "```console",
            f"$ {name} {usage}",
            "```",
            "",
            "| | what it says |",
            "|---|---|",
        )
        for each in command.get_params(context):
            if record := each.get_help_record(context):
                left, right = (text.replace("|", "\\|") for text in record)
                yield f"| `{left.partition(' <')[0].upper() if each.param_type_name == 'argument' else left}` | {right} |"
        yield ""
    for each in inner.values():
        yield from _lines(f"{name} {each.name}", each)
