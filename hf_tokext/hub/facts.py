"""What a checkpoint's report knows, made ready for a model card; a report may be old, partial or of another hand."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_tokext.errors import TextError
from hf_tokext.hub.licences import one_line
from hf_tokext.transplant.report import MEANING

UNHEALED = (
    "Not trained since its tokenizer was changed: rows that were made are estimates. A short fine-tuning (`tokext heal`) "
    "recovers most."
)
INHERITED = "It has the base's knowledge, biases and faults; nothing was done about them."


def facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the transplant template.

    Args:
        report: the content of `hf_tokext_report.json`; what it lacks is said to be unknown.

    Returns:
        Values, as text that cannot break out of its place in Markdown.
    """
    counts = {one_line(name): count for name, count in _mapping(report, "counts").items()}
    heals = [entry for entry in _sequence(report, "heal") if isinstance(entry, Mapping)]
    limits = [] if heals else [UNHEALED]
    limits += [one_line(warning) for warning in _sequence(report, "warnings")]
    return {
        "base": _title(_mapping(report, "base")),
        "donor": _title(_mapping(report, "donor")),
        "version": one_line(report.get("hf_tokext", "")),
        "method": one_line(report.get("method", "not recorded")),
        "rows": _count(report.get("rows")),
        "base_rows": _count(report.get("base_rows")),
        "counts": [(name, _count(count), MEANING.get(name, "")) for name, count in counts.items()],
        "text": _text(_mapping(report, "text")),
        "heals": [_heal(entry) for entry in heals],
        "retrained": any(entry.get("train") != "rows" for entry in heals),
        "limits": [*limits, INHERITED],
    }


def last_measurement(report: Mapping[str, Any]) -> float | None:
    """Bits per byte after the last healing run that measured, on its held-out text.

    Args:
        report: as for `facts`.

    Returns:
        Bits per byte, or None where nothing was measured after the last run.
    """
    heals = _sequence(report, "heal")
    curve = heals[-1].get("curve") if heals and isinstance(heals[-1], Mapping) else None
    last = curve[-1] if isinstance(curve, list) and curve else None
    return float(last["bits_per_byte"]) if isinstance(last, Mapping) and _number(last.get("bits_per_byte")) else None


def read_bits(path: Path, folder: Path) -> tuple[list[dict[str, str]], float]:
    """What `tokext measure bits --json` wrote, as rows of a table.

    Args:
        path: the file.
        folder: the checkpoint that the card is for; one of the measured models must be it.

    Returns:
        The rows, models that are folders by the folder's name only, and this checkpoint's bits per byte.

    Raises:
        TextError: the file is something else, or does not hold this checkpoint.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entries = [(str(entry["model"]), entry, float(entry["bits_per_byte"])) for entry in found]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TextError(f"{path} is not what `tokext measure bits --json` writes ({error})") from error
    if not all(math.isfinite(bits) for _, _, bits in entries):
        raise TextError(f"{path} holds figures that are not finite")
    rows, mine = [], None
    for model, entry, bits in entries:
        here = Path(model).expanduser()
        this = here.is_dir() and here.resolve() == folder.resolve()
        mine = bits if this else mine
        name = here.resolve().name if here.is_dir() or here.is_absolute() else model
        tokens = entry.get("tokens_per_byte")
        rows.append(
            {
                "model": f"`{one_line(name)}`" + (" (this one)" if this else ""),
                "bits": f"{bits:.4f}",
                "tokens": f"{tokens:.4f}" if _number(tokens) else "?",
                "caveat": one_line(entry.get("caveat") or ""),
            }
        )
    if mine is None:
        raise TextError(f"{path} has no figure for {folder}: name that folder in `tokext measure bits`")
    return rows, mine


def _heal(entry: Mapping[str, Any]) -> dict[str, Any]:
    curve = [point for point in _sequence(entry, "curve") if isinstance(point, Mapping)]
    return {
        "train": one_line(entry.get("train", "not recorded")),
        "steps": _count(entry.get("steps")),
        "tokens": _count(entry.get("tokens_seen")),
        "curve": [
            (_count(point.get("step")), _count(point.get("tokens_seen")), f"{point['bits_per_byte']:.4f}")
            for point in curve
            if _number(point.get("bits_per_byte"))
        ],
    }


def _text(found: Mapping[str, Any]) -> dict[str, str]:
    size, before, after = (found.get(key) for key in ("bytes", "tokens_before", "tokens_after"))
    if not (_number(size) and _number(before) and _number(after) and size and before):
        return {}
    return {
        "bytes": _count(size),
        "before": _count(before),
        "after": _count(after),
        "rate_before": f"{before / size:.3f}",
        "rate_after": f"{after / size:.3f}",
        "change": f"{after / before - 1:+.1%}",
    }


def _title(origin: Mapping[str, Any]) -> str:
    """How a sentence names an origin."""
    name, kind = one_line(origin.get("name") or ""), origin.get("kind")
    if not name:
        return "a model or tokenizer that was not recorded"
    if kind == "hub":
        return f"[`{name}`](https://huggingface.co/{name})"
    if kind == "trained":
        return "one trained on the author's own text"
    return f"`{name}`'s own, its numbers cut otherwise" if kind == "base" else f"`{name}`"


def _mapping(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}


def _sequence(found: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = found.get(key)
    return value if isinstance(value, list) else []


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> str:
    return f"{value:,}" if _number(value) else "?"
