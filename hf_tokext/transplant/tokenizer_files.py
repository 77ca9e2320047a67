"""The tokenizer files of the new checkpoint: the donor's own, and nothing of the base's."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER
from transformers.utils import CHAT_TEMPLATE_DIR, CHAT_TEMPLATE_FILE

from hf_tokext.errors import CheckpointError, VocabularyError
from hf_tokext.registry import CODE_FILE, keep_tokenizer
from hf_tokext.saved_json import read_json
from hf_tokext.transplant.auto_tokenizer import first_difference, keep_ids_in_folder
from hf_tokext.transplant.checkpoint_source import checked_file, local_folder
from hf_tokext.vocabulary.digits import CONFIG_FILE, rewrite_digits_in_folder
from hf_tokext.vocabulary.pieces import TOKENIZER_FILE, Vocabulary, read_vocabulary
from hf_tokext.vocabulary.tokenizer_json import read_tokenizer_json

TEMPLATE_FILES = (CHAT_TEMPLATE_FILE, "chat_template.json", CHAT_TEMPLATE_DIR)
# Files of a tokenizer, of whatever family; none of the base's may survive a transplant.
TOKENIZER_FILES = frozenset(
    {
        TOKENIZER_FILE, CONFIG_FILE, "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json",
        "special_tokens_map.json", "spiece.model", "sentencepiece.bpe.model", "source.spm", "target.spm", "vocab.spm",
        "tiktoken.model", "tekken.json", "tokenizer.tiktoken", *TEMPLATE_FILES,
    }
)  # fmt: skip


@contextmanager
def tokenizer_folder(source: str | Path | PreTrainedTokenizerBase, **hub: Any) -> Iterator[Path]:
    """Give a folder that holds a tokenizer as tokenizer.json.

    Args:
        source: a folder or Hub id with a tokenizer of any format that transformers reads, or a tokenizer object.
        **hub: revision, token, cache_dir.

    Yields:
        The folder: the source's own where it has a tokenizer.json, else a temporary one.

    Raises:
        VocabularyError: there is no such tokenizer, it has no tokenizer.json and cannot be converted to one, or that
            file is not read (see `read_tokenizer_json`).
        UnsafeCheckpointError: a file of the tokenizer lies outside of its folder.
    """
    if isinstance(source, str | Path):
        folder = Path(source)
        if not folder.is_dir():
            folder = _from_hub(str(source), hub)
        check_tokenizer_files(folder.resolve())
        if (folder / TOKENIZER_FILE).is_file():
            yield folder
            return
        try:
            source = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # transformers raises many kinds
            raise VocabularyError(f"{source} holds no tokenizer that transformers can load: {error}") from error
    with TemporaryDirectory() as scratch:
        source.save_pretrained(scratch)
        if not (Path(scratch) / TOKENIZER_FILE).is_file():
            raise VocabularyError(f"{type(source).__name__} cannot be saved as {TOKENIZER_FILE}; use its fast version")
        yield Path(scratch)


@contextmanager
def with_digit_scheme(folder: Path, scheme: str | None) -> Iterator[Path]:
    """Give a folder whose tokenizer cuts numbers by a digit scheme.

    Args:
        folder: a folder with a tokenizer.json; not changed.
        scheme: "single", "left3", "right3", or None to leave the tokenizer as it is.

    Yields:
        The folder itself without a scheme, else a temporary one with the tokenizer's files only.

    Raises:
        VocabularyError: as for `rewrite_digits`.
    """
    if scheme is None:
        yield folder
        return
    with TemporaryDirectory() as scratch:
        for name in (TOKENIZER_FILE, CONFIG_FILE, *TEMPLATE_FILES):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, Path(scratch) / name)
            elif (folder / name).is_file():
                shutil.copyfile(folder / name, Path(scratch) / name)
        rewrite_digits_in_folder(scratch, scheme)
        yield Path(scratch)


@contextmanager
def with_named_tokens(folder: Path) -> Iterator[Path]:
    """Give a folder whose tokenizer.json has every token that its tokenizer_config.json names.

    A pad token that only the config names gets an id when the tokenizer is loaded; it must have a row too.

    Args:
        folder: a folder with a tokenizer.json; not changed.

    Yields:
        The folder itself where nothing is missing, else a temporary one.
    """
    loaded = PreTrainedTokenizerFast.from_pretrained(folder)
    spec = read_tokenizer_json(folder / TOKENIZER_FILE)
    missing = set(loaded.get_added_vocab()) - {token["content"] for token in spec.get("added_tokens") or []}
    if not missing or {token.encode() for token in missing} <= set(read_vocabulary(folder).pieces):
        yield folder
        return
    with TemporaryDirectory() as scratch:
        loaded.save_pretrained(scratch)
        own = {key: value for key, value in _json(folder / CONFIG_FILE).items() if key == "tokenizer_class"}
        saved = Path(scratch) / CONFIG_FILE
        saved.write_text(json.dumps(_json(saved) | own, ensure_ascii=False), encoding="utf-8")
        yield Path(scratch)


def load_tokenizer(folder: Path, source: str) -> PreTrainedTokenizerBase:
    """Check a tokenizer's files and load it as its users do; no remote code is run.

    Args:
        folder: its folder.
        source: what the user named, for the message.

    Returns:
        What AutoTokenizer gives, or the plain class where AutoTokenizer would need code from the folder.

    Raises:
        UnsafeCheckpointError: as for `check_tokenizer_files`.
        VocabularyError: as for `check_tokenizer_files`, or transformers cannot load it.
    """
    check_tokenizer_files(folder.resolve())
    try:
        try:
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except ValueError:
            return PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # transformers and tokenizers raise many kinds
        raise VocabularyError(f"{source} holds no tokenizer that transformers can load: {error}") from error


def _from_hub(name: str, hub: dict[str, Any]) -> Path:
    try:
        return local_folder(name, weights=False, **hub)
    except CheckpointError as error:
        raise VocabularyError(f"no tokenizer {name!r}: {error}") from error


def check_tokenizer_files(folder: Path) -> None:
    """Refuse what should be neither parsed nor copied.

    Args:
        folder: a tokenizer's folder, resolved.

    Raises:
        UnsafeCheckpointError: a file of it is a link out of the folder.
        VocabularyError: its tokenizer.json should not be given to Rust (see `read_tokenizer_json`), or its
            tokenizer_config.json is damaged.
    """
    for name in sorted(TOKENIZER_FILES):
        path = folder / name
        for each in sorted(path.iterdir()) if path.is_dir() else [path]:
            if each.exists() or each.is_symlink():
                checked_file(folder, each.relative_to(folder).as_posix())
    if (folder / TOKENIZER_FILE).is_file():
        read_tokenizer_json(folder / TOKENIZER_FILE)
    _json(folder / CONFIG_FILE)


def write_tokenizer(
    donor: Path,
    base: Path,
    base_vocabulary: Vocabulary,
    target: Vocabulary,
    folder: Path,
    base_tokenizer: PreTrainedTokenizerBase,
) -> list[str]:
    """Write the donor's tokenizer into the new checkpoint, byte for byte where it matters.

    Args:
        donor: folder with the donor's tokenizer.json.
        base: the base's folder, whose chat template is kept if the donor has none and knows all its markers.
        base_vocabulary: the base's vocabulary.
        target: the donor's vocabulary, its named special tokens included.
        folder: where to write; its config.json is there already, since AutoTokenizer goes by it.
        base_tokenizer: what says which inputs the model takes, and how long a text may be.

    Returns:
        Warnings.
    """
    shutil.copyfile(donor / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    config = _json(donor / CONFIG_FILE)
    declared = _class_named(config.get("tokenizer_class"))
    own = declared if declared and not declared.__module__.startswith("transformers.") else None
    # of transformers' classes this one alone takes tokenizer.json as it is; the others rebuild it by their own rules
    config["tokenizer_class"] = own.__name__ if own else "TokenizersBackend"
    config["model_input_names"] = base_tokenizer.model_input_names
    config["model_max_length"] = base_tokenizer.model_max_length  # the model's, not the donor's
    if config["model_max_length"] >= VERY_LARGE_INTEGER:
        del config["model_max_length"]  # nobody said
    for name, index in target.named.items():  # many a tokenizer class has its own, which the file did not state
        config.setdefault(name, target.piece(index).decode())
    for stale in ("auto_map", "name_or_path", "processor_class", "tokenizer_file", "is_local", "local_files_only"):
        config.pop(stale, None)
    warnings = []
    templates = [name for name in TEMPLATE_FILES if (donor / name).exists()]
    for name in templates:
        copy = shutil.copytree if (donor / name).is_dir() else shutil.copyfile
        copy(donor / name, folder / name)
    if not templates and not config.get("chat_template"):
        warnings += _keep_base_template(base, base_vocabulary, target, folder)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
    if own:
        keep_tokenizer(folder, own)
        loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if first_difference(loaded, Tokenizer.from_file(str(folder / TOKENIZER_FILE))) is not None:
            # what it does in Python is in no tokenizer.json
            warnings.append(
                f"the tokenizer is no {own.__name__} any more: that class gives other ids than tokenizer.json"
            )
            own = None
            config["tokenizer_class"] = "TokenizersBackend"
            (folder / CODE_FILE).unlink(missing_ok=True)
            (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
    if not own:
        keep_ids_in_folder(folder, declared)
    return warnings


def _class_named(name: object) -> type | None:
    """A tokenizer class of transformers, or one of a package that registered it with AutoTokenizer."""
    return tokenizer_class_from_name(name) if isinstance(name, str) else None


def _keep_base_template(base: Path, old: Vocabulary, new: Vocabulary, folder: Path) -> list[str]:
    path = base / CHAT_TEMPLATE_FILE
    template = path.read_text(encoding="utf-8") if path.is_file() else _json(base / CONFIG_FILE).get("chat_template")
    warnings = missing_markers(template, old, new)
    if isinstance(template, str) and not warnings:
        (folder / CHAT_TEMPLATE_FILE).write_text(template, encoding="utf-8")
    return warnings


def missing_markers(template: object, old: Vocabulary, new: Vocabulary) -> list[str]:
    """Say which markers of the base's chat template the new tokenizer lacks.

    Args:
        template: the base's; anything but one text counts as none.
        old: the base's vocabulary.
        new: the new one.

    Returns:
        A warning that the template cannot be kept, or nothing.
    """
    if not isinstance(template, str):
        return []
    # an added token of blanks only (Gemma's runs of newlines) is no marker
    markers = {text for text in (*old.special.values(), *old.id_of_text) if text.strip() and text in template}
    missing = sorted(markers - set(new.special.values()) - set(new.id_of_text))
    if missing:
        return [f"the chat template is gone: the new tokenizer lacks its markers {', '.join(missing)}"]
    return []


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path) if path.is_file() else {}
    except CheckpointError as error:
        raise VocabularyError(f"{error}, or remove it") from error
