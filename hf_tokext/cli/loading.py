"""Models to measure, with errors for people."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_tokext.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = ("float32", "bfloat16", "float16", "auto")


def load_causal_model(folder: Path, name: str, dtype: str) -> "PreTrainedModel":
    """Load a causal language model where accelerate places it; code and pickles that it brings are never run.

    Args:
        folder: where it lies.
        name: what the user named, for messages.
        dtype: one of `DTYPES`.

    Returns:
        The model, in eval mode.

    Raises:
        CheckpointError: its weights are missing or damaged, or transformers cannot load a causal LM from it.
        UnsafeCheckpointError: it has only pickled weights, or a file of it lies outside the folder.
    """
    from transformers import AutoModelForCausalLM

    from hf_tokext.transplant.checkpoint import checked_headers

    if dtype not in DTYPES:
        raise CheckpointError(f"--dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    checked_headers(folder, name)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map="auto", use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"no causal language model can be loaded from {name}: {_first_line(error)}") from error
    return model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
