"""`tokext measure ir`: what LLVM modules consist of."""

import json
from pathlib import Path
from typing import Annotated

import typer


def ir(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATHS...", help="Files of LLVM IR (.ll, .bc), or folders of them.")
    ],
    output: Annotated[Path | None, typer.Option(help="A parquet file: one row a function.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many work at once.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Instructions, tokens an instruction, bytes a token and duplicates of LLVM modules, by language."""
    from tqdm import tqdm

    from hf_tokext.cli.measure import aligned
    from hf_tokext.measure.ir import measure_ir

    with tqdm(desc="modules", unit="file") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = measure_ir(paths, processes=processes, progress=show)
    if output is not None:
        found.write_parquet(output)
    if as_json:
        print(json.dumps({"languages": found.by_language(), "bad": found.bad}, indent=2))
    else:
        table = [
            (
                "language",
                "modules",
                "functions",
                "instructions",
                "tokens",
                "bytes",
                "tokens/instruction",
                "bytes/token",
                "same modules",
                "same functions",
            )
        ]
        for row in found.by_language():
            ratios = (
                "?" if row[what] is None else f"{row[what]:.2f}"
                for what in ("tokens_per_instruction", "bytes_per_token")
            )
            counts = (f"{row[what]:,}" for what in ("modules", "functions", "instructions", "tokens", "bytes"))
            same = (f"{row[what]:,}" for what in ("duplicate_modules", "duplicate_functions"))
            table.append((row["language"], *counts, *ratios, *same))
        print(aligned(table))
        for path, reason in found.bad.items():
            print(f"left out: {path}: {reason}")
    if not found.modules:
        raise typer.Exit(1)
