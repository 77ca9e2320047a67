"""A tokenizer whose ids are bytes: id B stands for byte B, markers follow from 256 on."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.tokenization_utils_base import BatchEncoding, PaddingStrategy, TruncationStrategy

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.models.blocks.tokenizer import FixedIdTokenizer, as_marker
from hf_tokext.models.byte_level.batches import Row, arrays, lists, padded_length
from hf_tokext.models.byte_level.ids import BYTES, bytes_and_markers
from hf_tokext.models.byte_level.lazy_encoding import LazyEncoding
from hf_tokext.models.byte_level.surrogates import encode_with_surrogates
from hf_tokext.models.byte_level.utf8 import ERRORS, to_bytes, to_text
from hf_tokext.vocabulary.pieces import CHARACTER_OF_BYTE


class ByteTokenizer(FixedIdTokenizer):
    """The 256 bytes, and markers for pad, bos, eos and unk (which no text ever gives); more by `add_tokens`.

    What it saves is a plain tokenizer.json of equal ids for stock transformers; this class adds speed and exactness: it
    takes every text, lone surrogates included, and gives bytes back that are no UTF-8.

    Args:
        pad_token: marker, id 256.
        bos_token: marker, id 257.
        eos_token: marker, id 258.
        unk_token: marker, id 259, for tokens that do not exist.
        add_bos_token: whether a text is opened by bos; None is yes, or what a loaded tokenizer.json says.
        add_eos_token: whether a text is closed by eos; None is no, or what a loaded tokenizer.json says.
        errors: what becomes of bytes that are no UTF-8 in `decode`: "replace" (U+FFFD), "escape" (kept, as the lone
            surrogates of Python's surrogateescape) or "strict" (a `TextError`, also for lone surrogates in texts).
        **kwargs: as for any tokenizer of transformers.

    Raises:
        VocabularyError: `errors` is none of the three, or a tokenizer.json is given that is not one of bytes.
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
        errors: str = "replace",
        **kwargs: Any,
    ) -> None:
        if errors not in ERRORS:
            raise VocabularyError(f"errors must be one of {', '.join(ERRORS)}, not {errors!r}")
        named = {"pad_token": pad_token, "bos_token": bos_token, "eos_token": eos_token, "unk_token": unk_token}
        if not (kwargs.get("tokenizer_object") or kwargs.get("tokenizer_file")):
            kwargs["tokenizer_object"] = _backend([token for token in named.values() if token is not None])
            add_bos_token = bos_token is not None if add_bos_token is None else add_bos_token
            add_eos_token = bool(add_eos_token)
        chosen = {"add_bos_token": add_bos_token, "add_eos_token": add_eos_token}
        kwargs |= {name: value for name, value in chosen.items() if value is not None}
        kwargs.pop("auto_map", None)  # written anew wherever it is needed
        super().__init__(**named, errors=errors, **kwargs)
        self.errors = errors
        vocabulary = self.backend_tokenizer.get_vocab(with_added_tokens=False)
        if vocabulary != {CHARACTER_OF_BYTE[byte]: byte for byte in range(BYTES)}:
            raise VocabularyError("this tokenizer.json is not one of bytes; load it with AutoTokenizer")
        opening, closing = self._template()
        self._add_bos_token, self._add_eos_token = self.bos_token_id in opening, self.eos_token_id in closing

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Take tokenizer.json as it stands."""
        return kwargs

    def encode_bytes(self, texts: Iterable[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Encode many texts into one array, at memory speed; markers in a text are bytes like all else.

        Args:
            texts: N strings, or bytes of any kind.

        Returns:
            The ids of all texts one after another, [total bytes], uint8; and where each begins, [N + 1], int64: text
            i is `ids[starts[i]:starts[i + 1]]`.

        Raises:
            TextError: `errors` is "strict" and a text holds a lone surrogate.
        """
        parts = [text if isinstance(text, bytes) else to_bytes(text, self.errors) for text in texts]
        starts = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(part) for part in parts], out=starts[1:])
        return np.frombuffer(b"".join(parts), dtype=np.uint8), starts

    def decode_arrays(self, ids: np.ndarray, starts: np.ndarray, errors: str | None = None) -> list[str]:
        """Decode what `encode_bytes` gives; markers are left out.

        Args:
            ids: [total], any integer dtype.
            starts: [N + 1], as `encode_bytes` gives it.
            errors: as for the class; None is the tokenizer's own.

        Returns:
            N texts.

        Raises:
            TextError: `errors` is "strict" and a text's bytes are no UTF-8.
            VocabularyError: an id is negative or past the vocabulary.
        """
        policy = self._policy(errors)
        if ids.dtype == np.uint8:
            data, bounds = ids.tobytes(), starts.tolist()
            pairs = zip(bounds[:-1], bounds[1:], strict=True)
            return [to_text(data[start:end], policy) for start, end in pairs]
        return [to_text(self.decode_bytes(part), policy) for part in np.split(ids, starts[1:-1])]

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """Give the bytes that ids stand for; markers stand for none.

        Args:
            ids: [n], any integers.

        Returns:
            The bytes, whether they are UTF-8 or not.

        Raises:
            VocabularyError: an id is negative or past the vocabulary.
        """
        parts = bytes_and_markers(ids)
        unknown = [part for part in parts if isinstance(part, int) and not BYTES <= part < len(self)]
        if unknown:
            raise VocabularyError(f"id {unknown[0]} is no token; the ids end at {len(self) - 1}")
        return b"".join(part for part in parts if isinstance(part, bytes))

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, errors: str | None = None, **kwargs: Any
    ) -> Any:
        """Decode ids, or a batch of them; markers that are not skipped appear by their text.

        Args:
            token_ids: an id, a sequence of ids, a batch of such sequences, or an array or tensor.
            skip_special_tokens: leave markers out.
            errors: as for the class; None is the tokenizer's own.
            **kwargs: taken for compatibility; nothing is ever cleaned up.

        Returns:
            A text, or a list of texts for a batch.

        Raises:
            TextError: `errors` is "strict" and the bytes are no UTF-8.
            VocabularyError: an id is negative or past the vocabulary.
        """
        if isinstance(token_ids, dict | BatchEncoding):
            token_ids = token_ids["input_ids"]
        if hasattr(token_ids, "detach"):
            token_ids = token_ids.detach().cpu().numpy()
        policy = self._policy(errors)
        if isinstance(token_ids, int):
            return self._text([token_ids], skip_special_tokens, policy)
        if len(token_ids) and hasattr(token_ids[0], "__len__") and not isinstance(token_ids[0], str):
            return [self.decode(one, skip_special_tokens, errors) for one in token_ids]
        return self._text(token_ids, skip_special_tokens, policy)

    def _policy(self, errors: str | None) -> str:
        if errors is not None and errors not in ERRORS:
            raise VocabularyError(f"errors must be one of {', '.join(ERRORS)}, not {errors!r}")
        return errors or self.errors

    def _text(self, ids: Any, skip_special_tokens: bool, errors: str) -> str:
        parts = bytes_and_markers(ids)
        if len(parts) == 1 and isinstance(parts[0], bytes):
            return to_text(parts[0], errors)
        tokens = self.added_tokens_decoder
        data = b""
        for part in parts:
            if isinstance(part, bytes):
                data += part
            elif part not in tokens:
                raise VocabularyError(f"id {part} is no token; the ids end at {len(self) - 1}")
            elif not (skip_special_tokens and tokens[part].special):
                data += tokens[part].content.encode()
        return to_text(data, errors)

    def _encode_plus(  # type: ignore[override]
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = None,
        verbose: bool = True,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Encode; plain texts at memory speed, everything else (pairs, words, overflow, offsets) through Rust."""
        given = {
            "add_special_tokens": add_special_tokens, "padding_strategy": padding_strategy, "verbose": verbose,
            "truncation_strategy": truncation_strategy, "max_length": max_length, "padding_side": padding_side,
            "pad_to_multiple_of": pad_to_multiple_of, "return_attention_mask": return_attention_mask,
        }  # fmt: skip
        rust = super()._encode_plus

        def through_rust(tensors: Any = None) -> BatchEncoding:
            return encode_with_surrogates(rust, text, text_pair, self.errors, return_tensors=tensors, **given, **kwargs)

        split = kwargs.pop("split_special_tokens", None)
        kwargs["split_special_tokens"] = split = self.split_special_tokens if split is None else split
        texts = [text] if isinstance(text, str) else text
        asked = [name for name, value in kwargs.items() if value and name != "split_special_tokens"]
        plain = isinstance(texts, list | tuple) and texts and all(isinstance(each, str) for each in texts)
        truncates = truncation_strategy != TruncationStrategy.DO_NOT_TRUNCATE
        opening, closing = self._template() if add_special_tokens else ([], [])
        room = max_length - len(opening) - len(closing) if truncates and max_length is not None else None
        unusual = asked or text_pair is not None or not plain or return_tensors not in (None, "np", "pt")
        if unusual or (room is not None and room < 1):
            return through_rust(return_tensors)
        rows = self._rows(texts, split, rust)
        if room is not None:
            rows = [row[-room:] if self.truncation_side == "left" else row[:room] for row in rows]
        lengths = [len(opening) + len(row) + len(closing) for row in rows]
        length = padded_length(lengths, padding_strategy, max_length, pad_to_multiple_of)
        left = (padding_side or self.padding_side) == "left"
        layout = (opening, closing, self.pad_token_id, left)
        columns: Any
        if return_tensors is None:
            columns = lists(rows, length, *layout)
        elif len(set(lengths) | {length or lengths[0]}) == 1 or (length is not None and max(lengths) <= length):
            columns = arrays(rows, length or lengths[0], *layout)
        else:
            return through_rust(return_tensors)  # which says what is missing: padding or truncation
        if verbose and max(lengths) > self.model_max_length:
            for ids in columns[0]:
                self._eventual_warn_about_too_long_sequence(ids, max_length, verbose)
        if return_tensors == "pt":
            import torch

            columns = [torch.from_numpy(column) for column in columns]
        elif return_tensors is None and isinstance(text, str):
            columns = [column[0] for column in columns]
        masked = "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask
        names = ("input_ids", "attention_mask") if masked else ("input_ids",)
        return LazyEncoding(dict(zip(names, columns, strict=False)), through_rust)

    def _rows(self, texts: Sequence[str], split: bool, rust: Any) -> list[Row]:
        """Ids of every text without template; only texts that spell a marker need Rust to find it."""
        markers = [token.content for token in self.added_tokens_decoder.values() if not (split and token.special)]
        rows: list[Row] = []
        for text in texts:
            if any(marker in text for marker in markers):
                found = encode_with_surrogates(
                    rust, text, None, self.errors, None, add_special_tokens=False, split_special_tokens=split
                )
                rows.append(found["input_ids"])
            else:
                rows.append(to_bytes(text, self.errors))
        return rows

    def train_new_from_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: there is nothing to train; train_tokenizer or tokext transplant --train-on make other tokenizers."""
        raise UnsupportedModelError("the ids of ByteTokenizer are the 256 bytes; train from another tokenizer")


def _backend(markers: Sequence[Any]) -> Tokenizer:
    core = Tokenizer(models.BPE({CHARACTER_OF_BYTE[byte]: byte for byte in range(BYTES)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([as_marker(marker) for marker in markers])
    return core
