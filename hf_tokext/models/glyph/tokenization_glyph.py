"""A tokenizer whose ids are UTF-16: id N stands for code point N of the BMP, two surrogates for each one beyond it."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import AddedToken
from transformers.tokenization_utils_base import BatchEncoding

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.models.blocks.surrogates import encode_with_surrogates
from hf_tokext.models.blocks.tokenizer import FixedIdTokenizer, as_marker
from hf_tokext.models.glyph.backend import CHARACTERS, backend, model, pieces


class GlyphTokenizer(FixedIdTokenizer):
    """65,536 code points, then pad, bos, eos and unk (which no text ever gives); more by `add_tokens`.

    Markers follow the code points instead of taking private-use ids, as in the source, because those are characters of
    some texts. What it saves is a plain tokenizer.json of equal ids for stock transformers, on every text that is
    Unicode; this class also takes lone surrogates, which Rust refuses, and decodes everything. Two surrogates in a row
    that form a pair are the character that UTF-16 means by them. Truncation may cut such a pair in two.

    Args:
        pad_token: marker, id 65,536.
        bos_token: marker, id 65,537.
        eos_token: marker, id 65,538.
        unk_token: marker, id 65,539, for tokens that do not exist.
        add_bos_token: whether a text is opened by bos; None is yes, or what a loaded tokenizer.json says.
        add_eos_token: whether a text is closed by eos; None is no, or what a loaded tokenizer.json says.
        **kwargs: as for any tokenizer of transformers.

    Raises:
        VocabularyError: a tokenizer.json is given that is not one of code points.

    Source: Emergent Semantics Beyond Token Embeddings (arXiv 2507.04886), its tokenizer; there characters beyond the
    BMP are unknown and surrogate ids are taken by n-grams, here nothing is lost.
    """

    model_input_names = ["input_ids", "attention_mask"]

    def __init__(
        self,
        pad_token: Any = "<pad>",
        bos_token: Any = "<s>",
        eos_token: Any = "</s>",
        unk_token: Any = "<unk>",
        add_bos_token: bool | None = None,
        add_eos_token: bool | None = None,
        **kwargs: Any,
    ) -> None:
        named = {"pad_token": pad_token, "bos_token": bos_token, "eos_token": eos_token, "unk_token": unk_token}
        if not (kwargs.get("tokenizer_object") or kwargs.get("tokenizer_file")):
            kwargs["tokenizer_object"] = backend([as_marker(token) for token in named.values() if token is not None])
            add_bos_token = bos_token is not None if add_bos_token is None else add_bos_token
            add_eos_token = bool(add_eos_token)
        chosen = {"add_bos_token": add_bos_token, "add_eos_token": add_eos_token}
        kwargs |= {name: value for name, value in chosen.items() if value is not None}
        kwargs.pop("auto_map", None)  # written anew wherever it is needed
        super().__init__(**named, **kwargs)
        self._check()
        opening, closing = self._template()
        self._add_bos_token, self._add_eos_token = self.bos_token_id in opening, self.eos_token_id in closing

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Take tokenizer.json as it stands."""
        return kwargs

    @property
    def vocab_size(self) -> int:
        """Ids of code points: 65,536."""
        return CHARACTERS

    def __len__(self) -> int:
        return CHARACTERS + sum(number >= CHARACTERS for number in self.added_tokens_decoder)

    def get_vocab(self) -> dict[str, int]:
        """Give the spelling of every token in the byte alphabet with its id; parts of characters are left out."""
        end = len(self)
        return {text: number for text, number in super().get_vocab().items() if number < end}

    def encode_units(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Encode many texts into one array, at memory speed; markers in a text are characters like all else.

        Args:
            texts: N strings.

        Returns:
            The ids of all texts one after another, [total], uint16; and where each begins, [N + 1], int64: text i is
            `ids[starts[i]:starts[i + 1]]`.
        """
        parts = [text.encode("utf-16-le", "surrogatepass") for text in texts]
        starts = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(part) // 2 for part in parts], out=starts[1:])
        return np.frombuffer(b"".join(parts), dtype="<u2"), starts

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> Any:
        """Decode ids, or a batch of them; markers that are not skipped appear by their text.

        Args:
            token_ids: an id, a sequence of ids, a batch of such sequences, or an array or tensor.
            skip_special_tokens: leave markers out.
            **kwargs: taken for compatibility; nothing is ever cleaned up.

        Returns:
            A text, or a list of texts for a batch; a surrogate without its other half stays one.

        Raises:
            VocabularyError: an id is no integer, negative or past the vocabulary.
        """
        if isinstance(token_ids, dict | BatchEncoding):
            token_ids = token_ids["input_ids"]
        if hasattr(token_ids, "detach"):
            token_ids = token_ids.detach().cpu().numpy()
        if isinstance(token_ids, int):
            return self._text([token_ids], skip_special_tokens)
        if getattr(token_ids, "ndim", 1) and len(token_ids) and np.ndim(token_ids[0]):
            return [self.decode(one, skip_special_tokens) for one in token_ids]
        return self._text(token_ids, skip_special_tokens)

    def _text(self, ids: Any, skip_special_tokens: bool) -> str:
        numbers = np.atleast_1d(np.asarray(ids))
        if numbers.size and numbers.dtype.kind not in "iu":
            raise VocabularyError(f"ids must be integers, not {numbers.dtype}")
        tokens = self.added_tokens_decoder
        parts, start = [], 0
        for at in [*np.flatnonzero((numbers < 0) | (numbers >= CHARACTERS)).tolist(), len(numbers)]:
            parts.append(numbers[start:at].astype("<u2").tobytes().decode("utf-16-le", "surrogatepass"))
            start = at + 1
            if at == len(numbers):
                break
            token = tokens.get(int(numbers[at]))
            if token is None:
                raise VocabularyError(f"id {numbers[at]} is no token; the ids end at {len(self) - 1}")
            if not (skip_special_tokens and token.special):
                parts.append(token.content)
        return "".join(parts)

    def _encode_plus(  # type: ignore[override]
        self, text: Any, text_pair: Any = None, return_tensors: Any = None, **kwargs: Any
    ) -> BatchEncoding:
        rust = super()._encode_plus
        return encode_with_surrogates(
            rust, text, text_pair, "\ufffd", lambda _, surrogate: ord(surrogate), return_tensors, **kwargs
        )

    def _convert_token_to_id_with_added_voc(self, token: str) -> int:
        number = self.backend_tokenizer.token_to_id(token)
        if number is not None and number < len(self):
            return number
        return self.unk_token_id  # type: ignore[return-value]

    def _add_tokens(self, new_tokens: Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        """Add tokens right after those that exist; the parts of characters move on."""
        known = {token.content for token in self.added_tokens_decoder.values()}
        added = [text for text, number in sorted(self.get_vocab().items(), key=lambda item: item[1])[CHARACTERS:]]
        core, fresh = self.backend_tokenizer, []
        for text in dict.fromkeys(str(token) for token in new_tokens):
            if text in known or not text or (len(text) == 1 and text.isascii()):
                continue
            if text not in added and core.model.token_to_id(text) is not None:
                raise VocabularyError(
                    f"{text!r} spells a character, or a part of one, in the byte alphabet; add another"
                )
            fresh += [text] if text not in added else []
        if fresh:
            self._check()  # a foreign model is not to be replaced before it is refused
            core.model = model([*added, *fresh])
        return super()._add_tokens(list(new_tokens), special_tokens)

    def _check(self) -> None:
        if not self.backend_tokenizer.get_vocab(with_added_tokens=False).items() >= pieces().items():
            raise VocabularyError("this tokenizer.json is not one of code points; load it with AutoTokenizer")

    def train_new_from_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: there is nothing to train; train_tokenizer or tokext transplant --train-on make other tokenizers."""
        raise UnsupportedModelError("the ids of GlyphTokenizer are code points; train from another tokenizer")
