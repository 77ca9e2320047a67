"""A tokenizer for the documents of a domain alone."""

from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import TokenizersBackend
from transformers.tokenization_utils_base import BatchEncoding
from transformers.utils.generic import to_py_obj

from hf_tokext.errors import VocabularyError
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.registry import CODE_FILE, keep_tokenizer
from hf_tokext.vocabulary.domain import Domain

PAD = "<|pad|>"


class DomainTokenizer(InstalledCode, TokenizersBackend):
    """A tokenizer whose ids are the tokens of a domain, and padding.

    Texts are documents; a document begins and ends with the domain's own tokens, which are bos and eos. Whatever ids are
    decoded, those of a half-trained model too, the text is a well-formed document. The tokenizer.json that is saved is a
    stock one over the texts of the tokens. A family names its domain.

    Args:
        pad_token: the padding.
        domain_settings: arguments of the domain; None for its defaults.
        **kwargs: as for any tokenizer of transformers.

    Attributes:
        domain: the domain.

    Raises:
        VocabularyError: a tokenizer.json of another kind is given.
    """

    domain_class: ClassVar[type[Domain]]
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, pad_token: Any = PAD, domain_settings: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.domain = self.domain_class(**(domain_settings or {}))
        texts = [self.domain.text_of(index) for index in range(len(self.domain.tokens))]
        if not (kwargs.get("tokenizer_object") or kwargs.get("tokenizer_file")):
            kwargs["tokenizer_object"] = _core(texts, str(pad_token))
        kwargs.pop("auto_map", None)  # written anew wherever it is needed
        kwargs |= {"bos_token": texts[0], "eos_token": texts[1], "unk_token": None}
        super().__init__(pad_token=pad_token, domain_settings=self.domain.settings, **kwargs)
        if self.convert_tokens_to_ids(texts) != list(range(len(texts))):
            raise VocabularyError(
                f"this tokenizer.json is none of {type(self).__name__} with {self.domain.settings}; load the folder it is in"
            )

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Take tokenizer.json as it stands."""
        return kwargs

    def _encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:  # type: ignore[override]
        if text_pair is not None or kwargs.get("is_split_into_words"):
            raise VocabularyError(f"{type(self).__name__} reads one document a row, not pairs or words")
        spelt = self.domain.spell(text) if isinstance(text, str) else [self.domain.spell(each) for each in text]
        return super()._encode_plus(text=spelt, **kwargs)

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:  # type: ignore[override]
        """Give the tokens of a document.

        Args:
            text: the document.
            **kwargs: taken for compatibility.

        Returns:
            Their texts.
        """
        return [self.domain.text_of(index) for index in self.domain.parse(text)]

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> Any:
        """Write the document of ids, or the documents of a batch.

        Args:
            token_ids: a sequence of ids, a batch of such sequences, or an array or tensor.
            skip_special_tokens: taken for compatibility: a document has no text for them.
            **kwargs: taken for compatibility.

        Returns:
            A well-formed document, or a list of them for a batch.
        """
        ids = to_py_obj(token_ids["input_ids"] if hasattr(token_ids, "keys") else token_ids)
        ids = [ids] if isinstance(ids, int) else list(ids)
        if ids and not isinstance(ids[0], int):
            return [self.decode(row) for row in ids]
        return self.domain.write([index for index in ids if 0 <= index < len(self.domain.tokens)])

    def _save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        written = super()._save_pretrained(save_directory, *args, **kwargs)
        if keep_tokenizer(Path(save_directory), type(self)):
            written = (*written, str(Path(save_directory) / CODE_FILE))
        return written


def _core(texts: list[str], pad: str) -> Tokenizer:
    core = Tokenizer(models.WordLevel({text: index for index, text in enumerate([*texts, pad])}, unk_token=pad))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"<\|[^|]*\|>"), "isolated")
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (*texts[:2], pad)])
    return core
