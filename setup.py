"""Puts the model card templates, a folder of their own, into the package of a wheel; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARDS = "model_cards"


class WithCards(build_py):
    """Copies `model_cards/*.md` to `hf_tokext/model_cards/`; an editable installation reads them where they are."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "hf_tokext" / CARDS
        self.mkpath(str(target))
        for template in sorted(Path(CARDS).glob("*.md")):
            self.copy_file(str(template), str(target / template.name))


setup(cmdclass={"build_py": WithCards})
