"""Which files of a folder make up a checkpoint, and that they are whole and its own."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from transformers.utils import CHAT_TEMPLATE_DIR

from hf_tokext.errors import CheckpointError, UnsafeCheckpointError
from hf_tokext.hub.loading import check_code, read_object
from hf_tokext.registry import CODE_FILE
from hf_tokext.transplant.checkpoint_source import checked_file
from hf_tokext.transplant.safetensors_header import read_header
from hf_tokext.vocabulary.pieces import TOKENIZER_FILE
from hf_tokext.vocabulary.tokenizer_json import read_tokenizer_json

# a checkpoint's folder has one of them
MARKED = (
    *("config.json", "tokenizer_config.json", "adapter_config.json"),
    *("processor_config.json", "preprocessor_config.json"),
)
MODEL = (
    *("*.safetensors", "*.safetensors.index.json", "*config.json", "config_*.json", "modules.json", "hf_tokext_*.json"),
    *("tokenizer.json", "added_tokens.json", "special_tokens_map.json", "normalizer.json", "tekken.json"),
    *("chat_template*.json", "*.jinja", "*.model", "*.tiktoken", "*.spm", "*vocab*.json", "vocab.txt", "merges.txt"),
    *("dict.txt", "bpe.codes", "emoji.json", "byte_maps.json", "word_shape.json", "word_pronunciation.json"),
    "prophetnet.tokenizer",
)
REPORTS = ("hf_tokext_*.md", "hf_tokext_*.png")
PAPERS = ("LICENSE*", "NOTICE*", *REPORTS)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
# weights that are not uploaded, but that an earlier checkpoint may have left where loaders find them
OLD = ("pytorch_model*.bin", "adapter_model*.bin", "tf_model*.h5", "flax_model*.msgpack", "*.index.json")
BASE_TOKENIZERS = "base_tokenizer*"  # folders of what byte-level models rest on
TRAINING = ("trainer_state.json", "optimizer.pt", "optimizer.bin", "scheduler.pt", "training_args.bin")
NOT_ENTERED = (".*", "checkpoint-*", "runs", "__pycache__", "*-training")


@dataclass
class Selection:
    """The files of a checkpoint.

    Attributes:
        files: what is uploaded, by its name in the repository; the card is not among them.
        left_out: names of what is not, folders with a slash at the end.
    """

    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def select_files(folder: Path) -> Selection:
    """Choose what of a finished checkpoint is uploaded; nothing is loaded and no pickle is opened.

    Args:
        folder: the checkpoint, resolved.

    Returns:
        The files: weights in safetensors, configs, tokenizer, chat templates, licences and our reports.

    Raises:
        CheckpointError: the folder is no finished checkpoint, or a file of it is missing or damaged.
        UnsafeCheckpointError: a file is a link that leads out of the folder, the weights are pickled only, or the
            generated `hf_tokext_auto.py` holds other code or names a package that is not installed.
        VocabularyError: a tokenizer.json is not read (see `read_tokenizer_json`).
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}")
    if folder.name.startswith(".") and ".tokext-" in folder.name:
        raise CheckpointError(f"{folder} is what an unfinished run left behind: run it again, and push its result")
    if (folder / "trainer_state.json").exists():
        raise CheckpointError(f"{folder} is a trainer's own folder: save the model elsewhere, and push that")
    if not any((folder / name).is_file() for name in MARKED):
        raise CheckpointError(f"{folder} is no checkpoint: it has none of {', '.join(MARKED)}")
    chosen = Selection()
    for name in _walk(folder, folder, chosen):
        if is_model_file(name) or _matches(name, PAPERS):
            chosen.files[name] = checked_file(folder, name)
        elif name != "README.md":
            chosen.left_out.append(name)
    chosen.left_out.sort()
    check_code(folder, [name for name in chosen.files if fnmatchcase(name, "*config.json") and "/" not in name])
    _check_weights(folder, chosen)
    return chosen


def is_model_file(name: str) -> bool:
    """Whether a file is part of a model or tokenizer, by its name in a repository.

    Args:
        name: relative, with forward slashes.

    Returns:
        False for what a trainer leaves, too; code is taken at the top only, where it is checked and loaders look.
    """
    last = PurePosixPath(name).name
    if last.startswith(".") or last in TRAINING:
        return False
    return name == CODE_FILE or _matches(last, MODEL)


def is_stale(name: str, chosen: Selection) -> bool:
    """Whether a file of a repository belongs to what was there before, and would mix with the new.

    Args:
        name: its name in the repository.
        chosen: what is uploaded.

    Returns:
        True for weights in any format, configs, tokenizer files and reports that the new checkpoint does not have, at
        the top, among the chat templates, or among the tokenizers of byte-level models.
    """
    path = PurePosixPath(name)
    top = path.parts[0] if len(path.parts) > 1 else ""
    if name in chosen.files or not (top in ("", CHAT_TEMPLATE_DIR) or fnmatchcase(top, BASE_TOKENIZERS)):
        return False
    return is_model_file(name) or _matches(path.name, (*OLD, *REPORTS))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _walk(top: Path, folder: Path, chosen: Selection) -> Iterator[str]:
    """Names of all files below; links to folders and folders of other purposes are left out and not entered."""
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        name = Path(entry.path).relative_to(top).as_posix()
        try:
            below = entry.is_dir()
        except OSError:  # a link in a circle, of which `checked_file` will say so
            below = False
        if not below:
            yield name
        elif (
            entry.is_symlink()
            or _matches(entry.name, NOT_ENTERED)
            or (Path(entry.path) / "trainer_state.json").exists()
        ):
            chosen.left_out.append(name + "/")
        else:
            yield from _walk(top, Path(entry.path), chosen)


def _check_weights(folder: Path, chosen: Selection) -> None:
    weights = [name for name in chosen.files if name.endswith(".safetensors")]
    pickled = [name for name in chosen.left_out if _matches(name, PICKLES) and name not in TRAINING]
    if pickled and not weights:
        raise UnsafeCheckpointError(
            f"{folder} has its weights in {pickled[0]}, which can run code: save it as safetensors (save_pretrained)"
        )
    adapted = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
    if isinstance(adapted, str) and Path(adapted).expanduser().exists():
        raise CheckpointError(
            f"adapter_config.json in {folder} names its base by a folder, {adapted}, which nobody else has: merge the "
            "adapter (tokext heal without --no-merge), or push the base and put its id there"
        )
    for name in [each for each in chosen.files if PurePosixPath(each).name == TOKENIZER_FILE]:
        read_tokenizer_json(chosen.files[name])
    for name in weights:
        read_header(chosen.files[name], name)
    for name in [each for each in chosen.files if each.endswith(".safetensors.index.json")]:
        weight_map = read_object(chosen.files[name]).get("weight_map")
        if not isinstance(weight_map, dict):
            raise CheckpointError(f"{name} in {folder} is damaged: it has no weight_map")
        below = PurePosixPath(name).parent
        for shard in sorted({str(value) for value in weight_map.values()}):
            if (below / shard).as_posix() not in chosen.files:
                raise CheckpointError(f"{name} in {folder} names {shard}, which is not there")
