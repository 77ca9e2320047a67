"""The bytes of every id, read off tokenizer.json and never off the Python class."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.tokenizer_json import read_tokenizer_json

TOKENIZER_FILE = "tokenizer.json"


def _byte_alphabet() -> dict[str, int]:
    """The 256 printable characters that stand for bytes in byte-level vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(rest)}


BYTE_OF_CHARACTER = _byte_alphabet()
CHARACTER_OF_BYTE = {byte: character for character, byte in BYTE_OF_CHARACTER.items()}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What every id of a tokenizer stands for.

    Attributes:
        spec: the parsed tokenizer.json.
        kind: "byte_level", "metaspace", "wordpiece" or "literal": how vocabulary strings spell bytes.
        pieces: the bytes of each id; None where no token has the id.
        special: text of the control tokens, by id; they stand for no text.
        added: ids of the added tokens, special or not, which are matched before the model runs.
        fallback: ids of byte-fallback tokens (`<0x41>`), which any ordinary token of the same byte outranks.
        named: the tokenizer's named special tokens, as attribute (`eos_token`) to id.
    """

    spec: dict[str, Any] = field(repr=False)
    kind: str
    pieces: tuple[bytes | None, ...] = field(repr=False)
    special: dict[int, str] = field(repr=False)
    added: frozenset[int] = field(repr=False)
    fallback: frozenset[int] = field(repr=False)
    named: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def ids(self) -> list[int]:
        """All ids that have a token, in order."""
        return [index for index, piece in enumerate(self.pieces) if piece is not None]

    def first(self, count: int) -> "Vocabulary":
        """Leave out the ids from a number on.

        Args:
            count: the first id that is left out.

        Returns:
            The vocabulary of the ids before it; itself where it has no others.
        """
        if count >= len(self):
            return self
        tokens = [token for token in self.spec.get("added_tokens") or [] if token["id"] < count]
        return Vocabulary(
            spec=self.spec | {"added_tokens": tokens},
            kind=self.kind,
            pieces=self.pieces[:count],
            special={index: text for index, text in self.special.items() if index < count},
            added=frozenset(index for index in self.added if index < count),
            fallback=frozenset(index for index in self.fallback if index < count),
            named={name: index for name, index in self.named.items() if index < count},
        )

    def piece(self, index: int) -> bytes:
        """Return the bytes of an id; for a control token, the UTF-8 of its text.

        Args:
            index: the id.

        Returns:
            Its bytes.

        Raises:
            VocabularyError: no token has this id.
        """
        piece = self.pieces[index] if 0 <= index < len(self.pieces) else None
        if piece is None:
            raise VocabularyError(f"no token has id {index}; the vocabulary's ids end at {len(self.pieces) - 1}")
        return piece

    @cached_property
    def ids_of_piece(self) -> dict[bytes, tuple[int, ...]]:
        """Ids of equal bytes among the ordinary tokens, the one that text is encoded to first."""
        found: dict[bytes, list[int]] = {}
        for index in self.ids:
            if index not in self.special:
                found.setdefault(self.piece(index), []).append(index)
        return {piece: tuple(sorted(ids, key=lambda i: (i in self.fallback, i))) for piece, ids in found.items()}

    @cached_property
    def id_of_text(self) -> dict[str, int]:
        """Ids of the added tokens by their text."""
        return {self.piece(index).decode(): index for index in sorted(self.added, reverse=True)}


def read_vocabulary(source: Any, named_by: Any = None) -> Vocabulary:
    """Read the pieces of a tokenizer.

    Args:
        source: a folder with tokenizer.json, such a file, a `tokenizers.Tokenizer`, or a transformers tokenizer
            backed by one.
        named_by: a transformers tokenizer that knows the named special tokens (many a tokenizer class has its own, which
            no file states); None reads them off tokenizer_config.json, or off the source itself.

    Returns:
        The vocabulary, with the named special tokens where the source knows them.

    Raises:
        VocabularyError: there is no tokenizer.json to read, or it is empty or contradicts itself.
    """
    spec = tokenizer_spec(source)
    kind, mark = _spelling(spec)
    plain = _model_vocabulary(spec)
    added = spec.get("added_tokens") or []
    size = max([*plain.values(), *(token["id"] for token in added)], default=-1) + 1
    if size == 0:
        raise VocabularyError("the tokenizer has an empty vocabulary; there is nothing to transplant")
    pieces: list[bytes | None] = [None] * size
    fallback = set()
    byte_fallback = kind == "metaspace" and _has_byte_fallback(spec)
    for token, index in plain.items():
        if byte_fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            fallback.add(index)
        pieces[index] = _piece(token, spec, kind, mark, byte_fallback)
    special = {}
    for token in added:
        index, text = token["id"], token["content"]
        if token["special"]:
            special[index] = text
        fallback.discard(index)
        # a normalized added token is matched in normalized text, where the mark stands for a space; and where the model has
        # the token too (Gemma's runs of spaces), text reaches it through the model, which reads marks
        if mark and (token.get("normalized") or (text in plain and not token["special"])):
            text = text.replace(mark, " ")
        pieces[index] = text.encode()
    unknown = _unknown_token(spec)
    if unknown is not None and unknown in plain:
        special.setdefault(plain[unknown], unknown)
    return Vocabulary(
        spec=spec,
        kind=kind,
        pieces=tuple(pieces),
        special=special,
        added=frozenset(token["id"] for token in added),
        fallback=frozenset(fallback),
        named=_named_tokens(source if named_by is None else named_by, spec),
    )


def tokenizer_spec(source: Any) -> dict[str, Any]:
    """Return the parsed tokenizer.json of a folder, file or tokenizer object.

    Args:
        source: as for `read_vocabulary`, or a parsed file.

    Returns:
        The parsed file.

    Raises:
        VocabularyError: nothing there holds a tokenizer.json, or it is not read (see `read_tokenizer_json`).
    """
    if isinstance(source, dict):
        return source
    if isinstance(source, str | Path):
        path = Path(source)
        path = path / TOKENIZER_FILE if path.is_dir() else path
        if not path.is_file():
            raise VocabularyError(f"{path} does not exist; a tokenizer is read from its {TOKENIZER_FILE}")
        return read_tokenizer_json(path)
    backend = getattr(source, "backend_tokenizer", source)
    if not hasattr(backend, "to_str"):
        raise VocabularyError(
            f"{type(source).__name__} is not backed by a tokenizer.json, so the bytes of its ids cannot be read; "
            "load the fast version of this tokenizer"
        )
    return json.loads(backend.to_str())


def components(spec: dict[str, Any], section: str) -> Iterator[dict[str, Any]]:
    """Yield the parts of a section (normalizer, pre_tokenizer, decoder, post_processor), sequences unrolled."""
    stack = [spec.get(section)]
    while stack:
        part = stack.pop(0)
        if part is None:
            continue
        inner = next(
            (part[key] for key in ("normalizers", "pretokenizers", "decoders", "processors") if key in part), None
        )
        if inner is None:
            yield part
        else:
            stack[:0] = inner


def space_mark(spec: dict[str, Any]) -> str | None:
    """Return the character that stands for a space in the vocabulary (`▁`), or None."""
    for section in ("pre_tokenizer", "decoder"):
        for part in components(spec, section):
            if part["type"] == "Metaspace":
                return str(part.get("replacement", "\u2581"))
    for part in components(spec, "normalizer"):
        if part["type"] == "Replace" and part["pattern"].get("String") == " ":
            return str(part["content"])
    for part in components(spec, "decoder"):
        if part["type"] == "Replace" and part["content"] == " ":
            return str(part["pattern"].get("String"))
    return None


def _spelling(spec: dict[str, Any]) -> tuple[str, str | None]:
    for section in ("pre_tokenizer", "decoder", "normalizer"):
        if any(part["type"] == "ByteLevel" for part in components(spec, section)):
            return "byte_level", None
    if spec["model"].get("type") == "WordPiece":
        return "wordpiece", None
    mark = space_mark(spec)
    return ("metaspace", mark) if mark else ("literal", None)


def _has_byte_fallback(spec: dict[str, Any]) -> bool:
    return bool(spec["model"].get("byte_fallback")) or any(
        part["type"] == "ByteFallback" for part in components(spec, "decoder")
    )


def _model_vocabulary(spec: dict[str, Any]) -> dict[str, int]:
    vocabulary = spec["model"].get("vocab") or {}
    if isinstance(vocabulary, list):  # Unigram keeps [piece, score] pairs in the order of the ids
        return {entry[0]: index for index, entry in enumerate(vocabulary)}
    return vocabulary


def _unknown_token(spec: dict[str, Any]) -> str | None:
    model = spec["model"]
    if isinstance(model.get("vocab"), list):
        index = model.get("unk_id")
        return None if index is None else model["vocab"][index][0]
    return model.get("unk_token")


def _piece(token: str, spec: dict[str, Any], kind: str, mark: str | None, byte_fallback: bool) -> bytes:
    model = spec["model"]
    if kind == "wordpiece":
        prefix = model.get("continuing_subword_prefix") or "##"
        if token.startswith(prefix) and len(token) > len(prefix):
            return token[len(prefix) :].encode()
        return token.encode() if stands_alone(token) else b" " + token.encode()
    suffix = model.get("end_of_word_suffix") or ""
    end = b""
    if suffix and token.endswith(suffix):
        token, end = token[: -len(suffix)], b" "
    if kind == "byte_level":
        try:
            return bytes(map(BYTE_OF_CHARACTER.__getitem__, token)) + end
        except KeyError:
            return token.encode() + end
    if byte_fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return (token.replace(mark, " ") if mark else token).encode() + end


def stands_alone(token: str) -> bool:
    """Whether BERT's pre-tokenizer makes a word of this character wherever it stands (punctuation, CJK)."""
    import unicodedata

    if len(token) != 1:
        return False
    ascii_punctuation = token.isascii() and token.isprintable() and not token.isalnum() and token != " "
    return ascii_punctuation or unicodedata.category(token).startswith("P") or 0x3400 <= ord(token) <= 0x9FFF


def _named_tokens(source: Any, spec: dict[str, Any]) -> dict[str, int]:
    texts: dict[str, str] = {}
    if isinstance(source, str | Path):
        config = (Path(source) if Path(source).is_dir() else Path(source).parent) / "tokenizer_config.json"
        if config.is_file():
            for name, value in json.loads(config.read_text(encoding="utf-8")).items():
                text = value.get("content") if isinstance(value, dict) else value
                if name.endswith("_token") and isinstance(text, str):
                    texts[name] = text
    else:
        texts = {
            name: str(text)
            for name, text in (getattr(source, "special_tokens_map", None) or {}).items()
            if isinstance(text, str)
        }
    known = _model_vocabulary(spec) | {token["content"]: token["id"] for token in spec.get("added_tokens") or []}
    return {name: known[text] for name, text in texts.items() if text in known}
