"""What the processors of families share."""

from pathlib import Path
from typing import Any

from transformers import ProcessorMixin

from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.registry import name_classes


class InstalledProcessor(InstalledCode, ProcessorMixin):
    """A processor of which the installed class is always meant; its processor_config.json names it."""

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save tokenizer and settings.

        Args:
            save_directory: folder.
            push_to_hub: as upstream.
            **kwargs: as upstream.

        Returns:
            As upstream.
        """
        written = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        saved = Path(save_directory) / "processor_config.json"
        name_classes(saved, "hf_tokext", {"AutoProcessor": type(self).__name__})
        return written
