"""The files of a folder that are of one modality, and the codec that a folder holds."""

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel

from hf_tokext.errors import CodecError
from hf_tokext.models.audio_codec.configuration_audio_codec import KINDS, WrappedAudioCodecConfig
from hf_tokext.models.audio_codec.modeling_audio_codec import WrappedAudioCodec
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.training.modalities import MODALITIES, Modality, modality_of


def find_files(folder: Path, modality: str | None = None) -> tuple[Modality, list[Path]]:
    """Find the files of a folder that are of one modality; hidden ones are none.

    Args:
        folder: searched with all folders in it.
        modality: its name; None is that of which there are files, if there is only one. Pictures are taken for depth maps
            only if depth is named, and there are no arrays.

    Returns:
        The modality, and its files in the order of their paths.

    Raises:
        CodecError: there is no such folder or modality, there is no file of it, or there are files of several.
    """
    asked = list(MODALITIES.values()) if modality is None else [modality_of(modality)]
    if not folder.is_dir():
        raise CodecError(f"there is no folder {folder}")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file()
    )
    suffixes = {each.name: each.suffixes for each in asked}
    if modality is not None and not any(path.suffix.lower() in suffixes[modality] for path in paths):
        suffixes[modality] |= asked[0].pictures
    found = {name: [path for path in paths if path.suffix.lower() in known] for name, known in suffixes.items()}
    found = {name: each for name, each in found.items() if each}
    if not found:
        known = ", ".join(sorted(frozenset().union(*suffixes.values())))
        raise CodecError(f"{folder} has no file of a kind that is read here ({known})")
    if len(found) > 1:
        counts = ", ".join(f"{len(each)} of {name}" for name, each in found.items())
        raise CodecError(f"{folder} has files of several modalities ({counts}); say which by --modality")
    ((name, files),) = found.items()
    return MODALITIES[name], files


def load_model(folder: Path) -> ModalityCodec:
    """Load a codec where accelerate places it; transformers' own codecs of sounds come wrapped.

    Args:
        folder: as `save_pretrained` wrote it; code and pickles in it are never run.

    Returns:
        Codec in evaluation mode.

    Raises:
        CodecError: the folder holds no codec, or one that cannot be wrapped, which is said before weights are read; or its
            weights are damaged.
    """
    if not (folder / "config.json").is_file():
        raise CodecError(f"{folder} holds no codec: there is no config.json")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        upstream = config.model_type in KINDS
        if upstream:
            config = WrappedAudioCodecConfig(codec_config=config)
        if getattr(config, "needs_features", False):
            raise CodecError(f"the XCodec2 in {folder} hears another spectrum than the published one, not sounds alone")
        codec = AutoModel.from_pretrained(folder, device_map="auto", use_safetensors=True, trust_remote_code=False)
        codec = WrappedAudioCodec.from_codec(codec) if upstream else codec
    except CodecError:
        raise
    except SafetensorError as error:
        raise CodecError(f"the weights in {folder} are damaged or cut off ({error}); get them anew") from error
    except (OSError, ValueError, RuntimeError, StrictDataclassError) as error:
        raise CodecError(f"{folder} cannot be loaded as a codec: {error}") from error
    if not isinstance(codec, ModalityCodec):
        raise CodecError(f"{folder} holds a {type(codec).__name__}, which is no codec of a modality")
    return codec.eval()


def load_codec(folder: Path) -> tuple[ModalityCodec, Modality, Any]:
    """Load a codec, what its files are, and its processor.

    Args:
        folder: as `tokext codec train` or `save_pretrained` of both wrote it. A codec of transformers itself needs no
            processor.

    Returns:
        Codec in evaluation mode, modality and processor.

    Raises:
        CodecError: the folder holds no codec with its processor.
    """
    codec = load_model(folder)
    modality = modality_of(codec.modality)
    try:
        return codec, modality, modality.load_processor(folder, codec)
    except (OSError, ValueError, RuntimeError) as error:
        raise CodecError(f"the processor beside the codec in {folder} cannot be loaded: {error}") from error
