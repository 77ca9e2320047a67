"""Reading a tokenizer.json that nobody vouches for: its size, its depth and its parts are looked at first."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from hf_tokext.errors import VocabularyError

MAX_BYTES = 64_000_000  # the largest in use, Gemma's, has half of that
MAX_DEPTH = 64  # real ones have seven levels; Rust's parser stops at 128, Python's at its stack
# section: where its components are defined, and what they all are
SECTIONS: dict[str, tuple[Any, type]] = {
    "normalizer": (normalizers, normalizers.Normalizer),
    "pre_tokenizer": (pre_tokenizers, pre_tokenizers.PreTokenizer),
    "model": (models, models.Model),
    "decoder": (decoders, decoders.Decoder),
    "post_processor": (processors, processors.PostProcessor),
}
LISTS = ("normalizers", "pretokenizers", "decoders", "processors")  # where a Sequence holds its parts

_MARK = np.zeros(256, dtype=bool)
_MARK[list(b'"[]{}')] = True
_STEP = np.zeros(256, dtype=np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """Read a tokenizer.json, once it is known to be of sane size and depth and of parts that are known.

    Args:
        path: the file.

    Returns:
        The parsed file.

    Raises:
        VocabularyError: the file is too large, nested too deeply, no tokenizer.json, or has a component that the
            installed tokenizers does not know.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise VocabularyError(
            f"{path} has {size / 1e6:.0f} MB; a tokenizer.json of more than {MAX_BYTES // 10**6} MB is not read. "
            "Fetch the file again; if it is really meant to be that large, cut its vocabulary down"
        )
    data = path.read_bytes()
    depth = nesting(data)
    if depth > MAX_DEPTH:
        raise VocabularyError(
            f"{path} is nested {depth} levels deep; more than {MAX_DEPTH} are not read. Fetch the file again"
        )
    try:
        spec = json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise VocabularyError(f"{path} is not valid JSON ({error}); fetch the file again") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict):
        raise VocabularyError(f"{path} is not a tokenizer.json: it has no model section")
    for section in SECTIONS:
        _check(spec.get(section), section, path)
    return spec


def nesting(data: bytes) -> int:
    """Count the levels of brackets in JSON without parsing it.

    Args:
        data: the JSON in UTF-8; need not be valid.

    Returns:
        The greatest number of brackets open at once; those within strings do not count.
    """
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"")
    text = np.frombuffer(unescaped, dtype=np.uint8)
    marks = text[np.flatnonzero(_MARK[text])]
    outside = np.cumsum(marks == ord('"')) % 2 == 0
    return int(np.cumsum(_STEP[marks] * outside, dtype=np.int64).max(initial=0))


def _check(component: Any, section: str, path: Path) -> None:
    stack = [] if component is None else [component]  # a tokenizer needs none but a model
    while stack:
        part = stack.pop()
        kind = part.get("type") if isinstance(part, dict) else part
        if kind is None and section == "model":
            return  # old files leave it out, and their model is known by its other keys
        if not isinstance(part, dict) or not isinstance(kind, str) or kind not in known_components(section):
            raise VocabularyError(
                f"{path} has a {section} of type {kind!r}, which tokenizers {tokenizers.__version__} does not know; "
                "upgrade tokenizers (pip install -U tokenizers), or fetch the file again"
            )
        for name in LISTS:
            if name in part:
                stack.extend(part[name] if isinstance(part[name], list) else [part[name]])


@cache
def known_components(section: str) -> frozenset[str]:
    """Names that the installed tokenizers gives to the components of a section.

    Args:
        section: a key of `SECTIONS`.

    Returns:
        What `type` may be.
    """
    module, base = SECTIONS[section]
    classes = (value for value in vars(module).values() if isinstance(value, type))
    return frozenset(each.__name__ for each in classes if issubclass(each, base) and each is not base)
