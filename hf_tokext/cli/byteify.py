"""`tokext byteify`: a causal LM over tokens as a checkpoint over bytes."""

from pathlib import Path
from typing import Annotated

import typer


def byteify(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder or Hub id of a causal LM in safetensors.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    measure: Annotated[
        str, typer.Option(help="all_strings (of all token strings that spell a text) or canonical (the tokenizer's).")
    ] = "all_strings",
    tolerance: Annotated[
        float, typer.Option(help="Token sequences with no larger share of the probability are dropped; 0: none.")
    ] = 1e-3,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or auto (as stored).")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")] = False,
) -> None:
    """Write a checkpoint that reads and writes bytes with the probabilities of a causal LM over tokens."""
    from hf_tokext import byteify as byteified
    from hf_tokext.cli.loading import load_causal_model
    from hf_tokext.transplant.checkpoint_source import local_folder
    from hf_tokext.transplant.folder import output_folder, refuse_existing, refuse_overlap
    from hf_tokext.transplant.tokenizer_files import load_tokenizer

    folder = local_folder(base)
    refuse_overlap(output, folder)
    refuse_existing(output, overwrite)
    tokenizer, model = load_tokenizer(folder, base), load_causal_model(folder, base, dtype)
    byte_model, byte_tokenizer = byteified(model, tokenizer, measure=measure, tolerance=tolerance)
    with output_folder(output, overwrite=overwrite) as temporary:
        byte_model.save_pretrained(temporary)
        byte_tokenizer.save_pretrained(temporary)
    markers = byte_model.config.vocab_size - 256
    print(
        f"{output}: 256 bytes and {markers} markers over {type(model).__name__}, measure {measure}, tolerance {tolerance:g}"
    )
