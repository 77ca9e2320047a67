"""`tokext extend`: put domains and modalities on a checkpoint, beside the vocabulary that it has."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_tokext.errors import VerificationError, VocabularyError


def extend(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder or Hub id of a language model in safetensors.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder to write.")],
    domain: Annotated[
        list[str] | None,
        typer.Option(
            "--domain",
            help="NAME, or NAME:SETTING=VALUE,...; there are box, svg, molecule and llvm_ir. Repeat for more than one.",
        ),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(
            "--modality",
            help="NAME=CODEC, a folder with a codec and its processor, or NAME=CODEC,OPTION=VALUE,...; options are layout "
            "(interleave, flat, delay), input (ids, codebook; latent for a continuous codec), projector_size and "
            "flow_layers. Repeat for more than one.",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="How new rows are made: description, pieces, or a row method such as mean.")
    ] = "description",
    text: Annotated[
        list[str] | None, typer.Option(help="Your own text, for calibration; repeat for more, or quote a pattern.")
    ] = None,
    pad_to_multiple_of: Annotated[int | None, typer.Option(help="Round the rows up to a multiple.")] = None,
    calibrate: Annotated[bool, typer.Option(help="Run the base once to calibrate new rows.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing checkpoint folder.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Teach the vocabulary of BASE the tokens of drawings, or the codes of images and sounds, and write a checkpoint to OUT."""
    from hf_tokext.cli.transplant import StageBars, files_of
    from hf_tokext.extend import extend_checkpoint, make_domain
    from hf_tokext.measure.texts import read_texts

    if not domain and not modality:
        raise VocabularyError("name what BASE is to learn: --domain svg, or --modality image=FOLDER_OF_A_CODEC")
    domains = [make_domain(*_named(entry)) for entry in domain or ()]
    if modality:
        texts = read_texts(files_of(text)) if text else None
        options = {"method": method, "texts": texts, "calibrate": calibrate, "seed": seed}
        _with_modalities(base, output, domains, modality, options, pad_to_multiple_of, overwrite)
        return
    progress = StageBars()
    try:
        report = extend_checkpoint(
            base,
            output,
            domains,
            method=method,
            texts=read_texts(files_of(text)) if text else None,
            pad_to_multiple_of=pad_to_multiple_of,
            calibrate=calibrate,
            overwrite=overwrite,
            seed=seed,
            progress=progress,
        )
    finally:
        progress.close()
    print(report.to_markdown())
    _tell(domains)
    print(f"written to {output}")


def _tell(domains: list[Any]) -> None:
    for each in domains:
        print(
            f"{each.name}: {len(each.tokens):,} tokens from {each.text_of(0)} to {each.text_of(len(each.tokens) - 1)}"
        )


def _with_modalities(
    base: str,
    output: str,
    domains: list[Any],
    modalities: list[str],
    options: dict[str, Any],
    multiple: int | None,
    overwrite: bool,
) -> None:
    """Do it in memory, since codecs and language model become one checkpoint."""
    from transformers import AutoProcessor

    from hf_tokext.cli.loading import load_causal_model
    from hf_tokext.extend import extend_model, extend_with_codecs
    from hf_tokext.training.codec_files import load_codec
    from hf_tokext.transplant.checkpoint_source import local_folder
    from hf_tokext.transplant.folder import output_folder
    from hf_tokext.transplant.tokenizer_files import load_tokenizer

    named = dict(_codec(entry) for entry in modalities)
    if len(named) < len(modalities):
        raise VocabularyError("--modality names one modality twice")
    loaded = {name: load_codec(folder) for name, (folder, _) in named.items()}
    with output_folder(output, overwrite=overwrite) as scratch:
        folder = local_folder(base)
        model, tokenizer = load_causal_model(folder, base, "auto"), load_tokenizer(folder, base)
        method = options.pop("method")
        if domains:
            model, tokenizer, report = extend_model(model, tokenizer, domains, method=method, **options)
            print(report.to_markdown())
        codecs = {name: (codec, processor) for name, (codec, _, processor) in loaded.items()}
        settings = {name: given for name, (_, given) in named.items()}
        whole, processor = extend_with_codecs(model, tokenizer, codecs, options=settings, **options)
        if multiple:
            whole.resize_token_embeddings(None, multiple, mean_resizing=False)
        whole.save_pretrained(scratch)
        processor.save_pretrained(scratch)
        found: Any = AutoProcessor.from_pretrained(scratch, trust_remote_code=False)
        if found.spaces != processor.spaces or found.spaces != whole.config.spaces.codes:
            raise VerificationError("the processor that was saved has other ids for the codes than the model; tell us")
    _tell(domains)
    for name, space in processor.spaces.items():
        what = "latents" if space.is_continuous else f"{space.size:,} codes from id {space.base:,}"
        places = "as many places as it is long" if space.steps is None else f"{space.steps} places"
        print(f"{name}: {what}, {places}; write {space.marker_texts[2]} where one stands")
    print(f"written to {output}")


def _codec(entry: str) -> tuple[str, tuple[Path, dict[str, Any]]]:
    """Name, folder and options of a modality."""
    first, *rest = entry.split(",")
    pairs = [part.partition("=") for part in (first, *rest)]
    if not all(name and value for name, _, value in pairs):
        raise VocabularyError(f"--modality {entry!r} is not of the form NAME=FOLDER,OPTION=VALUE,OPTION=VALUE")
    (name, _, folder), *options = pairs
    return name, (Path(folder), {key: int(value) if value.isdigit() else value for key, _, value in options})


def _named(entry: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of a domain."""
    name, _, rest = entry.partition(":")
    settings = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise VocabularyError(f"--domain {entry!r} is not of the form NAME:SETTING=VALUE,SETTING=VALUE")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return name, settings
