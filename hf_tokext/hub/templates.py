"""Where the model card templates lie: inside the installed package, or beside it in a source tree."""

from pathlib import Path

import hf_tokext

PACKAGE = Path(hf_tokext.__file__).resolve().parent
FOLDER = "model_cards"


def template_folder() -> Path:
    """The folder of the templates.

    A wheel carries them inside the package (`setup.py` puts them there); an editable installation reads the source
    tree's own folder.

    Returns:
        An existing folder.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for folder in (PACKAGE / FOLDER, PACKAGE.parent / FOLDER):
        if (folder / "transplant.md").is_file():
            return folder
    raise FileNotFoundError(f"no model card templates beside {PACKAGE}: install hf-tokext again")
