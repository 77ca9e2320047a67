"""How to load a checkpoint, in code, by what lies in its folder."""

import json
from pathlib import Path
from typing import Any

from hf_tokext.errors import CheckpointError

GENERATION = """inputs = tokenizer("Once upon a time", return_tensors="pt").to(model.device)
output = model.generate(**inputs, max_new_tokens=20)
print(tokenizer.decode(output[0], skip_special_tokens=True))"""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Args:
        path: the file; it may be missing.

    Returns:
        The object; empty without a file.

    Raises:
        CheckpointError: the file is damaged, or holds something else.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is damaged (not an object)")
    return found


def auto_class(config: dict[str, Any]) -> str:
    """The Auto class that loads a model.

    Args:
        config: the content of config.json.

    Returns:
        Its name; "AutoModel" where no more is known.
    """
    from transformers.models.auto import modeling_auto as names

    architecture = (config.get("architectures") or [""])[0]
    for auto, mapping in (
        ("AutoModelForCausalLM", names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        ("AutoModelForMaskedLM", names.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
        ("AutoModelForSeq2SeqLM", names.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
        ("AutoModelForImageTextToText", names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
    ):
        known = {name for value in mapping.values() for name in (value if isinstance(value, tuple) else (value,))}
        if architecture in known or auto in (config.get("auto_map") or {}):
            return auto
    return "AutoModel"


def loading_code(folder: Path, name: str) -> tuple[str, bool]:
    """Code that loads what lies in a folder.

    Args:
        folder: the checkpoint.
        name: folder or Hub id that the code shall name.

    Returns:
        The code, and whether it needs this package.

    Raises:
        CheckpointError: a config is damaged.
    """
    config, adapter = read_object(folder / "config.json"), read_object(folder / "adapter_config.json")
    own = "auto_map" in config
    tokenizer = (folder / "tokenizer_config.json").is_file()
    auto, package = auto_class(config), "transformers"
    if adapter:
        auto, package = "AutoPeftModelForCausalLM", "peft"
    weights = adapter or any(folder.glob("*.safetensors"))
    lines = ["import hf_tokext  # its classes are registered; no code of the repository is run"] if own else []
    wanted = ([auto] if weights and package == "transformers" else []) + (["AutoTokenizer"] if tokenizer else [])
    lines += [f"from {package} import {auto}"] if weights and package == "peft" else []
    lines += [f"from transformers import {', '.join(wanted)}"] if wanted else []
    lines += ["", f'name = "{name}"']
    lines += ["tokenizer = AutoTokenizer.from_pretrained(name)"] if tokenizer else []
    lines += [f"model = {auto}.from_pretrained(name)"] if weights else []
    if weights and tokenizer and auto.endswith("CausalLM"):
        lines.append(GENERATION)
    return "\n".join(lines).strip(), own
