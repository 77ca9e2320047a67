"""Model cards: a template filled with the run's own report; a card that somebody wrote is never replaced unasked."""

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from hf_tokext.errors import CheckpointError, OutputExistsError
from hf_tokext.hub.codecs import codec_facts
from hf_tokext.hub.facts import facts, last_measurement, read_bits
from hf_tokext.hub.files import MARKED
from hf_tokext.hub.licences import licence_of, one_line
from hf_tokext.hub.loading import auto_class, distributions, loading_code, read_object
from hf_tokext.hub.senses import sense_facts
from hf_tokext.hub.templates import template_folder
from hf_tokext.models.codec_report import REPORT as CODEC_REPORT
from hf_tokext.transplant.checkpoint_source import checked_file
from hf_tokext.transplant.report import REPORT_JSON

CARD = "README.md"
MARK_START = "<!-- card by hf_tokext; "
MARK = re.compile(rf"\n{MARK_START}text ([0-9a-f]{{16}}), report ([0-9a-f]{{16}}) -->\s*$")
PIPELINES = {"AutoModelForCausalLM": "text-generation", "AutoModelForMaskedLM": "fill-mask"}


def write_card(
    folder: str | os.PathLike[str],
    *,
    repo_id: str | None = None,
    bits: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write README.md into a checkpoint's folder, from its report.

    A card of ours that nobody changed is replaced by the new one; any other only with `overwrite`.

    Args:
        folder: the checkpoint.
        repo_id: the name under which it will be on the Hub; None is the folder's name.
        bits: what `tokext measure bits --json` wrote, measured on this folder among others.
        overwrite: replace a card that was written or changed by somebody.

    Returns:
        The card's path.

    Raises:
        CheckpointError: the folder is no checkpoint, or a file of it is damaged.
        OutputExistsError: there is a card by somebody else.
        TextError: `bits` is no such file.
    """
    path = Path(folder) / CARD
    text = render_card(folder, repo_id=repo_id, bits=bits)
    if (path.exists() or path.is_symlink()) and not overwrite and not _is_ours(path):
        raise OutputExistsError(
            f"{path} was written or changed by somebody: keep it, or pass --overwrite to replace it by a generated one"
        )
    scratch = path.with_name(f".{CARD}.{os.urandom(4).hex()}")
    try:
        scratch.write_text(text, encoding="utf-8", newline="\n")
        os.replace(scratch, path)
    finally:
        with suppress(FileNotFoundError):
            scratch.unlink()
    return path


def render_card(
    folder: str | os.PathLike[str], *, repo_id: str | None = None, bits: str | os.PathLike[str] | None = None
) -> str:
    """The model card of a checkpoint, as text: metadata in YAML, then Markdown.

    Args:
        folder: the checkpoint.
        repo_id: the name under which it will be on the Hub; None is the folder's name.
        bits: what `tokext measure bits --json` wrote, measured on this folder among others.

    Returns:
        The card; equal input gives an equal card.

    Raises:
        CheckpointError: the folder is no checkpoint, or a file of it is damaged.
        TextError: `bits` is no such file.
    """
    source = Path(folder).resolve()
    if not any((source / name).is_file() for name in MARKED):
        raise CheckpointError(f"{folder} is no checkpoint: it has none of {', '.join(MARKED)}")
    report, config = read_object(source / REPORT_JSON), read_object(source / "config.json")
    codec, senses = codec_facts(source, config), sense_facts(config)
    name = repo_id or source.name
    measured, value = read_bits(Path(bits), source) if bits is not None else ([], None)
    results = [_result("text of the author's", value)] if value is not None else []
    if (healed := last_measurement(report)) is not None:
        results.append(_result("held-out text of the healing run", healed))

    base, donor = (found if isinstance(found := report.get(side), dict) else {} for side in ("base", "donor"))
    licence = licence_of(base, donor)
    data = ModelCardData(
        library_name="peft" if (source / "adapter_config.json").is_file() else "transformers",
        pipeline_tag=PIPELINES.get(auto_class(config)),
        tags=["hf_tokext", *_tags(report, codec, senses)],
        base_model=base["name"] if base.get("kind") == "hub" else None,
        model_name=name.rpartition("/")[2] if results else None,
        eval_results=results or None,
        **licence.metadata,
    )
    code, packages = loading_code(source, one_line(name).replace('"', "'"), (codec | senses).get("usage", ""))
    values: dict[str, Any] = (
        codec
        | senses
        | {
            "title": one_line(name.rpartition("/")[2]),
            "code": code,
            "packages": distributions(packages),
        }
    )
    values |= {"measured": measured, "licence": licence.lines if report else [_nothing_known()], "what": _what(config)}
    values |= facts(report) if report else {}
    kinds = {"transplant": report, "codec": codec, "multimodal": senses, "checkpoint": True}
    template = _template(next(kind for kind, found in kinds.items() if found))
    body = f"---\n{data.to_yaml()}\n---\n\n{template.render(values).strip()}\n"
    body = re.sub(r"\n{3,}", "\n\n", body)
    return f"{body}\n{MARK_START}text {_hash(body)}, report {_report_hash(source)} -->\n"


def _tags(report: Mapping[str, Any], codec: Mapping[str, Any], senses: Mapping[str, Any]) -> list[str]:
    if report:
        return ["tokenizer-transplant"]
    return ["codec", codec["modality"]] if codec else ["multimodal"] if senses else []


def is_generated(text: str) -> bool:
    """Whether a card is one of ours, and nobody changed it since.

    Args:
        text: the card.

    Returns:
        True also after a change of line ends.
    """
    text = text.replace("\r\n", "\n")
    mark = MARK.search(text)
    return mark is not None and _hash(text[: mark.start()]) == mark[1]


def card_for_push(folder: Path, repo_id: str) -> str:
    """The card that goes along with a push: the folder's own, or a new one where it has none, or an outdated one of ours.

    Args:
        folder: the checkpoint.
        repo_id: where it goes.

    Returns:
        The card; the folder is not touched.

    Raises:
        CheckpointError: the card is not UTF-8, or the folder no checkpoint.
        UnsafeCheckpointError: the card is a link out of the folder.
    """
    path = folder / CARD
    if not (path.exists() or path.is_symlink()):
        return render_card(folder, repo_id=repo_id)
    content = checked_file(folder, CARD).read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8") from error
    mark = MARK.search(text)
    outdated = mark is not None and mark[2] != _report_hash(folder)
    return render_card(folder, repo_id=repo_id) if outdated and is_generated(text) else text


def _is_ours(path: Path) -> bool:
    try:
        return path.is_file() and is_generated(path.read_bytes().decode("utf-8"))
    except ValueError:
        return False


def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(template_folder())
    # cards are Markdown that other code shows; what goes in is made safe by `one_line`
    return jinja2.Environment(
        loader=loader,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    ).get_template(f"{name}.md")


def _result(text: str, bits: float) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type="text",
        dataset_name=text,
        metric_type="bits_per_byte",
        metric_name="bits per byte",
        metric_value=round(bits, 6),
    )


def _what(config: dict[str, Any]) -> str:
    architecture = (config.get("architectures") or [None])[0]
    return f"A checkpoint of `{one_line(architecture)}`." if architecture else "A tokenizer, or part of a checkpoint."


def _nothing_known() -> str:
    return "Not known here, so this card claims none. Find out before you use or share it."


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _report_hash(folder: Path) -> str:
    reports = (folder / name for name in (REPORT_JSON, CODEC_REPORT))
    return hashlib.sha256(b"".join(path.read_bytes() for path in reports if path.is_file())).hexdigest()[:16]
