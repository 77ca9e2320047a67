"""Under which licence a checkpoint stands: that of its base, never a wider one, and none where that is not known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+_-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Licence:
    """What a card says about the licence.

    Attributes:
        metadata: for the card's header; empty where no single licence is known to cover everything.
        lines: for the card's text.
    """

    metadata: dict[str, Any]
    lines: list[str]


def licence_of(base: Mapping[str, Any], donor: Mapping[str, Any]) -> Licence:
    """The licence of a transplanted model, from the origins in its report.

    Args:
        base: "name", "kind" and "license" of the base; empty where the report does not say.
        donor: the same of the donor.

    Returns:
        Metadata only where the base's licence is known and the tokenizer stands under the same or is own work.
    """
    weights, tokenizer = _stated(base), _stated(donor)
    lines = [_line("Weights", base, weights)]
    own = donor.get("kind") in ("trained", "base")
    if donor.get("kind") == "trained":
        lines.append("Tokenizer: trained on own text with the pipeline of the base's tokenizer.")
    elif donor.get("kind") == "base":
        lines.append("Tokenizer: the base's own, changed in how it cuts numbers.")
    else:
        lines.append(_line("Tokenizer", donor, tokenizer))
    if not weights or not (own or tokenizer):
        lines.append(
            "Not every licence is known, so this card claims none. Find out before you use or share the model."
        )
    elif not own and not _same(weights, tokenizer):
        lines.append("The two differ, so this card claims no single licence: the terms of both hold.")
    elif IDENTIFIER.fullmatch(weights["license"]):
        lines.append("The model keeps the licence of its base.")
        return Licence(_metadata(base, weights), lines)
    else:
        lines.append("The base states several licences; see its card for what each covers.")
    return Licence({}, lines)


def _stated(origin: Mapping[str, Any]) -> dict[str, str]:
    found = origin.get("license")
    if not isinstance(found, Mapping) or not isinstance(found.get("license"), str):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _same(one: dict[str, str], other: dict[str, str]) -> bool:
    if one["license"] == "other" and "license_name" not in one:
        return False  # two licences of their own kind, which nothing says are one
    return all(one.get(key) == other.get(key) for key in ("license", "license_name"))


def _metadata(base: Mapping[str, Any], licence: dict[str, str]) -> dict[str, str]:
    """The header's entries; a link into the base's repository is made to lead there from elsewhere."""
    found = dict(licence)
    link = found.pop("license_link", None)
    if link is not None and "://" in link:
        found["license_link"] = link
    elif link is not None and base.get("kind") == "hub":
        found["license_link"] = f"https://huggingface.co/{base['name']}/blob/main/{link.removeprefix('./')}"
    return found


def _line(what: str, origin: Mapping[str, Any], licence: dict[str, str]) -> str:
    name = one_line(origin.get("name") or "not recorded")
    if not licence:
        return f"{what}: `{name}`, whose licence is not known here."
    title = licence["license"] + (f" ({licence['license_name']})" if "license_name" in licence else "")
    return f"{what}: `{name}`, {one_line(title)}."


def one_line(text: object) -> str:
    """Text that cannot leave its line, its table cell or its backticks in Markdown.

    Args:
        text: any value.

    Returns:
        The text, safe to put between backticks.
    """
    return " ".join(str(text).replace("`", "'").replace("|", "/").split())
