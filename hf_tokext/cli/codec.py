"""`tokext codec`: train a codec on a folder of files, and send files through it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Codecs of images, recordings and depth maps: train, encode, decode.")
Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of files; all folders in it are searched.")]
Codec = Annotated[Path, typer.Argument(metavar="CODEC", help="Folder of a codec and its processor.")]


@app.command()
def train(
    data: Data,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that is made.")],
    modality: Annotated[
        str | None,
        typer.Option(
            help="image, audio or depth; default: what DATA has, where .npy is depth and pictures are images."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="An option of the codec's config, such as image_size=32; repeat."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 1000,
    batch: Annotated[int, typer.Option(help="Pieces of files a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    eval_every: Annotated[int | None, typer.Option(help="Steps between measurements; default: a fifth.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of a stopped run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Train a codec; OUT holds it, its report, curves, and held-out files beside what comes back of them."""
    from accelerate import PartialState

    from hf_tokext.training.codec import train_codec

    target, report = train_codec(
        data, output, modality=modality, options=_options(option or []), steps=steps, batch=batch,
        learning_rate=learning_rate, eval_every=eval_every, seed=seed, resume=resume, overwrite=overwrite,
    )  # fmt: skip
    if not PartialState().is_main_process:
        return
    print(f"{target}: {report.steps} steps on {report.files} files of {report.modality}, {report.held_out} held out")
    for step, loss in report.held_out_losses:
        print(f"  step {step:>6}  held-out loss {loss:.4f}")
    if report.quality:
        print("  held out: " + ", ".join(f"{name} {value:.2f} dB" for name, value in report.quality.items()))
    for number, (size, use) in enumerate(zip(report.codebook_sizes, report.usage, strict=True)):
        print(f"  codebook {number}: {use['used']:.1%} of {size} codes used, perplexity {use['perplexity']:.0f}")
    for path, reason in report.left_out.items():
        print(f"left out: {path}: {reason}")


@app.command()
def encode(
    codec: Codec,
    data: Data,
    output: Annotated[Path, typer.Argument(metavar="CODES", help="Parquet file that is made: one row a file.")],
    processes: Annotated[int, typer.Option(min=1, help="How many work at once.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Files that are encoded together.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace CODES.")] = False,
) -> None:
    """Encode a folder of files to a table of codes."""
    from tqdm import tqdm

    from hf_tokext.training.codec_codes import encode_files

    with tqdm(desc="encoded", unit="file") as bar:
        count, bad = encode_files(
            codec, data, output, processes=processes, batch=batch, overwrite=overwrite, progress=_shown(bar)
        )
    for path, reason in bad.items():
        print(f"left out: {path}: {reason}")
    print(f"{output}: codes of {count} files")


@app.command()
def decode(
    codec: Codec,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="Parquet file, as encode wrote it.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that is made.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Rows at most, from the first on.")] = None,
) -> None:
    """Decode a table of codes to files."""
    from tqdm import tqdm

    from hf_tokext.training.codec_codes import decode_files

    with tqdm(desc="decoded", unit="file") as bar:
        count = decode_files(codec, codes, output, limit=limit, progress=_shown(bar))
    print(f"{output}: {count} files")


def _shown(bar: Any) -> Any:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


def _options(given: list[str]) -> dict[str, Any]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{each!r} is not NAME=VALUE, such as image_size=32", param_hint="--set")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
