"""Conversations with images, sounds and depth maps in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_tokext.errors import ModalityError
from hf_tokext.vocabulary.code_space import CodeSpace

SOURCES = ("path", "url")  # other names that a value goes by


def flattened(
    conversations: Sequence[Sequence[Mapping[str, Any]]], spaces: Mapping[str, CodeSpace]
) -> tuple[list[list[dict[str, Any]]], dict[str, Any]]:
    """Put placeholders where something else than text stands.

    Args:
        conversations: messages, whose contents are texts or lists.
        spaces: the modalities.

    Returns:
        Messages whose contents are texts, and what stood in them, by modality, in order.

    Raises:
        ModalityError: a content is of no kind that is known here, or has no value.
    """
    values: dict[str, list[Any]] = {}

    def text_of(content: Any) -> str:
        if isinstance(content, str):
            return content
        return "".join(written(each) if each.get("type") == "text" else placed(each) for each in content)

    def written(entry: Mapping[str, Any]) -> str:
        if not isinstance(entry.get("text"), str):
            raise ModalityError('a message holds "text" without one; write {"type": "text", "text": ...}')
        return entry["text"]

    def placed(entry: Mapping[str, Any]) -> str:
        kind = str(entry.get("type"))
        alike = [name for name, space in spaces.items() if name == kind or space.modality == kind]
        name = kind if kind in spaces else alike[0] if len(alike) == 1 else None
        if name is None:
            raise ModalityError(f"a message holds {kind!r}; there are text and {', '.join(spaces) or 'nothing else'}")
        found = next((entry[key] for key in (name, kind, *SOURCES) if entry.get(key) is not None), None)
        if found is None:
            raise ModalityError(f'a message holds {kind!r} without a value; write {{"type": "{kind}", "{kind}": ...}}')
        values.setdefault(name, []).append(found)
        return spaces[name].marker_texts[2]

    plain = [
        [{**message, "content": text_of(message.get("content") or "")} for message in each] for each in conversations
    ]
    return plain, values
