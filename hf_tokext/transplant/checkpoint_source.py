"""Where a checkpoint's files come from: a folder or the Hub; and that none of them lies elsewhere."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import huggingface_hub
from huggingface_hub import snapshot_download

from hf_tokext.errors import CheckpointError, QuantizedCheckpointError, UnsafeCheckpointError

TERMS = ["README.md", "LICENSE*", "NOTICE*"]  # what the licence is, and its text, which stays with the weights
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
WITHOUT_WEIGHTS = ["*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.spm", "*.vocab", *TERMS]
WANTED = ["*.safetensors", *WITHOUT_WEIGHTS]
# Pickles and other formats are never fetched; weights in subfolders and "consolidated" ones are second copies.
UNWANTED = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*/*.safetensors", "consolidated*.safetensors"]
SHARED_BLOB = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")


def local_folder(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: Path | None = None,
    weights: bool = True,
) -> Path:
    """The folder that `source` names, downloaded from the Hub where it is not a folder here.

    Args:
        source: a folder, or a Hub id.
        revision: branch, tag or commit on the Hub.
        token: access token for the Hub, or None for the stored one.
        cache_dir: where downloads go; None is the Hub's own cache.
        weights: download safetensors too.

    Returns:
        An existing folder.

    Raises:
        CheckpointError: there is no such folder and the Hub does not give it.
        UnsafeCheckpointError: it is one file of pickled weights.
        QuantizedCheckpointError: it is a GGUF file.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        if path.suffix == ".gguf":
            raise QuantizedCheckpointError(
                f"{source} is a GGUF file: use the original, or dequantize with AutoModelForCausalLM.from_pretrained("
                f"{str(path.parent)!r}, gguf_file={path.name!r}) and save_pretrained, and give that folder"
            )
        if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"):
            raise UnsafeCheckpointError(
                f"{source} holds pickled weights, which can run code and are never unpickled here. If you trust their "
                "author, load the model with transformers, save_pretrained, and give that folder"
            )
        raise CheckpointError(f"{source} is a file: give the folder that holds it together with config.json")
    if isinstance(source, Path) or not HUB_ID.fullmatch(source):
        raise CheckpointError(f"there is no folder {source}")
    try:
        folder = snapshot_download(
            source,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            allow_patterns=WANTED if weights else WITHOUT_WEIGHTS,
            ignore_patterns=UNWANTED,
        )
    except Exception as error:  # the Hub's client raises errors of its own, of its HTTP library and of the system
        raise CheckpointError(
            f"there is no folder {source}, and the Hub does not give it: {type(error).__name__}: {error}"
        ) from error
    return Path(folder).resolve()


def names_on_hub(source: str, revision: str | None, token: str | bool | None) -> list[str]:
    """What the Hub's repository holds, for a message; empty where that cannot be known."""
    if Path(source).expanduser().exists() or not HUB_ID.fullmatch(source):
        return []
    try:
        return sorted(huggingface_hub.list_repo_files(source, revision=revision, token=token))
    except Exception:  # a message is being made about another error; a second one would hide it
        return []


def checked_name(name: str, where: str) -> str:
    """Return a relative file name that stays inside its folder on every system.

    Args:
        name: the name as a checkpoint gives it, with forward slashes.
        where: what gives it, for the message.

    Returns:
        The same name.

    Raises:
        UnsafeCheckpointError: the name is absolute, climbs out, or uses backslashes or drives.
    """
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    if not name or posix.is_absolute() or windows.drive or windows.root or "\\" in name or ".." in posix.parts:
        raise UnsafeCheckpointError(f"{where} names {name!r}, which lies outside of its folder")
    return name


def checked_file(folder: Path, name: str) -> Path:
    """The file of a checkpoint, once it is known to lie inside its folder or its own Hub cache.

    Args:
        folder: the checkpoint's folder, resolved.
        name: the file's name relative to it.

    Returns:
        The path.

    Raises:
        UnsafeCheckpointError: the file is, or lies behind, a symbolic link that leads elsewhere.
        CheckpointError: it is missing, or not a file.
    """
    path = folder / checked_name(name, str(folder))
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{name} in {folder} is missing or a broken link") from error
    if not target.is_relative_to(folder) and not _in_own_cache(folder, target):
        raise UnsafeCheckpointError(
            f"{name} in {folder} is a link to {target}, outside of the folder: put the file itself there"
        )
    if not target.is_file():
        raise CheckpointError(f"{name} in {folder} is not a file")
    return path


def _in_own_cache(folder: Path, target: Path) -> bool:
    """Whether `folder` is a snapshot in the Hub's cache and `target` one of that repository's blobs.

    A blob may itself be a link into the store that the client shares among repositories
    (`<cache>/blobs/<2 hex>/<64 hex>`), whose names are hashes of content.
    """
    snapshots, repository = folder.parent, folder.parent.parent
    if snapshots.name != "snapshots" or not repository.name.startswith("models--"):
        return False
    if target.parent == repository / "blobs":
        return True
    store = repository.parent / "blobs"
    return target.is_relative_to(store) and bool(SHARED_BLOB.fullmatch(target.relative_to(store).as_posix()))
