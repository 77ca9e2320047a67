"""What tokenizers of fixed ids share: their template, and their class kept where they are saved."""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import TokenizersBackend

from hf_tokext.registry import CODE_FILE, keep_tokenizer


class FixedIdTokenizer(TokenizersBackend):
    """A tokenizer whose ids are given, not learnt; id 0 is the character U+0000."""

    def _template(self) -> tuple[list[int], list[int]]:
        """Ids before and after a text."""
        core = self.backend_tokenizer
        core.no_truncation()
        core.no_padding()
        ids = core.encode("\0").ids
        at = ids.index(0)
        return ids[:at], ids[at + 1 :]

    def _save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        written = super()._save_pretrained(save_directory, *args, **kwargs)
        if keep_tokenizer(Path(save_directory), type(self)):
            written = (*written, str(Path(save_directory) / CODE_FILE))
        return written


def as_marker(token: Any) -> AddedToken:
    """A token as a special one that is matched in the text as it stands."""
    return token if isinstance(token, AddedToken) else AddedToken(token, special=True, normalized=False)
