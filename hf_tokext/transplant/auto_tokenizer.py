"""What AutoTokenizer makes of a tokenizer beside a config, and how to make it take tokenizer.json as it stands."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, TokenizersBackend

from hf_tokext.registry import CODE_FILE, name_tokenizer
from hf_tokext.transplant.direction import DEFAULT_TEXTS
from hf_tokext.vocabulary.pieces import TOKENIZER_FILE
from hf_tokext.vocabulary.settings import settings

CODE = '''from transformers import TokenizersBackend


class TransplantedTokenizer(TokenizersBackend):
    """The tokenizer of tokenizer.json, whatever model it is used with."""
'''

# Every kind of thing that tokenizers of different rules cut differently.
PROBES = (
    *DEFAULT_TEXTS,
    "",
    " ",
    "  two  spaces \t tab\r\n\r\n  indented\n",
    "1234567890 3.14159 1,000,000 0x1F 2026-11-23",
    "don't WE'LL it's I've e\u0301 \ufb01 \u200b\ufeff \U0001f642\U0001f468\u200d\U0001f469",
    "\u0627\u0644\u0633\u0644\u0627\u0645 \u05e9\u05dc\u05d5\u05dd \u0939\u093f\u0928\u094d\u0926\u0940 \ud55c\uad6d\uc5b4",
)


class TransplantedTokenizer(TokenizersBackend):
    """A tokenizer whose saved folder AutoTokenizer reads as it stands, beside any config."""

    def _save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        written = super()._save_pretrained(save_directory, *args, **kwargs)
        config = Path(save_directory) / "tokenizer_config.json"
        # a class that transformers knows: without a model's config beside it, it loads that and asks for no trust
        declared = json.loads(config.read_text(encoding="utf-8")) | {"tokenizer_class": "TokenizersBackend"}
        config.write_text(json.dumps(declared, indent=2, ensure_ascii=False), encoding="utf-8")
        name_tokenizer(Path(save_directory), "TransplantedTokenizer", CODE)
        return (*written, str(Path(save_directory) / CODE_FILE))


def first_difference(
    loaded: PreTrainedTokenizerBase, own: Tokenizer, corpus: Sequence[str] = PROBES
) -> tuple[int, str] | None:
    """Find where a tokenizer gives other ids than its own tokenizer.json.

    Args:
        loaded: what AutoTokenizer gave.
        own: the tokenizer of the file; its truncation and padding are not looked at.
        corpus: texts to try.

    Returns:
        Position of the first id that differs and the text, or None where all ids are equal.
    """
    plain = Tokenizer.from_str(own.to_str())
    plain.no_truncation()
    plain.no_padding()
    for text in corpus:
        ids = loaded(text, add_special_tokens=False)["input_ids"]
        expected = plain.encode(text, add_special_tokens=False).ids
        if ids != expected:
            places = [i for i, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b]
            return (places or [min(len(ids), len(expected))])[0], text
    return None


def keep_ids_in_folder(folder: Path, usual: type | None = None) -> None:
    """See to it that AutoTokenizer reads a finished folder's tokenizer.json as it stands.

    Args:
        folder: with config.json, tokenizer.json and a tokenizer_config.json that declares `TokenizersBackend`; the last
            gets an `auto_map` and code is written beside it, where without them transformers would rebuild the tokenizer
            by the rules of the model's type.
        usual: the class that the tokenizer has with its own model, which may rebuild it if it gives the same ids.
    """
    loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    own = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    kept = type(loaded) is usual and first_difference(loaded, own) is None
    if not kept and type(loaded) is not TokenizersBackend:
        name_tokenizer(folder, "TransplantedTokenizer", CODE)


def keep_ids_when_saved(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """See to it that AutoTokenizer will read a tokenizer as it is when it is saved beside a config.

    Args:
        tokenizer: a tokenizer backed by `tokenizers`.
        config: config of the model that it will be used with.

    Returns:
        The same tokenizer, or a `TransplantedTokenizer` of equal ids where transformers would rebuild it.
    """
    with TemporaryDirectory() as scratch:
        config.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        if type(AutoTokenizer.from_pretrained(scratch, trust_remote_code=False)) in (
            TokenizersBackend,
            type(tokenizer),
        ):
            return tokenizer
    kept = {name: value for name, value in tokenizer.init_kwargs.items() if name not in ("tokenizer_file", "auto_map")}
    named = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    own = {"tokenizer_object": tokenizer.backend_tokenizer}  # type: ignore[attr-defined]
    return TransplantedTokenizer(**kept | settings(tokenizer) | named | own)
