"""Models and tokenizers by folder or Hub id, with errors for people."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_tokext.errors import CheckpointError, UnsafeCheckpointError, VocabularyError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16", "auto")


def check_name(name: str) -> None:
    """Refuse what is neither an existing folder nor looks like a Hub id.

    Args:
        name: folder or Hub id.

    Raises:
        CheckpointError: a path that does not exist, or that is a file.
    """
    path = Path(name)
    if path.is_file():
        raise CheckpointError(f"{name} is a file; name the checkpoint's folder (with config.json) or a Hub id")
    looks_local = path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    if looks_local and not path.is_dir():
        raise CheckpointError(f"{name} does not exist; name a checkpoint's folder or a Hub id such as org/model")


def load_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    """Load a tokenizer.

    Args:
        name: folder or Hub id.

    Returns:
        The tokenizer.

    Raises:
        CheckpointError: there is no such folder.
        VocabularyError: transformers cannot load a tokenizer from it, or it should not be given the file.
    """
    from transformers import AutoTokenizer

    from hf_tokext.vocabulary.tokenizer_json import read_tokenizer_json

    check_name(name)
    try:
        file = _tokenizer_json(name)
        if file is not None:
            read_tokenizer_json(file)  # refuses what Rust should not be given
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise VocabularyError(f"no tokenizer can be loaded from {name}: {_first_line(error)}") from error


def load_causal_model(name: str, dtype: str) -> "PreTrainedModel":
    """Load a causal language model where accelerate places it; pickled weights are never opened.

    Args:
        name: folder or Hub id.
        dtype: one of `DTYPES`.

    Returns:
        The model, in eval mode.

    Raises:
        CheckpointError: there is no such folder, or transformers cannot load a causal LM from it.
        UnsafeCheckpointError: the folder has only pickled weights.
    """
    from transformers import AutoModelForCausalLM

    check_name(name)
    if dtype not in DTYPES:
        raise CheckpointError(f"--dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    folder = Path(name)
    if folder.is_dir() and not any(folder.glob("*.safetensors")) and any(folder.glob("*.bin")):
        raise UnsafeCheckpointError(f"{name} has only pickled weights, which can run code; convert it to safetensors")
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, device_map="auto", use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"no causal language model can be loaded from {name}: {_first_line(error)}") from error
    return model.eval()


def _tokenizer_json(name: str) -> Path | None:
    """The tokenizer.json of a folder or Hub id, if it has one."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    from hf_tokext.vocabulary.pieces import TOKENIZER_FILE

    if Path(name).is_dir():
        file = Path(name) / TOKENIZER_FILE
        return file if file.is_file() else None
    try:
        return Path(hf_hub_download(name, TOKENIZER_FILE))
    except EntryNotFoundError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
