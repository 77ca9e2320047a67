"""A tokenizer whose ids are bytes: id B stands for byte B, markers follow from 256 on."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers.tokenization_utils_base import BatchEncoding, PaddingStrategy, TruncationStrategy

from hf_tokext.errors import VocabularyError
from hf_tokext.models.blocks.tokenizer import FixedIdTokenizer
from hf_tokext.models.byte_level.batches import Row, arrays, lists, padded_length
from hf_tokext.models.byte_level.ids import BYTES, bytes_and_markers
from hf_tokext.models.byte_level.lazy_encoding import LazyEncoding
from hf_tokext.models.byte_level.utf8 import ERRORS, refuse_surrogates, to_bytes, to_text
from hf_tokext.vocabulary.pieces import BYTE_OF_CHARACTER

STAND_IN = "\ue042"  # three bytes, as every surrogate, and no two alike: each tells its place
_PLACE = {byte: place for place, byte in enumerate(STAND_IN.encode())}


class ByteTokenizer(FixedIdTokenizer):
    """The 256 bytes, and markers for pad, bos, eos and unk (which no text ever gives); more by `add_tokens`.

    What it saves is a plain tokenizer.json of equal ids for stock transformers; this class adds speed and exactness: it
    takes every text, lone surrogates included, and gives bytes back that are no UTF-8.

    Args:
        errors: what becomes of bytes that are no UTF-8 in `decode`: "replace" (U+FFFD), "escape" (kept, as the lone
            surrogates of Python's surrogateescape) or "strict" (a `TextError`, also for lone surrogates in texts).
        **kwargs: markers (`pad_token`, id 256, `bos_token`, 257, `eos_token`, 258, `unk_token`, 259, for tokens that do
            not exist), whether a text is opened and closed by them (`add_bos_token`, `add_eos_token`; None is yes and
            no, or what a loaded tokenizer.json says), and whatever any tokenizer of transformers takes.

    Raises:
        VocabularyError: `errors` is none of the three, a marker is one letter of the byte alphabet, or a tokenizer.json
            is given that is not one of bytes.
    """

    _stand_in = STAND_IN

    def __init__(self, *, errors: str = "replace", **kwargs: Any) -> None:
        if errors not in ERRORS:
            raise VocabularyError(f"errors must be one of {', '.join(ERRORS)}, not {errors!r}")
        super().__init__(errors=errors, **kwargs)
        self.errors = errors

    @staticmethod
    def _built(markers: Sequence[AddedToken]) -> Tokenizer:
        core = Tokenizer(models.BPE(dict(BYTE_OF_CHARACTER), []))
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        core.decoder = decoders.ByteLevel()
        core.add_special_tokens(list(markers))
        return core

    @staticmethod
    def _spells(text: str) -> bool:
        return text in BYTE_OF_CHARACTER

    @staticmethod
    def _mended(number: int, surrogate: str) -> int:
        return to_bytes(surrogate)[_PLACE[number]] if number in _PLACE else number

    def _check(self) -> None:
        if self.backend_tokenizer.get_vocab(with_added_tokens=False) != BYTE_OF_CHARACTER:
            raise VocabularyError("this tokenizer.json is not one of bytes; load it with AutoTokenizer")

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
        policy, bounds = self._policy(errors), starts.tolist()
        data = ids.tobytes() if ids.dtype == np.uint8 else None
        return [
            to_text(self.decode_bytes(ids[start:end]) if data is None else data[start:end], policy)
            for start, end in zip(bounds[:-1], bounds[1:], strict=True)
        ]

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
        return super().decode(token_ids, skip_special_tokens, errors=self._policy(errors))

    def _policy(self, errors: str | None) -> str:
        if errors is not None and errors not in ERRORS:
            raise VocabularyError(f"errors must be one of {', '.join(ERRORS)}, not {errors!r}")
        return errors or self.errors

    def _text(self, ids: Any, skip_special_tokens: bool, errors: str = "replace", **kwargs: Any) -> str:
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
        side = self.padding_side if padding_side is None else padding_side
        given = {
            "add_special_tokens": add_special_tokens, "padding_strategy": padding_strategy, "verbose": verbose,
            "truncation_strategy": truncation_strategy, "max_length": max_length, "padding_side": side,
            "pad_to_multiple_of": pad_to_multiple_of, "return_attention_mask": return_attention_mask,
        }  # fmt: skip
        split = kwargs.get("split_special_tokens")
        kwargs["split_special_tokens"] = split = self.split_special_tokens if split is None else split
        texts = [text] if isinstance(text, str) else text
        asked = [name for name, value in kwargs.items() if value and name != "split_special_tokens"]
        plain = isinstance(texts, list | tuple) and texts and all(isinstance(each, str) for each in texts)
        truncates = truncation_strategy != TruncationStrategy.DO_NOT_TRUNCATE
        opening, closing = self._template() if add_special_tokens else ([], [])
        room = max_length - len(opening) - len(closing) if truncates and max_length is not None else None
        unusual = asked or text_pair is not None or not plain or return_tensors not in (None, "np", "pt")
        unusual = unusual or truncation_strategy == TruncationStrategy.ONLY_SECOND or (room is not None and room < 1)
        if unusual or not {side, self.truncation_side} <= {"left", "right"}:
            return self._through_rust(text, text_pair, return_tensors=return_tensors, **given, **kwargs)
        rows = self._rows(texts, split)
        if room is not None:
            rows = [row[-room:] if self.truncation_side == "left" else row[:room] for row in rows]
        lengths = [len(opening) + len(row) + len(closing) for row in rows]
        length = padded_length(lengths, padding_strategy, max_length, pad_to_multiple_of)
        layout = (opening, closing, self.pad_token_id or 0, side == "left")
        columns: Any
        if return_tensors is None:
            columns = lists(rows, length, *layout)
        elif len(set(lengths) | {length or lengths[0]}) == 1 or (length is not None and max(lengths) <= length):
            columns = arrays(rows, length or lengths[0], *layout)
        else:
            # it says what is missing: padding or truncation
            return self._through_rust(text, return_tensors=return_tensors, **given, **kwargs)
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
        texts = list(texts)  # the caller's own may change before it is read again

        def make() -> BatchEncoding:
            found = self._through_rust(texts, **given, **kwargs)
            if found["input_ids"] != lists(rows, length, *layout)[0]:
                raise VocabularyError(
                    "the tokenizer (its tokens, markers or sides) has changed since this text was encoded, so its tokens "
                    "and offsets would not be those of the ids; encode the text again"
                )
            return found

        return LazyEncoding(dict(zip(names, columns, strict=False)), make)

    def _through_rust(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        if self.errors == "strict":
            refuse_surrogates(text)
            refuse_surrogates(text_pair)
        return super()._encode_plus(text, text_pair, **options)

    def _rows(self, texts: Sequence[str], split: bool) -> list[Row]:
        """Ids of every text without template; only texts that spell a marker need Rust to find it."""
        markers = [token.content for token in self.added_tokens_decoder.values() if not (split and token.special)]
        rows: list[Row] = []
        for text in texts:
            if any(marker in text for marker in markers):
                found = self._through_rust(text, add_special_tokens=False, split_special_tokens=split)
                rows.append(found["input_ids"])
            else:
                rows.append(to_bytes(text, self.errors))
        return rows
