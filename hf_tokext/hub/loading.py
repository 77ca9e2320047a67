"""How to load a checkpoint, in code, by what lies in its folder; and which code it brings, which is read, never run."""

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from hf_tokext.errors import CheckpointError, UnsafeCheckpointError
from hf_tokext.registry import CODE_FILE
from hf_tokext.saved_json import read_json

OWN = CODE_FILE.removesuffix("py")  # how an `auto_map` names what is in it
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
    return read_json(path) if path.is_file() else {}


def check_code(folder: Path, configs: Iterable[str]) -> None:
    """Refuse a checkpoint that brings code, or names some, beside what this package writes into `hf_tokext_auto.py`.

    Args:
        folder: the checkpoint.
        configs: names of its files that may have an `auto_map`, at the top or inside.

    Raises:
        CheckpointError: a config is damaged, or names other code, or `hf_tokext_auto.py` where there is none.
        UnsafeCheckpointError: as for `code_packages`.
    """
    for name in configs:
        for entry in _named_code(read_object(folder / name)):
            if not entry.startswith(OWN):
                raise CheckpointError(
                    f"{name} names {entry}, code of its own, which is not uploaded here: use HfApi().upload_folder for "
                    "such a repository"
                )
            if not (folder / CODE_FILE).is_file():
                raise CheckpointError(
                    f"{name} names {entry}, but {folder} has no {CODE_FILE}: save the checkpoint again"
                )
    code_packages(folder)


def code_packages(folder: Path) -> list[str]:
    """The packages whose classes a checkpoint's `hf_tokext_auto.py` names; the file is read, never run.

    Args:
        folder: the checkpoint.

    Returns:
        Their names; empty without the file.

    Raises:
        UnsafeCheckpointError: the file has more than what this package writes: imports of names, and classes that add
            nothing to what they inherit; or it names a package that is not installed here.
    """
    path = folder / CODE_FILE
    if not path.is_file():
        return []
    try:
        statements = ast.parse(path.read_bytes()).body  # bytes, so that an encoding it declares is the one Python takes
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        said = str(error) or type(error).__name__
        raise UnsafeCheckpointError(f"{path} is damaged ({said}): save the checkpoint again") from error
    for statement in statements:
        if not _harmless(statement):
            raise UnsafeCheckpointError(
                f"line {statement.lineno} of {path} is code that hf_tokext does not write there: save the checkpoint again"
            )
    imports = [each.module for each in statements if isinstance(each, ast.ImportFrom) and each.module]
    packages = list(dict.fromkeys(module.partition(".")[0] for module in imports))
    if absent := [each for each in packages if not _installed(each, folder)]:
        raise UnsafeCheckpointError(f"{path} imports packages that are not installed here: {', '.join(absent)}")
    return packages


def distributions(packages: Sequence[str]) -> list[str]:
    """What pip has to install for packages, which may have another name: PIL comes with pillow.

    Args:
        packages: names that are imported.

    Returns:
        Names of the distributions that have them here; where none is known to, the package's own name.
    """
    known = packages_distributions() if packages else {}  # it reads the metadata of everything that is installed
    return list(dict.fromkeys(name for package in packages for name in known.get(package, [package])))


def _named_code(config: object) -> Iterator[str]:
    """What all `auto_map`s in a config name, those of nested objects too; depth is no matter."""
    parts = [config]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield from _leaves(part.get("auto_map"))
            parts += part.values()
        elif isinstance(part, list):
            parts += part


def _leaves(auto_map: object) -> Iterator[str]:
    """The entries of an `auto_map`, of whatever shape: an object, in old files a list, values single or in pairs."""
    parts = [auto_map]
    while parts:
        part = parts.pop()
        if isinstance(part, dict | list):
            parts += part.values() if isinstance(part, dict) else part
        elif part is not None:
            yield str(part)


def _installed(package: str, folder: Path) -> bool:
    """Whether a package can be imported here, and not out of the checkpoint itself; nothing is imported."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module that was made by hand
        return False
    if spec is None or package == "__main__":
        return False
    places = spec.submodule_search_locations or [spec.origin or ""]
    return not any(Path(place).resolve().is_relative_to(folder.resolve()) for place in places)


def _harmless(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ClassDef):
        bases = [node for base in statement.bases for node in ast.walk(base)]
        plain = all(isinstance(each, ast.Name | ast.Attribute | ast.Load) for each in bases)
        empty = all(isinstance(each, ast.Pass) or _is_text(each) for each in statement.body)
        more = [*statement.keywords, *statement.decorator_list, *getattr(statement, "type_params", ())]
        return plain and empty and not more
    return _is_text(statement) or (isinstance(statement, ast.ImportFrom) and statement.level == 0)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def auto_class(config: dict[str, Any]) -> str:
    """The Auto class that loads a model.

    Args:
        config: the content of config.json.

    Returns:
        Its name; "AutoModel" where no more is known.
    """
    from transformers.models.auto import modeling_auto as names

    architecture = (config.get("architectures") or [""])[0]
    auto_map = config.get("auto_map")
    own = auto_map if isinstance(auto_map, dict) else {}
    for auto, mapping in (
        ("AutoModelForCausalLM", names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        ("AutoModelForMaskedLM", names.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
        ("AutoModelForSeq2SeqLM", names.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
        ("AutoModelForImageTextToText", names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
    ):
        known = {name for value in mapping.values() for name in (value if isinstance(value, tuple) else (value,))}
        if architecture in known or auto in own:
            return auto
    return "AutoModel"


def loading_code(folder: Path, name: str, usage: str = "") -> tuple[str, list[str]]:
    """Code that loads what lies in a folder.

    Args:
        folder: the checkpoint.
        name: folder or Hub id that the code shall name.
        usage: code that goes on from there, where more is known than how causal models are used.

    Returns:
        The code, and the packages that it needs beside transformers.

    Raises:
        CheckpointError: a config is damaged.
        UnsafeCheckpointError: as for `code_packages`.
    """
    config, adapter = read_object(folder / "config.json"), read_object(folder / "adapter_config.json")
    own = any(each.startswith(OWN) for each in _leaves(config.get("auto_map")))
    packages = code_packages(folder) if own else []
    tokenizer, processor = (folder / "tokenizer_config.json").is_file(), _processor(folder)
    auto, package = auto_class(config), "transformers"
    if adapter:
        auto, package = "AutoPeftModelForCausalLM", "peft"
    weights = adapter or any(folder.glob("*.safetensors"))
    lines = [f"import {each}  # its classes are registered; no code of the repository is run" for each in packages]
    lines = [f"import {each}" for each in ("numpy", "torch") if f"{each}." in usage] + lines
    wanted = ([processor] if processor else []) + ([auto] if weights and package == "transformers" else [])
    tokenizer = tokenizer and "AutoProcessor" not in usage  # which holds it
    wanted += ["AutoTokenizer"] if tokenizer else ["AutoProcessor"] if "AutoProcessor" in usage else []
    lines += [f"from {package} import {auto}"] if weights and package == "peft" else []
    lines += [f"from transformers import {', '.join(wanted)}"] if wanted else []
    lines += ["", f'name = "{name}"']
    lines += ["tokenizer = AutoTokenizer.from_pretrained(name)"] if tokenizer else []
    lines += [f"processor = {processor}.from_pretrained(name)"] if processor else []
    lines += [f"model = {auto}.from_pretrained(name)"] if weights else []
    lines += [usage] if weights and usage else []
    if weights and tokenizer and auto.endswith("CausalLM"):
        lines.append(GENERATION)
    return "\n".join(lines).strip(), packages


def _processor(folder: Path) -> str | None:
    """The Auto class of an image processor or feature extractor that stands alone."""
    found = read_object(folder / "preprocessor_config.json")
    if (folder / "processor_config.json").is_file():
        return None
    kinds = {"image_processor_type": "AutoImageProcessor", "feature_extractor_type": "AutoFeatureExtractor"}
    return next((auto for key, auto in kinds.items() if key in found), None)
