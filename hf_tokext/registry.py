"""How a family of classes gets into transformers' Auto classes; the mechanism only.

A family says by name what belongs to which Auto class. Nothing is imported for that: the classes are registered in the
moment in which transformers loads the Auto class that they belong to, so that `import hf_tokext` costs nothing.
"""

import importlib
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from hf_tokext.errors import RegistrationError

CODE_FILE = "hf_tokext_auto.py"
_AUTO = "transformers.models.auto."
_MODULES = {
    "AutoConfig": _AUTO + "configuration_auto",
    "AutoTokenizer": _AUTO + "tokenization_auto",
    "AutoProcessor": _AUTO + "processing_auto",
    "AutoImageProcessor": _AUTO + "image_processing_auto",
    "AutoFeatureExtractor": _AUTO + "feature_extraction_auto",
}
_MODELS = _AUTO + "modeling_auto"

Target = str | type


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

    Every class is a class, or "module:Class", which is imported when transformers loads the Auto class it belongs to.
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
        RegistrationError: another class has the name or the model type, a tokenizer's name ends in "Fast", or there is
            no such Auto class. For classes given by name it is raised when transformers loads the Auto class.
    """
    given = (config, tokenizer, processor, image_processor, feature_extractor, *(models or {}).values())
    _AfterImport.targets.update(target.partition(":")[0] for target in given if isinstance(target, str))
    if not tokenizer_only:
        _when_loaded("AutoConfig", lambda auto: _register_config(auto, _load(config)))
    others = {
        "AutoTokenizer": tokenizer,
        "AutoProcessor": processor,
        "AutoImageProcessor": image_processor,
        "AutoFeatureExtractor": feature_extractor,
        **(models or {}),
    }
    for name, target in others.items():
        if target is not None:
            _when_loaded(name, _registration(name, config, target))


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
    entry = {"AutoTokenizer": [f"{CODE_FILE.removesuffix('.py')}.{name}", None]}
    config = json.loads(path.read_text(encoding="utf-8")) | {"auto_map": entry}
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_auto_code(folder, code)


def keep_tokenizer(folder: Path, own: type) -> bool:
    """Make AutoTokenizer give back the class of a tokenizer just saved, where the model's config beside it would not.

    Args:
        folder: with tokenizer_config.json; a config.json of a model may lie there already.
        own: the class, a public name of its package.

    Returns:
        Whether an `auto_map` entry and its code were needed and written.
    """
    from transformers import AutoTokenizer

    if not (folder / "config.json").is_file():  # AutoTokenizer goes by it
        return False
    try:
        kept = type(AutoTokenizer.from_pretrained(folder, trust_remote_code=False)) is own
    except Exception:  # strict configs raise a class of their own for every kind of bad value
        kept = True  # AutoConfig cannot read it, so what AutoTokenizer would do cannot be said
    if not kept:
        name_tokenizer(folder, own.__name__, f"from {own.__module__.partition('.')[0]} import {own.__name__}\n")
    return not kept


def name_classes(config_file: Path, package: str, classes: Mapping[str, str]) -> None:
    """Make a saved config say which installed classes are meant, for those who have not imported their package.

    With trust_remote_code transformers then takes the installed classes; where the package is missing, its own message
    says what to install. The config of a family calls this at the end of its `to_json_file`.

    Args:
        config_file: the config.json.
        package: where the classes are public names.
        classes: names of classes by the names of their Auto classes, such as "AutoModelForCausalLM".
    """
    entry = {auto: f"{CODE_FILE.removesuffix('.py')}.{name}" for auto, name in classes.items()}
    config = json.loads(config_file.read_text(encoding="utf-8")) | {"auto_map": entry}
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in dict.fromkeys(classes.values()):
        write_auto_code(config_file.parent, f"from {package} import {name}\n")


def _registration(name: str, config: Target, target: Target) -> Callable[[Any], None]:
    def register(auto: Any) -> None:
        if name == "AutoTokenizer":
            _register_tokenizer(auto, _load(config), _load(target))
        elif name == "AutoImageProcessor":
            _register(auto, _load(config), image_processor_classes={"pil": _load(target)})
        else:
            _register(auto, _load(config), _load(target))

    return register


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


def _register_tokenizer(auto: Any, config: type, tokenizer: type) -> None:
    from transformers.models.auto import tokenization_auto

    name = tokenizer.__name__
    if name.endswith("Fast"):
        raise RegistrationError(f"{name}: AutoTokenizer strips 'Fast' off names; call the class {name[:-4]}")
    known = tokenization_auto.tokenizer_class_from_name(name)
    if known is not None and known is not tokenizer:
        raise RegistrationError(f"the name {name} belongs to {_full(known)}; choose another one")
    _register(auto, config, tokenizer_class=tokenizer)


def _register(auto: Any, config: type, *classes: type, **named: Any) -> None:
    mapping = getattr(auto, "_model_mapping", None)
    known = mapping._extra_content.get(config) if mapping is not None else None
    if known is not None and known is not classes[0]:
        raise RegistrationError(f"{auto.__name__} has {_full(known)} for {config.__name__} already")
    auto.register(config, *classes, **named, exist_ok=True)


def _full(found: type) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def _load(target: Target) -> type:
    if isinstance(target, type):
        return target
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _when_loaded(name: str, action: Callable[[Any], None]) -> None:
    """Run an action on an Auto class: now if transformers has loaded its module, else right after it does."""
    module = _MODULES.get(name, _MODELS)

    def run() -> None:
        auto = getattr(sys.modules[module], name, None)
        if auto is None:
            raise RegistrationError(f"transformers has no {name}")
        action(auto)

    present = sys.modules.get(module)
    # a module that is being loaded is in sys.modules already; its spec says so
    if present is not None and not getattr(present.__spec__, "_initializing", False):
        run()
    else:
        _AfterImport.actions.setdefault(module, []).append(run)
        _install()


def _install() -> None:
    if not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


class _Loading(threading.local):
    """What one thread is in the middle of.

    Attributes:
        depth: watched modules being loaded, one inside the other.
        due: actions that wait until the outermost is loaded; transformers loads its Auto classes from the middle of
            any config's module, when that module's own classes are not there yet.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.due: list[Callable[[], None]] = []


class _AfterImport(MetaPathFinder):
    """Runs actions right after certain modules have been loaded, by whomever.

    Attributes:
        actions: what to do after a module, by its name.
        targets: modules of the registered classes; no action is run while one of them is being loaded.
    """

    actions: ClassVar[dict[str, list[Callable[[], None]]]] = {}
    targets: ClassVar[set[str]] = set()
    _looking: ClassVar[set[str]] = set()
    _loading = _Loading()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Give the module's own spec, its loader followed by the actions."""
        if fullname in self._looking or not (fullname in self.actions or fullname in self.targets):
            return None
        self._looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is None or spec.loader is None:
            return None
        load, state = spec.loader.exec_module, self._loading

        def load_and_act(module: ModuleType) -> None:
            state.depth += 1
            try:
                load(module)
            finally:
                state.depth -= 1
            state.due += self.actions.pop(fullname, [])
            while state.due and not state.depth:
                state.due.pop(0)()

        spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec
