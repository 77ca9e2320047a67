"""`tokext measure`: what a model or a tokenizer is worth on a text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_tokext.cli.measure_audio import audio
from hf_tokext.cli.measure_codebook import codebook
from hf_tokext.cli.measure_ir import ir

app = typer.Typer(
    help="Measure models and tokenizers on text files, LLVM modules, codes, and codecs of sounds.", no_args_is_help=True
)
app.command("ir")(ir)
app.command("audio")(audio)
app.command("codebook")(codebook)

TextOption = Annotated[list[Path], typer.Option("--text", help="A UTF-8 text file; repeat for more.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("bits")
def bits(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Folders or Hub ids of causal LMs.")],
    text: TextOption,
    window: Annotated[
        int, typer.Option(help="Tokens (of models over bytes: bytes) in a window, the opening one included.")
    ] = 512,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or auto (as stored).")] = "float32",
    batch_size: Annotated[int | None, typer.Option(help="Windows at once; default: by memory.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bits per byte, tokens per byte and the text that fits the context; comparable across tokenizers."""
    from tqdm import tqdm

    from hf_tokext.cli.loading import load_causal_model
    from hf_tokext.measure import bits_per_byte, read_texts
    from hf_tokext.models.byte_level.bits import bits_of_bytes
    from hf_tokext.models.byte_level.byte_model import ByteModel
    from hf_tokext.transplant.checkpoint_source import local_folder
    from hf_tokext.transplant.tokenizer_files import load_tokenizer

    texts = read_texts(text)
    found: list[dict[str, Any]] = []
    for name in models:
        folder = local_folder(name)
        tokenizer, model = load_tokenizer(folder, name), load_causal_model(folder, name, dtype)
        if isinstance(model, ByteModel):
            found.append({"model": name, "window": window, **bits_of_bytes(model, texts, window).to_dict()})
            continue
        with tqdm(desc=Path(name).name, unit="window") as bar:

            def show(done: int, total: int, bar: Any = bar) -> None:
                bar.total = total
                bar.update(done - bar.n)

            result = bits_per_byte(model, tokenizer, texts, window=window, batch_size=batch_size, progress=show)
        found.append({"model": name, "window": window, **result.to_dict()})
        del model
    if as_json:
        print(json.dumps(found, indent=2))
        return
    header = ("model", "bits/byte", "tokens/byte", "context", "text that fits")
    table = [
        (
            str(entry["model"]),
            f"{entry['bits_per_byte']:.4f}",
            f"{entry['tokens_per_byte']:.4f}",
            "?" if entry["context_tokens"] is None else str(entry["context_tokens"]),
            "?" if entry["context_bytes"] is None else f"{entry['context_bytes'] / 1000:.1f} kB",
        )
        for entry in found
    ]
    print(aligned([header, *table]))
    for entry in found:
        if entry["caveat"]:
            print(f"{entry['model']}: not comparable: {entry['caveat']}")


@app.command("vocabulary")
def vocabulary(
    tokenizers: Annotated[list[str], typer.Argument(metavar="TOKENIZER...", help="Folders or Hub ids.")],
    text: TextOption,
    as_json: JsonOption = False,
) -> None:
    """Tokens per byte, and how much of the vocabulary the texts use."""
    from hf_tokext.measure import read_texts, vocabulary_use
    from hf_tokext.transplant.checkpoint_source import local_folder
    from hf_tokext.transplant.tokenizer_files import load_tokenizer

    texts = read_texts(text)
    folders = {name: local_folder(name, weights=False) for name in tokenizers}
    found = [(name, vocabulary_use(load_tokenizer(folders[name], name), texts)) for name in tokenizers]
    if as_json:
        print(json.dumps([{"tokenizer": name, **use.to_dict()} for name, use in found], indent=2))
        return
    table = [("tokenizer", "text", "tokens/byte", "vocabulary", "used", "never used", "unknown")]
    for name, use in found:
        counts = (str(use.vocabulary), f"{use.used} ({use.share_used:.1%})", str(use.never_used), str(use.unknown))
        table.append((name, "all", f"{use.tokens_per_byte:.4f}", *counts))
        if len(text) > 1:
            table += [
                ("", path.name, f"{each:.4f}", "", "", "", "") for path, each in zip(text, use.per_text, strict=True)
            ]
    print(aligned(table))


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Lay a table out in columns, the first to the left, figures to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
