"""What other tools make of a new tokenizer without saying so."""

from pathlib import Path

from hf_tokext.vocabulary.pieces import TOKENIZER_FILE
from hf_tokext.vocabulary.tokenizer_json import read_tokenizer_json

NEW = (
    "llama.cpp's converter knows pre-tokenizers by a hash of what they make of one text: it refuses a newly made "
    "tokenizer until that hash is added to it; transformers, vLLM and others read tokenizer.json"
)
DIGITS = "llama.cpp knows no digit schemes: it cuts numbers otherwise, whatever its converter is told"
SCORES = (
    "llama.cpp cuts with tokenizers like Llama 2's by scores, which tokenizer.json does not have: for a Llama its "
    "converter takes the folder without an error and gives other ids; supply scores, and compare ids"
)
NO_MERGES = "llama.cpp loads no BPE without merges, such as a tokenizer of bytes"


def deployment_warnings(folder: Path, *, trained: bool, digits: bool) -> list[str]:
    """Say where llama.cpp would refuse a tokenizer or give other ids; docs/deployment.md says what to do.

    Args:
        folder: with the new tokenizer.json.
        trained: whether it was trained on text.
        digits: whether its digits were cut anew.

    Returns:
        Warnings.

    Raises:
        VocabularyError: the file is not read.
    """
    model = read_tokenizer_json(folder / TOKENIZER_FILE)["model"]
    if model.get("type") == "BPE" and not model.get("merges"):
        return [NO_MERGES]
    return [*([SCORES] if model.get("byte_fallback") else [NEW] if trained else []), *([DIGITS] if digits else [])]
