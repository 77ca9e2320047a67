"""`tokext complete`: going on from a prompt that may end inside a token."""

import os
import sys
from typing import Annotated

import typer


def complete(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder or Hub id of a causal LM, byteified or not.")],
    prompt: Annotated[str, typer.Option(help="Text to go on from, wherever it ends.")],
    suffix: Annotated[
        str | None, typer.Option(help="Fill in what stands between the prompt and this; for models with FIM markers.")
    ] = None,
    by_bytes: Annotated[
        bool,
        typer.Option("--bytes", help="Write byte by byte throughout, not only to the end of the prompt's last token."),
    ] = False,
    arrangement: Annotated[
        str, typer.Option(help="With --suffix: prefix_suffix_middle or suffix_prefix_middle.")
    ] = "prefix_suffix_middle",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to write; with --bytes, bytes.")] = 64,
    temperature: Annotated[
        float, typer.Option(min=0, max=100, help="0 takes the most likely; else drawn at this temperature.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    measure: Annotated[
        str | None,
        typer.Option(
            help="canonical (spellings of the tokenizer) or all_strings.",
            show_default="canonical; a byteified model has its own",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Token sequences with no larger share of the probability are dropped; 0: none.",
            show_default="0.001; a byteified model has its own",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or auto (as stored).")] = "auto",
) -> None:
    """Print what a model writes after a prompt; a prompt that ends inside a token is gone on from as if it did not."""
    import torch

    from hf_tokext import ByteLevelForCausalLM
    from hf_tokext import complete as completed
    from hf_tokext.cli.loading import load_causal_model
    from hf_tokext.errors import UnsupportedModelError
    from hf_tokext.transplant.checkpoint_source import local_folder
    from hf_tokext.transplant.tokenizer_files import load_tokenizer

    folder = local_folder(model)
    loaded, tokenizer = load_causal_model(folder, model, dtype), load_tokenizer(folder, model)
    if isinstance(loaded, ByteLevelForCausalLM) and not (measure is tolerance is None):
        raise UnsupportedModelError(
            f"{model} is byteified with a measure and a tolerance of its own; leave --measure and --tolerance out, or "
            "byteify its base anew with them"
        )
    torch.manual_seed(seed)
    chance = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    (found,) = completed(
        loaded,
        _text(prompt),
        tokenizer,
        None if suffix is None else _text(suffix),
        "bytes" if by_bytes else "boundary",
        arrangement,
        measure or "canonical",
        1e-3 if tolerance is None else tolerance,
        max_new_tokens=max_new_tokens,
        **chance,
    )
    sys.stdout.buffer.write(found + b"\n")


def _text(given: str) -> str | bytes:
    """An argument as it was typed: bytes where it is no UTF-8, which a prompt cut inside a character is not."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return os.fsencode(given)
    return given
