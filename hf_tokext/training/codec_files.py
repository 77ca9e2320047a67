"""The files of a folder that are of one modality, and the codec that a folder holds."""

from pathlib import Path
from typing import Any

from transformers import AutoModel

from hf_tokext.errors import CodecError
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.training.modalities import MODALITIES, Modality, modality_of


def find_files(folder: Path, modality: str | None = None) -> tuple[Modality, list[Path]]:
    """Find the files of a folder that are of one modality.

    Args:
        folder: searched with all folders in it.
        modality: its name; None is that of which there are files, if there is only one.

    Returns:
        The modality, and its files in the order of their paths.

    Raises:
        CodecError: there is no such folder or modality, there is no file of it, or there are files of several.
    """
    asked = list(MODALITIES.values()) if modality is None else [modality_of(modality)]
    if not folder.is_dir():
        raise CodecError(f"there is no folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {each.name: [path for path in paths if path.suffix.lower() in each.suffixes] for each in asked}
    found = {name: each for name, each in found.items() if each}
    if not found:
        known = ", ".join(sorted(suffix for each in asked for suffix in each.suffixes))
        raise CodecError(f"{folder} has no file of a kind that is read here ({known})")
    if len(found) > 1:
        counts = ", ".join(f"{len(each)} of {name}" for name, each in found.items())
        raise CodecError(f"{folder} has files of several modalities ({counts}); say which by --modality")
    ((name, files),) = found.items()
    return MODALITIES[name], files


def load_codec(folder: Path) -> tuple[ModalityCodec, Modality, Any]:
    """Load a codec, what its files are, and its processor.

    Args:
        folder: as `tokext codec train` or `save_pretrained` of both wrote it.

    Returns:
        Codec in evaluation mode, modality and processor.

    Raises:
        CodecError: the folder holds no codec with its processor.
    """
    if not (folder / "config.json").is_file():
        raise CodecError(f"{folder} holds no codec: there is no config.json")
    try:
        codec = AutoModel.from_pretrained(folder)
        if not isinstance(codec, ModalityCodec):
            raise CodecError(f"{folder} holds a {type(codec).__name__}, which is no codec of a modality")
        modality = modality_of(codec.modality)
        return codec.eval(), modality, modality.load_processor(folder)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"{folder} cannot be loaded as a codec with its processor: {error}") from error
