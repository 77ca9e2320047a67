"""Bits per byte: a causal model's loss in a unit that compares across tokenizers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.evaluating import evaluating
from hf_tokext.measure.causal import check_causal, check_vocabulary, check_window, input_device
from hf_tokext.measure.windows import count_unknown, encode, leading_id, windows

LOGITS_AT_ONCE = 2**26  # numbers: 256 MiB of float32


@dataclass(frozen=True)
class BitsPerByte:
    """What `bits_per_byte` found.

    Attributes:
        bits_per_byte: bits to code the text with the model, over its UTF-8 bytes.
        tokens: text tokens scored.
        bytes: UTF-8 bytes of the texts.
        unknown: text tokens that are the unknown token.
        round_trip: decoding the tokens gives the texts back (a leading space aside).
        context_tokens: positions that the model was made for, or None where its config does not say.
        mass: name of every watched set of ids -> probability on it, mean over scored positions.
    """

    bits_per_byte: float
    tokens: int
    bytes: int
    unknown: int = 0
    round_trip: bool = True
    context_tokens: int | None = None
    mass: dict[str, float] = field(default_factory=dict)

    @property
    def tokens_per_byte(self) -> float:
        """Tokens that a byte of this text costs."""
        return self.tokens / self.bytes

    @property
    def bytes_per_token(self) -> float:
        """Bytes of this text that a token holds."""
        return self.bytes / self.tokens

    @property
    def context_bytes(self) -> int | None:
        """Bytes of such text that fit the model's context."""
        return None if self.context_tokens is None else int(self.context_tokens * self.bytes_per_token)

    @property
    def caveat(self) -> str | None:
        """Why the figure does not compare with that of another tokenizer, or None where it does."""
        if self.unknown:
            return f"{self.unknown} of {self.tokens} tokens are unknown: what they stood for is not scored"
        return None if self.round_trip else "the tokenizer does not give the text back: what it drops is not scored"

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        derived = ("tokens_per_byte", "bytes_per_token", "context_bytes", "caveat")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def bits_per_byte(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    window: int = 512,
    batch_size: int | None = None,
    watch_ids: Mapping[str, Sequence[int]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BitsPerByte:
    """Measure how many bits the model needs for a byte of the texts.

    Each text is encoded without special tokens and cut into windows that do not overlap; each window is opened
    by bos (else cls, else eos) and every text token is scored once, from float32 logits. The figure is an upper
    bound on what the model could reach with the whole text in view, and comparable across tokenizers at one window.

    Args:
        model: a causal language model, wherever it is placed; its training mode is kept.
        tokenizer: its tokenizer.
        texts: what to score, each on its own.
        window: ids in a window, the opening one included.
        batch_size: windows scored at once; None keeps their logits within 256 MiB.
        watch_ids: sets of ids by name, whose share of the probability is wanted.
        progress: called with (windows done, windows in all).

    Returns:
        The figures, over all texts together.

    Raises:
        TextError: no text, an empty text, or a window without room for text or longer than the model's positions.
        UnsupportedModelError: the model is not a causal language model.
        VocabularyError: an id of the tokenizer or a watched id has no row, or there is no token to open a window with.
    """
    if isinstance(texts, str) or not texts:
        raise TextError("texts must be a sequence of at least one string")
    check_causal(model, "bits per byte")
    rows = check_vocabulary(model, tokenizer)
    watched = _watched(watch_ids or {}, rows)
    leading = leading_id(tokenizer)
    encoded = [encode(tokenizer, text) for text in texts]
    cut = [piece for ids in encoded for piece in windows(ids, leading, window)]
    longest = max(map(len, cut))
    check_window(model, longest)
    size = batch_size or max(1, LOGITS_AT_ONCE // (rows * longest))

    nats, mass, done = 0.0, dict.fromkeys(watched, 0.0), 0
    with evaluating(model):
        # Longest first: a batch too large for the memory fails at once, and little padding is computed.
        ordered = sorted(cut, key=len, reverse=True)
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            batch_nats, batch_mass = _score(model, batch, leading, watched)
            nats += batch_nats
            mass = {name: mass[name] + batch_mass[name] for name in mass}
            done += len(batch)
            if progress is not None:
                progress(done, len(cut))

    tokens, size_in_bytes = sum(map(len, encoded)), sum(len(text.encode()) for text in texts)
    return BitsPerByte(
        bits_per_byte=nats / math.log(2) / size_in_bytes,
        tokens=tokens,
        bytes=size_in_bytes,
        unknown=sum(count_unknown(tokenizer, ids) for ids in encoded),
        round_trip=all(_gives_back(tokenizer, ids, text) for ids, text in zip(encoded, texts, strict=True)),
        context_tokens=_context(model),
        mass={name: total / tokens for name, total in mass.items()},
    )


@torch.no_grad()
def _score(
    model: PreTrainedModel, batch: list[list[int]], filler: int, watched: dict[str, Tensor]
) -> tuple[float, dict[str, float]]:
    """Sum of negative log-probabilities in nats, and of the mass on each watched set, over all text tokens."""
    length = max(map(len, batch))
    ids = torch.tensor([row + [filler] * (length - len(row)) for row in batch])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in batch])
    device = input_device(model)
    logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits[:, :-1]
    targets, real = ids[:, 1:].to(logits.device), mask[:, 1:].to(logits.device).bool()
    nats, mass = 0.0, dict.fromkeys(watched, 0.0)
    for row, target, kept in zip(logits, targets, real, strict=True):
        scores = row[kept].float()
        normaliser = torch.logsumexp(scores, dim=-1)
        chosen = scores.gather(1, target[kept].unsqueeze(1)).squeeze(1)
        nats += float((normaliser - chosen).double().sum())
        for name, some in watched.items():
            part = torch.logsumexp(scores[:, some.to(scores.device)], dim=-1) - normaliser
            mass[name] += float(part.exp().double().sum())
    return nats, mass


def _watched(watch_ids: Mapping[str, Sequence[int]], rows: int) -> dict[str, Tensor]:
    watched = {}
    for name, ids in watch_ids.items():
        outside = [token_id for token_id in ids if not 0 <= token_id < rows]
        if outside:
            raise VocabularyError(f"watched id {outside[0]} of {name!r} has no row; the model has {rows}")
        watched[name] = torch.tensor(sorted(set(ids)), dtype=torch.long)
    return watched


def _gives_back(tokenizer: PreTrainedTokenizerBase, ids: list[int], text: str) -> bool:
    decoded = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
    # SentencePiece tokenizers put a space before a text and take it away, or take one that was there.
    return decoded.removeprefix(" ") == text.removeprefix(" ")


def _context(model: PreTrainedModel) -> int | None:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else None
