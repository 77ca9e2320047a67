"""`tokext measure codebook`: how the codes of tables are used."""

import json
from pathlib import Path
from typing import Annotated

import typer


def codebook(
    tables: Annotated[
        list[Path], typer.Argument(metavar="CODES...", help="Parquet files, as `tokext codec encode` writes them.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Share of codes used, entropy and perplexity of each codebook, on the files of a table."""
    import torch

    from hf_tokext.cli.measure import aligned
    from hf_tokext.measure.codebook import codebook_use
    from hf_tokext.training.code_table import read_table

    found = {}
    for path in tables:
        table = read_table(path, columns=["codes"])
        each = (torch.tensor(row.as_py()) for row in table.rows["codes"])
        found[str(path)] = codebook_use(each, table.codebook_sizes)
    if as_json:
        print(json.dumps({path: [use.to_dict() for use in uses] for path, uses in found.items()}, indent=2))
        return
    head = (
        "table",
        "codebook",
        "codes",
        "counted",
        "used",
        "used if even",
        "bits",
        "of",
        "Huffman",
        "perplexity",
        "most",
    )
    lines = [head]
    for name, uses in found.items():
        for number, use in enumerate(uses):
            counts = (str(number), f"{use.size:,}", f"{use.counted:,}", f"{use.used:.1%}", f"{use.used_if_even:.1%}")
            bits = (f"{use.bits:.2f}", f"{use.stored_bits:.2f}", f"{use.huffman_bits:.2f}")
            lines.append(("" if number else name, *counts, *bits, f"{use.perplexity:,.1f}", f"{use.most:.1%}"))
    print(aligned(lines))
