"""How a family of classes gets into transformers' Auto classes, and how a saved folder names it; the mechanism only.

A family says by name what belongs to which Auto class. Nothing is imported for that: the classes are registered in the
moment in which transformers loads the Auto class that they belong to, so that `import hf_tokext` costs nothing.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from hf_tokext.after_import import hold_back, when_loaded
from hf_tokext.errors import RegistrationError
from hf_tokext.lazy_classes import register_by_name
from hf_tokext.saved_json import read_json, write_json

CODE_FILE = "hf_tokext_auto.py"
_AUTO = "transformers.models.auto."
Target = str | type


class _Door(NamedTuple):
    """Where an Auto class that is not for models or configs keeps its classes.

    Attributes:
        module: its module.
        mapping: name of the mapping from configs to classes.
        by_name: name of the function that finds a class by its name.
        key: what names the class in a saved file.
    """

    module: str
    mapping: str
    by_name: str
    key: str


_DOORS = {
    "AutoTokenizer": _Door(
        _AUTO + "tokenization_auto", "TOKENIZER_MAPPING", "tokenizer_class_from_name", "tokenizer_class"
    ),
    "AutoProcessor": _Door(
        _AUTO + "processing_auto", "PROCESSOR_MAPPING", "processor_class_from_name", "processor_class"
    ),
    "AutoImageProcessor": _Door(
        _AUTO + "image_processing_auto",
        "IMAGE_PROCESSOR_MAPPING",
        "get_image_processor_class_from_name",
        "image_processor_type",
    ),
    "AutoFeatureExtractor": _Door(
        _AUTO + "feature_extraction_auto",
        "FEATURE_EXTRACTOR_MAPPING",
        "feature_extractor_class_from_name",
        "feature_extractor_type",
    ),
}


def register_family(
    config: Target,
    *,
    tokenizer: Target | None = None,
    processor: Target | None = None,
    image_processor: Target | None = None,
    feature_extractor: Target | None = None,
    models: Mapping[str, Target] | None = None,
    tokenizer_only: bool = False,
) -> None:
    """Register a family of classes with transformers' Auto classes.

    Every class is a class, or "module:Class", which is imported when transformers loads the Auto class it belongs to; a
    model only when one is made.
    Registering the same classes again changes nothing.

    Args:
        config: the configuration; its `model_type` should bear a prefix of its own.
        tokenizer: for AutoTokenizer.
        processor: for AutoProcessor.
        image_processor: for AutoImageProcessor.
        feature_extractor: for AutoFeatureExtractor.
        models: for model classes, by the name of their Auto class, such as "AutoModelForCausalLM".
        tokenizer_only: the config exists only as the key of the tokenizer: AutoConfig does not learn of it.

    Raises:
        RegistrationError: another class has the name or the model type, or belongs to the config already; the name of
            a tokenizer or image processor ends in "Fast"; there is no such Auto class; or a class cannot be imported.
            For classes given by name it is raised when transformers loads the Auto class (for a model that cannot be
            imported, when one is made); all other families are registered nevertheless.
    """
    given = {
        "AutoTokenizer": tokenizer,
        "AutoProcessor": processor,
        "AutoImageProcessor": image_processor,
        "AutoFeatureExtractor": feature_extractor,
        **(models or {}),
    }
    hold_back(target.partition(":")[0] for target in (config, *given.values()) if isinstance(target, str))
    if not tokenizer_only:
        _when_loaded("AutoConfig", config, lambda auto: _register_config(auto, _load(config)))
    for name, target in given.items():
        if target is not None:
            _when_loaded(name, config, _registration(name, config, target))


def write_auto_code(folder: Path, code: str) -> None:
    """Add code to the one file that `auto_map` entries of a saved folder name.

    Args:
        folder: the folder that a class is being saved to.
        code: imports or definitions; left alone where the file has them already.
    """
    path = folder / CODE_FILE
    found = path.read_text(encoding="utf-8") if path.is_file() else '"""Written by hf_tokext for auto_map."""\n'
    if code not in found:
        path.write_text(f"{found}\n{code}", encoding="utf-8")


def name_classes(saved: str | PathLike[str], package: str, classes: Mapping[str, str]) -> None:
    """Make a saved file say which installed classes are meant, for those who have not imported their package.

    With trust_remote_code transformers then takes the installed classes; where the package is missing, its own message
    says what to install. The classes of a family call this at the end of their `to_json_file`, a tokenizer at the end
    of its `save_pretrained`.

    Args:
        saved: config.json, processor_config.json, preprocessor_config.json or tokenizer_config.json.
        package: where the classes are public names.
        classes: names of a family's classes by the names of their Auto classes, such as "AutoModelForCausalLM". A
            config names config and models, the others what they declare. Entries of other calls stay.

    Raises:
        CheckpointError: the saved file is damaged.
    """
    path = Path(saved)
    found = read_json(path)
    if "model_type" in found:
        named = {auto: name for auto, name in classes.items() if auto not in _DOORS}
        _point(found, named)
    else:
        named = {}
        for part in (found, *(value for value in found.values() if isinstance(value, dict))):
            here = {
                auto: name for auto, name in classes.items() if auto in _DOORS and part.get(_DOORS[auto].key) == name
            }
            _point(part, here)
            named |= here
    write_json(path, found)
    for name in dict.fromkeys(named.values()):
        write_auto_code(path.parent, f"from {package} import {name}\n")


def name_tokenizer(folder: Path, name: str, code: str) -> None:
    """Make AutoTokenizer take the declared class of a saved tokenizer, beside whatever config.

    transformers 5.23 replaces the tokenizers of some 80 model types by its own classes. With an `auto_map` entry it does
    not: it takes the class that tokenizer_config.json declares if it is registered, else the plain one, without asking
    for trust. (Beside the other model types an entry would ask for trust where the package is not installed.)

    Args:
        folder: with tokenizer_config.json.
        name: the class.
        code: what defines or imports it, for those who set trust_remote_code.
    """
    path = folder / "tokenizer_config.json"
    found = read_json(path)
    _point(found, {"AutoTokenizer": name})
    write_json(path, found)
    write_auto_code(folder, code)


def keep_tokenizer(folder: str | PathLike[str], own: type | None = None) -> bool:
    """Make AutoTokenizer give back the class of a saved tokenizer, where the model's config beside it would not.

    A tokenizer's `save_pretrained` may call this. It also repairs a folder that the tokenizer was saved to before the
    model, or one that was put together from two.

    Args:
        folder: with tokenizer_config.json and a model's config.json; without a config AutoTokenizer needs no help.
        own: the class, a public name of its package; by default what tokenizer_config.json declares.

    Returns:
        Whether an `auto_map` entry and its code were needed and written; never for a class that is not registered,
        since AutoTokenizer would ask for trust.

    Raises:
        CheckpointError: tokenizer_config.json is damaged.
    """
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import REGISTERED_TOKENIZER_CLASSES

    folder = Path(folder)
    saved = folder / "tokenizer_config.json"
    if not (saved.is_file() and (folder / "config.json").is_file()):
        return False
    own = own or REGISTERED_TOKENIZER_CLASSES.get(str(read_json(saved).get("tokenizer_class")))
    registered = own in REGISTERED_TOKENIZER_CLASSES.values()
    if own is None or not registered or own.__module__ == "__main__":  # nobody else could import the latter
        return False
    try:
        kept = type(AutoTokenizer.from_pretrained(folder, trust_remote_code=False)) is own
    except Exception:  # strict configs raise a class of their own for every kind of bad value
        kept = True  # AutoConfig cannot read it, so what AutoTokenizer would do cannot be said
    if not kept:
        package = own.__module__.partition(".")[0]
        public = getattr(importlib.import_module(package), own.__name__, None) is own
        source = package if public else own.__module__
        name_tokenizer(folder, own.__name__, f"from {source} import {own.__name__}\n")
    return not kept


def _point(part: dict[str, Any], named: Mapping[str, str]) -> None:
    """Put classes into the auto_map of an object of a saved file; AutoTokenizer takes a pair, the second for "Fast"."""
    if named:
        ours = CODE_FILE.removesuffix("py")
        entry: dict[str, Any] = {auto: ours + name for auto, name in named.items()}
        if "AutoTokenizer" in entry:
            entry["AutoTokenizer"] = [entry["AutoTokenizer"], None]
        found = part.get("auto_map")
        kept = found.items() if isinstance(found, dict) else ()  # a list is a pair, as above
        part["auto_map"] = {auto: value for auto, value in kept if str(value).lstrip("['").startswith(ours)} | entry


def _register_config(auto: Any, config: type) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = getattr(config, "model_type", "")
    if not model_type:
        raise RegistrationError(f"{config.__name__} has no model_type; give its class one, with a prefix of its own")
    if model_type in CONFIG_MAPPING:
        known = CONFIG_MAPPING[model_type]
        if known is not config:
            raise RegistrationError(f"model_type {model_type!r} belongs to {_full(known)}; choose another one")
        return
    auto.register(model_type, config)


def _registration(name: str, config: Target, target: Target) -> Callable[[Any], None]:
    def register(auto: Any) -> None:
        key = _load(config)
        if name not in _DOORS and isinstance(target, str):
            register_by_name(auto, key, target)
            return
        own = _load(target)
        door, module = _DOORS.get(name), sys.modules[auto.__module__]
        if door:
            mapping = getattr(module, door.mapping)
            _check_name(name, own, getattr(module, door.by_name)(own.__name__))
        else:
            mapping = auto._model_mapping
        # AutoTokenizer takes the plain class for those of transformers' configs that have none of their own
        plain = name == "AutoTokenizer" and key.__module__.startswith("transformers.")
        found = mapping.get(key, None) or (module.TokenizersBackend if plain else None)
        for known in found.values() if isinstance(found, dict) else [found]:  # image processors: one a backend
            if known is not None and known is not own:
                raise RegistrationError(f"{name} has {_full(known)} for {_full(key)} already; register another config")
        if name == "AutoImageProcessor":
            auto.register(key, image_processor_classes={"pil": own}, exist_ok=True)
        else:
            auto.register(key, own, exist_ok=True)

    return register


def _check_name(auto: str, own: type, known: type | None) -> None:
    name = own.__name__
    if name.endswith("Fast") and auto in ("AutoTokenizer", "AutoImageProcessor"):
        raise RegistrationError(f"{name}: {auto} strips 'Fast' off names; call the class {name[:-4]}")
    if known is not None and known is not own:
        raise RegistrationError(f"the name {name} belongs to {_full(known)}; choose another one")


def _full(found: Any) -> str:
    return f"{found.__module__}.{found.__qualname__}" if isinstance(found, type) else str(found)


def _load(target: Target) -> type:
    if isinstance(target, type):
        return target
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _when_loaded(name: str, config: Target, action: Callable[[Any], None]) -> None:
    """Run an action on an Auto class: now if transformers has loaded its module, else right after it does."""
    kind = "configuration_auto" if name == "AutoConfig" else "modeling_auto"
    module = _DOORS[name].module if name in _DOORS else _AUTO + kind

    def run() -> None:
        try:
            auto = getattr(sys.modules[module], name, None)
            if auto is None:
                raise RegistrationError(f"transformers has no {name}")
            action(auto)
        except Exception as error:  # importing a module of somebody else's may raise whatever it likes
            raise RegistrationError(f"{error}\nin the family of {_full(config)}") from error

    when_loaded(module, run)
