"""Classes whose code is never copied into a saved folder."""

from typing import Any


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
