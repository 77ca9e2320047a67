"""What tokenizers of fixed ids share: their markers and template, decoding, lone surrogates, and how they are saved."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from transformers import TokenizersBackend
from transformers.tokenization_utils_base import BatchEncoding
from transformers.utils.generic import to_py_obj

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.models.blocks.markers import BOS, EOS, PAD, UNK
from hf_tokext.models.blocks.surrogates import encode_with_surrogates
from hf_tokext.registry import CODE_FILE, keep_tokenizer


class FixedIdTokenizer(InstalledCode, TokenizersBackend, ABC):
    """A tokenizer whose ids are given, not learnt: those of characters first, 0 for U+0000, then those of markers.

    A family fills in what is abstract here.

    Args:
        pad_token: first marker.
        bos_token: second marker.
        eos_token: third marker.
        unk_token: fourth marker, for tokens that do not exist.
        add_bos_token: whether a text is opened by bos; None is yes, or what a loaded tokenizer.json says.
        add_eos_token: whether a text is closed by eos; None is no, or what a loaded tokenizer.json says.
        **kwargs: as for any tokenizer of transformers.

    Raises:
        VocabularyError: a marker is blank or spells a character in the byte alphabet, or a tokenizer.json of another
            kind is given.
    """

    model_input_names = ["input_ids", "attention_mask"]
    _stand_in: str  # a character of as many ids as a lone surrogate has

    def __init__(
        self,
        pad_token: Any = PAD,
        bos_token: Any = BOS,
        eos_token: Any = EOS,
        unk_token: Any = UNK,
        add_bos_token: bool | None = None,
        add_eos_token: bool | None = None,
        **kwargs: Any,
    ) -> None:
        named = {"pad_token": pad_token, "bos_token": bos_token, "eos_token": eos_token, "unk_token": unk_token}
        if not (kwargs.get("tokenizer_object") or kwargs.get("tokenizer_file")):
            markers = {str(token): _as_marker(token) for token in named.values() if token is not None}
            self._refuse_spellings(markers, special=True)
            kwargs["tokenizer_object"] = self._built(list(markers.values()))
            add_bos_token = bos_token is not None if add_bos_token is None else add_bos_token
            add_eos_token = bool(add_eos_token)
        chosen = {"add_bos_token": add_bos_token, "add_eos_token": add_eos_token}
        kwargs |= {name: value for name, value in chosen.items() if value is not None}
        kwargs.pop("auto_map", None)  # written anew wherever it is needed
        super().__init__(**named, **kwargs)
        self._check()
        self._refuse_spellings(self.added_tokens_decoder.values())
        opening, closing = self._template()
        self._add_bos_token, self._add_eos_token = self.bos_token_id in opening, self.eos_token_id in closing

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Take tokenizer.json as it stands."""
        return kwargs

    @staticmethod
    @abstractmethod
    def _built(markers: Sequence[AddedToken]) -> Tokenizer:
        """Build the Rust tokenizer, without a post-processor."""

    @staticmethod
    @abstractmethod
    def _spells(text: str) -> bool:
        """Say whether a text stands for a character, or a part of one, in the byte alphabet."""

    @staticmethod
    @abstractmethod
    def _mended(number: int, surrogate: str) -> int:
        """Say what an id of the stand-in becomes where a surrogate stood."""

    @abstractmethod
    def _check(self) -> None:
        """Refuse a tokenizer.json of another kind."""

    @abstractmethod
    def _text(self, ids: Any, skip_special_tokens: bool, **kwargs: Any) -> str:
        """Decode one row of ids."""

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> Any:
        """Decode ids, or a batch of them; markers that are not skipped appear by their text.

        Args:
            token_ids: an id, a sequence of ids, a batch of such sequences, or an array or tensor.
            skip_special_tokens: leave markers out.
            **kwargs: taken for compatibility; nothing is ever cleaned up.

        Returns:
            A text, or a list of texts for a batch.

        Raises:
            VocabularyError: an id is no integer, negative or past the vocabulary.
        """
        ids = token_ids["input_ids"] if hasattr(token_ids, "keys") else token_ids
        ids = ids.detach().cpu().numpy() if hasattr(ids, "detach") else ids
        if _is_one(ids):
            ids = [ids]
        elif len(ids) and not _is_one(ids[0]):
            return [FixedIdTokenizer.decode(self, one, skip_special_tokens, **kwargs) for one in ids]
        elif len(ids) and hasattr(ids[0], "detach"):
            ids = to_py_obj(ids)
        return self._text(ids, skip_special_tokens, **kwargs)

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **kwargs: Any) -> list[str]:
        """Give the tokens of a text, of lone surrogates too; `convert_tokens_to_ids` gives its ids.

        Args:
            text: a text, or words.
            pair: the same, or None.
            add_special_tokens: with the markers around a text.
            **kwargs: as for calling the tokenizer.

        Returns:
            The tokens, spelt in the byte alphabet.
        """
        found = self._encode_plus(text=text, text_pair=pair, add_special_tokens=add_special_tokens, **kwargs)
        return list(self.convert_ids_to_tokens(found["input_ids"]))

    def train_new_from_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: there is nothing to train; train_tokenizer or tokext transplant --train-on make other tokenizers."""
        raise UnsupportedModelError(
            f"the ids of {type(self).__name__} are given, not learnt; train from another tokenizer"
        )

    def _encode_plus(  # type: ignore[override]
        self, text: Any, text_pair: Any = None, return_tensors: Any = None, **kwargs: Any
    ) -> BatchEncoding:
        rust = super()._encode_plus
        return encode_with_surrogates(rust, text, text_pair, self._stand_in, self._mended, return_tensors, **kwargs)

    def _add_tokens(self, new_tokens: Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        self._refuse_spellings(new_tokens, special_tokens)
        return super()._add_tokens(list(new_tokens), special_tokens)

    def __setattr__(self, key: str, value: Any) -> None:
        if value is not None and key.removesuffix("_id") in self.SPECIAL_TOKENS_ATTRIBUTES:
            texts = self.convert_ids_to_tokens([value]) if key.endswith("_id") else [value]
            self._refuse_spellings(texts, special=True)
        super().__setattr__(key, value)

    def _refuse_spellings(self, tokens: Iterable[Any], special: bool = False) -> None:
        """Refuse tokens that would take the ids of characters.

        A letter of ASCII has its id by right, so adding it changes nothing; as a marker it would be left out of texts,
        and with the spaces around it, those. A blank marker would be left out too, and an empty one gets no id.
        """
        for token in tokens:
            text = str(token)
            added = isinstance(token, AddedToken)
            loses = special or (added and (token.special or token.lstrip or token.rstrip))
            if loses and not text.strip():
                raise VocabularyError(f"the marker {text!r} is blank: texts would lose their blanks; choose another")
            if self._spells(text) and (loses or not text.isascii()):
                raise VocabularyError(
                    f"{text!r} spells a character, or a part of one, in the byte alphabet; add another"
                )

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


def _is_one(value: Any) -> bool:
    """Say whether this is one id, not several; an array or tensor without dimensions is one."""
    return isinstance(value, str) or getattr(value, "ndim", 1) == 0 or not hasattr(value, "__len__")


def _as_marker(token: Any) -> AddedToken:
    """A token as a special one that is matched in the text as it stands."""
    return token if isinstance(token, AddedToken) else AddedToken(token, special=True, normalized=False)
