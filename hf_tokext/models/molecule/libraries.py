"""The chemistry libraries, imported only where they are used."""

import importlib
from functools import cache
from typing import Any

from hf_tokext.errors import MissingExtraError


@cache
def library(name: str) -> Any:
    """Import an optional library.

    Args:
        name: "rdkit.Chem", "selfies" or "mmh3", or a module of theirs.

    Returns:
        The module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        found = importlib.import_module(name)
        if name == "rdkit.Chem":
            importlib.import_module("rdkit").RDLogger.DisableLog("rdApp.*")  # errors are raised, not printed
    except ImportError as error:
        raise MissingExtraError(name.partition(".")[0], "molecules", "reading molecules") from error
    return found
