"""Classes whose code is never copied into a saved folder."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from hf_tokext.registry import CODE_FILE, name_classes


class InstalledCode:
    """A class of which the installed one is always meant; goes before transformers' own base class.

    With `trust_remote_code=True` transformers marks a class that a folder names, and then copies the file it is defined in
    into whatever folder it is saved to.
    """

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Do nothing: the folder names the installed class already.

        Args:
            auto_class: taken for compatibility.
        """


class InstalledConfig(InstalledCode, PreTrainedConfig):
    """A config of which the same holds; its config.json names the installed classes."""

    def auto_classes(self) -> dict[str, str]:
        """Say which models of the package belong to the config; each class of configs says so itself.

        Returns:
            Names of model classes by the names of their Auto classes.
        """
        return {}

    def to_json_file(self, json_file_path: Any, use_diff: bool = True) -> None:
        """Write config.json, and name the installed classes in it; those of a subclass are its own affair.

        Args:
            json_file_path: the file.
            use_diff: as upstream.
        """
        super().to_json_file(json_file_path, use_diff)
        if "auto_classes" in vars(type(self)):
            name_classes(Path(json_file_path), "hf_tokext", {"AutoConfig": type(self).__name__, **self.auto_classes()})

    def to_dict(self) -> dict[str, Any]:
        """Give everything but what a loaded config.json said of `hf_tokext_auto.py`.

        That file is not beside what is saved next, and for a subclass it has the wrong classes: `name_classes` writes
        both anew.

        Returns:
            As upstream.
        """
        found = super().to_dict()
        named, ours = found.get("auto_map"), CODE_FILE.removesuffix("py")
        if isinstance(named, dict):
            found["auto_map"] = {auto: name for auto, name in named.items() if not str(name).startswith(ours)}
            if not found["auto_map"]:
                del found["auto_map"]
        return found
