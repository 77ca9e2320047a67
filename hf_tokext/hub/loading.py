"""How to load a checkpoint, in code, by what lies in its folder; and which code it brings, which is read, never run."""

import ast
import json
from pathlib import Path
from typing import Any

from hf_tokext.errors import CheckpointError, UnsafeCheckpointError
from hf_tokext.registry import CODE_FILE

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


def code_packages(folder: Path) -> list[str]:
    """The packages whose classes a checkpoint's `hf_tokext_auto.py` names; the file is read, never run.

    Args:
        folder: the checkpoint.

    Returns:
        Their names; empty without the file.

    Raises:
        UnsafeCheckpointError: the file has more than what this package writes: imports of names, and classes that add
            nothing to what they inherit.
    """
    path = folder / CODE_FILE
    if not path.is_file():
        return []
    try:
        statements = ast.parse(path.read_text(encoding="utf-8")).body
    except (ValueError, SyntaxError) as error:
        raise UnsafeCheckpointError(f"{path} is damaged ({error}): save the checkpoint again") from error
    for statement in statements:
        if not _harmless(statement):
            raise UnsafeCheckpointError(
                f"line {statement.lineno} of {path} is code that hf_tokext does not write there: save the checkpoint again"
            )
    imports = [each.module for each in statements if isinstance(each, ast.ImportFrom) and each.module]
    return list(dict.fromkeys(module.partition(".")[0] for module in imports))


def _harmless(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ClassDef):
        plain = all(isinstance(each, ast.Name | ast.Attribute) for each in statement.bases)
        empty = all(isinstance(each, ast.Pass) or _is_text(each) for each in statement.body)
        return plain and empty and not statement.keywords and not statement.decorator_list
    return _is_text(statement) or (isinstance(statement, ast.ImportFrom) and statement.level == 0)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def foreign_code(folder: Path) -> str | None:
    """What of a checkpoint names code of its own that is not `hf_tokext_auto.py`.

    Args:
        folder: the checkpoint.

    Returns:
        Such a file and what it names, for a message; None where there is none.

    Raises:
        CheckpointError: a config is damaged.
    """
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        found = read_object(folder / name).get("auto_map")
        for value in found.values() if isinstance(found, dict) else ():
            for entry in value if isinstance(value, list | tuple) else [value]:
                if entry is not None and not str(entry).startswith(CODE_FILE.removesuffix("py")):
                    return f"{name} names {entry}"
    return None


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


def loading_code(folder: Path, name: str) -> tuple[str, list[str]]:
    """Code that loads what lies in a folder.

    Args:
        folder: the checkpoint.
        name: folder or Hub id that the code shall name.

    Returns:
        The code, and the packages that it needs beside transformers.

    Raises:
        CheckpointError: a config is damaged.
    """
    config, adapter = read_object(folder / "config.json"), read_object(folder / "adapter_config.json")
    own = any(str(each).startswith(CODE_FILE.removesuffix("py")) for each in (config.get("auto_map") or {}).values())
    packages = code_packages(folder) if own else []
    tokenizer = (folder / "tokenizer_config.json").is_file()
    auto, package = auto_class(config), "transformers"
    if adapter:
        auto, package = "AutoPeftModelForCausalLM", "peft"
    weights = adapter or any(folder.glob("*.safetensors"))
    lines = [f"import {each}  # its classes are registered; no code of the repository is run" for each in packages]
    wanted = ([auto] if weights and package == "transformers" else []) + (["AutoTokenizer"] if tokenizer else [])
    lines += [f"from {package} import {auto}"] if weights and package == "peft" else []
    lines += [f"from transformers import {', '.join(wanted)}"] if wanted else []
    lines += ["", f'name = "{name}"']
    lines += ["tokenizer = AutoTokenizer.from_pretrained(name)"] if tokenizer else []
    lines += [f"model = {auto}.from_pretrained(name)"] if weights else []
    if weights and tokenizer and auto.endswith("CausalLM"):
        lines.append(GENERATION)
    return "\n".join(lines).strip(), packages
