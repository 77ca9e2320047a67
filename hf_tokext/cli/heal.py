"""`tokext heal`: a short fine-tuning after a change of vocabulary."""

from pathlib import Path
from typing import Annotated

import typer


def heal(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the checkpoint, as transplant wrote it.")],
    text: Annotated[
        list[str],
        typer.Option("--text", help="A UTF-8 text file to learn from; repeat for more, or quote a pattern: '*.txt'."),
    ],
    steps: Annotated[int, typer.Option(help="Optimizer steps.")],
    train: Annotated[
        str, typer.Option(help="rows (new embedding rows only), lora (LoRA and all embeddings) or all.")
    ] = "rows",
    eval_text: Annotated[
        list[str] | None, typer.Option("--eval-text", help="Held-out text for the recovery curve; repeat for more.")
    ] = None,
    eval_every: Annotated[int | None, typer.Option(help="Steps between measurements; default: a fifth.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Result folder; default: OUT-healed.")] = None,
    tokens_per_step: Annotated[int, typer.Option(help="Tokens in an optimizer step.")] = 1024,
    window: Annotated[int, typer.Option(help="Tokens in a window, the opening one included.")] = 512,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate; default: by --train.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    merge: Annotated[bool, typer.Option(help="Merge the adapter back; --no-merge writes the adapter alone.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of a stopped run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result folder.")] = False,
) -> None:
    """Heal a checkpoint by a short fine-tuning, and say how much it recovered."""
    from accelerate import PartialState

    from hf_tokext.cli.transplant import files_of
    from hf_tokext.measure import read_texts
    from hf_tokext.training import heal_checkpoint

    target, report = heal_checkpoint(
        folder,
        read_texts(files_of(text)),
        output,
        steps=steps,
        train=train,
        eval_texts=read_texts(files_of(eval_text)) if eval_text else None,
        eval_every=eval_every,
        tokens_per_step=tokens_per_step,
        window=window,
        learning_rate=learning_rate,
        seed=seed,
        merge=merge,
        resume=resume,
        overwrite=overwrite,
    )
    if not PartialState().is_main_process:
        return
    print(
        f"{target}: {report.steps} steps, {report.tokens_seen} tokens seen ({report.passes:.2f} passes over the text)"
    )
    for point in report.curve:
        print(f"  step {point.step:>6}  {point.tokens_seen:>10} tokens  {point.bits_per_byte:.4f} bits per byte")
