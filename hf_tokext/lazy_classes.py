"""Model classes that transformers' Auto classes know by name, and that are imported when one of them is asked for."""

import importlib
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hf_tokext.errors import RegistrationError


@dataclass(frozen=True)
class NamedClass:
    """A class that is not imported yet.

    Attributes:
        name: "module:Class".
        check: called with the class once it is imported; raises where it does not fit.
    """

    name: str
    check: Callable[[type], None]

    def load(self) -> type:
        """Import it."""
        module, _, name = self.name.partition(":")
        found = getattr(importlib.import_module(module), name)
        self.check(found)
        return found


class LazyClasses(UserDict[Any, Any]):
    """Classes by key; a `NamedClass` becomes the class itself when it is read."""

    def __getitem__(self, key: Any) -> Any:
        value = self.data[key]
        if isinstance(value, NamedClass):
            value = self.data[key] = value.load()
        return value


def register_by_name(auto: Any, config: type, target: str) -> None:
    """Register a model class with an Auto class without importing it, which would import much of torch.

    Args:
        auto: the Auto class, such as AutoModelForCausalLM.
        config: the class of the model's config.
        target: "module:Class".

    Raises:
        RegistrationError: the config has another class there.
    """
    mapping = auto._model_mapping
    if not isinstance(mapping._extra_content, LazyClasses):
        mapping._extra_content = LazyClasses(mapping._extra_content)
    known = mapping._extra_content.data.get(config)
    if known is None and config in mapping:
        known = mapping[config]
    if known is not None and _name(known) != target:
        raise RegistrationError(
            f"{auto.__name__} has {_name(known)} for {_name(config)} already; register another config"
        )

    def check(found: type) -> None:
        if getattr(found, "config_class", config) is not config:
            raise RegistrationError(f"{target} is registered for {_name(config)}, but is a model of another config")

    if known is None:
        mapping._extra_content.data[config] = NamedClass(target, check)


def _name(found: NamedClass | type) -> str:
    return found.name if isinstance(found, NamedClass) else f"{found.__module__}:{found.__qualname__}"
