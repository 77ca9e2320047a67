"""A tokenizer whose ids are UTF-16: id N stands for code point N of the BMP, two surrogates for each one beyond it."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import AddedToken

from hf_tokext.errors import VocabularyError
from hf_tokext.models.blocks.tokenizer import FixedIdTokenizer
from hf_tokext.models.glyph.backend import character_model, character_tokenizer, pieces, spells
from hf_tokext.models.glyph.ids import CHARACTERS


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
        VocabularyError: a marker is blank or spells a character in the byte alphabet, or a tokenizer.json is given that
            is not one of code points.

    Source: Emergent Semantics Beyond Token Embeddings (arXiv 2507.04886), its tokenizer; there characters beyond the
    BMP are unknown and surrogate ids are taken by n-grams, here nothing is lost.
    """

    _stand_in = "\ufffd"
    _built = staticmethod(character_tokenizer)
    _spells = staticmethod(spells)

    @staticmethod
    def _mended(number: int, surrogate: str) -> int:
        return ord(surrogate)

    def _check(self) -> None:
        if not self.backend_tokenizer.get_vocab(with_added_tokens=False).items() >= pieces().items():
            raise VocabularyError("this tokenizer.json is not one of code points; load it with AutoTokenizer")

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

    def _text(self, ids: Any, skip_special_tokens: bool, **kwargs: Any) -> str:
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

    def _convert_token_to_id_with_added_voc(self, token: str) -> int:
        number = self.backend_tokenizer.token_to_id(token)
        if number is not None and number < len(self):
            return number
        return self.unk_token_id  # type: ignore[return-value]

    def _add_tokens(self, new_tokens: Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        """Add tokens right after those that exist; the parts of characters move on."""
        self._refuse_spellings(new_tokens, special_tokens)
        core, known = self.backend_tokenizer, {token.content for token in self.added_tokens_decoder.values()}
        added = [text for text, number in sorted(self.get_vocab().items(), key=lambda item: item[1])[CHARACTERS:]]
        texts = [text for text in dict.fromkeys(map(str, new_tokens)) if text and text not in known]
        fresh = [text for text in texts if core.model.token_to_id(text) is None]
        if fresh:
            self._check()  # a foreign model is not to be replaced before it is refused
            core.model = character_model([*added, *fresh])
        return super()._add_tokens(new_tokens, special_tokens)
