"""JSON files of a saved folder, read with an error that says which file is damaged, and written in order."""

import json
from pathlib import Path
from typing import Any

from hf_tokext.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one object.

    Args:
        path: the file.

    Returns:
        The object.

    Raises:
        CheckpointError: it cannot be read, is not UTF-8, not JSON, nested too deeply or no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); save or download it again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds no JSON object; save or download it again")
    return found


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write an object, its keys in order.

    Args:
        path: the file.
        found: the object.
    """
    text = json.dumps(dict(sorted(found.items())), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
