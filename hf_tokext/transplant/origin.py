"""Where a base and a donor came from, and under which licence: what a report and a model card have to say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load, try_to_load_from_cache

LICENSE_KEYS = ("license", "license_name", "license_link")
CARD = "README.md"
CARD_LIMIT = 4_000_000  # bytes; the Hub's own cards are far smaller
SNAPSHOT = re.compile(r"models--([^/]+)/snapshots/[0-9a-f]+/?$")


@dataclass(frozen=True)
class Origin:
    """Where a model or a tokenizer came from.

    Attributes:
        name: a Hub id; of a folder only its name, since a report is published together with the checkpoint.
        kind: "hub", "folder", "object" (in memory), "trained" (a tokenizer made from the user's own text) or "base" (the
            base's own tokenizer, its numbers cut otherwise).
        license: `license`, and where given `license_name` and `license_link`, as the metadata of its own model card
            say; empty where they do not.
    """

    name: str
    kind: str
    license: dict[str, str] = field(default_factory=dict)


def origins(
    base: str | Path, donor: Any, *, trained: bool, cache_dir: Path | None = None, **hub: Any
) -> dict[str, Any]:
    """The origins of both sides of a transplant, whose files are here already: nothing is fetched.

    Args:
        base: folder or Hub id.
        donor: folder, Hub id, tokenizer object, or None.
        trained: whether the tokenizer was trained on text.
        cache_dir: where Hub downloads went; None is the Hub's own cache.
        **hub: "revision" is used; the rest is passed over.

    Returns:
        "base" and "donor", each an `Origin`.
    """
    source = _origin(base, hub.get("revision"), cache_dir)
    if trained:
        other = Origin("a tokenizer trained on own text", "trained")
    elif donor is None:
        other = Origin(source.name, "base", source.license)
    elif isinstance(donor, str | Path):
        other = _origin(donor, hub.get("revision"), cache_dir)
    else:
        other = object_origin(donor)
    return {"base": source, "donor": other}


def object_origin(found: Any) -> Origin:
    """The origin of a model or tokenizer in memory: its name as far as it knows one, and no licence.

    Args:
        found: a model or a tokenizer of transformers.

    Returns:
        The origin.
    """
    name = str(getattr(found, "name_or_path", "") or "")
    path = Path(name)
    if name and (path.exists() or path.is_absolute() or name.count("/") > 1 or "\\" in name):
        name = _folder_origin(path)[0]
    return Origin(name or type(found).__name__, "object")


def _origin(source: str | Path, revision: str | None, cache_dir: Path | None) -> Origin:
    folder = Path(source).expanduser()
    if folder.is_dir():
        name, kind = _folder_origin(folder)
        return Origin(name, kind, _license(folder / CARD))
    found = try_to_load_from_cache(str(source), CARD, cache_dir=cache_dir, revision=revision)
    return Origin(str(source), "hub", _license(Path(found)) if isinstance(found, str) else {})


def _folder_origin(folder: Path) -> tuple[str, str]:
    """A folder's name, or the id where it is a snapshot in the Hub's cache."""
    snapshot = SNAPSHOT.search(folder.as_posix()) or SNAPSHOT.search(folder.absolute().as_posix())
    if snapshot:
        return snapshot[1].replace("--", "/"), "hub"
    return folder.name if folder.name not in ("", "..") else folder.resolve().name, "folder"


def _license(card: Path) -> dict[str, str]:
    """The licence that a model card states; empty where it states none, or cannot be read."""
    try:
        if not card.is_file() or card.stat().st_size > CARD_LIMIT:
            return {}
        metadata = metadata_load(card)
    except Exception:  # yaml raises many kinds; a damaged card is one that does not say
        return {}
    if not isinstance(metadata, Mapping):
        return {}
    found = metadata.get("license")
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    names = [name.strip() for name in names if isinstance(name, str) and name.strip()]
    if not names or names == ["unknown"]:
        return {}
    more = {key: metadata[key] for key in LICENSE_KEYS[1:] if isinstance(metadata.get(key), str)}
    return {"license": ", ".join(names)} | more
