"""Byte probabilities by brute force: every token sequence that may spell a text, one by one, in float64."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hf_tokext.vocabulary.pieces import read_vocabulary

Ids = tuple[int, ...]


def tiny_llama(size: int, seed: int = 0, **config) -> LlamaForCausalLM:
    """A small random model in float64 whose probabilities are far from uniform and depend on all the context."""
    torch.manual_seed(seed)
    shape = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=size, **(shape | config))).double()
    for parameter in model.parameters():
        parameter.data.mul_(6)
    return model.eval()


class Enumeration:
    """Probabilities of texts under a model, of all token strings or of those that `allowed` lets go on.

    `allowed(ids)` gives the ids that may follow a token string, opening left out; every row is normalised over them.
    """

    def __init__(
        self, model, tokenizer, opening: Ids, spaced: bool, allowed: Callable[[Ids], np.ndarray] | None = None
    ) -> None:
        self.model, self.opening, self.spaced, self.allowed = model, opening, spaced, allowed
        vocabulary = read_vocabulary(tokenizer)
        self.special = sorted(vocabulary.special)
        self.pieces = {i: vocabulary.piece(i) for i in vocabulary.ids if i not in vocabulary.special}
        self.exist = np.array([piece is not None for piece in vocabulary.pieces])

    @cache  # noqa: B019
    def row(self, ids: Ids) -> np.ndarray:
        """Probabilities of the next id."""
        with torch.no_grad():
            logits = self.model(torch.tensor([[*self.opening, *ids]])).logits[0, -1].double().numpy()
        kept = self.exist if self.allowed is None else self.allowed(ids)
        chances = np.where(kept, np.exp(logits[: len(kept)] - logits.max()), 0)
        return chances / chances.sum()

    def text(self, bytes_so_far: bytes) -> bytes:
        """What is read of token bytes: the space before a text is none of it."""
        return bytes_so_far.removeprefix(b" ") if self.spaced else bytes_so_far

    def strings(self, wanted: bytes, ids: Ids = (), spelt: bytes = b"", chance: float = 1.0) -> Iterator:
        """Token strings that spell the beginning of a text or all of it: ids, their bytes, probability."""
        yield ids, spelt, chance
        for index, piece in self.pieces.items():
            more = float(self.row(ids)[index])
            if more and wanted.startswith(self.text(spelt + piece)):
                yield from self.strings(wanted, (*ids, index), spelt + piece, chance * more)

    def probability(self, wanted: bytes) -> float:
        """Probability that the output begins with these bytes."""
        if not wanted:
            return 1.0
        return sum(
            chance * float(self.row(ids)[index])
            for ids, spelt, chance in self.strings(wanted)
            if self.text(spelt) != wanted
            for index, piece in self.pieces.items()
            if self.text(spelt + piece).startswith(wanted)
        )

    def ends(self, wanted: bytes) -> dict[int, float]:
        """Probability that the output is these bytes and then a special token, for each of them."""
        whole = [(ids, chance) for ids, spelt, chance in self.strings(wanted) if self.text(spelt) == wanted]
        return {index: sum(chance * float(self.row(ids)[index]) for ids, chance in whole) for index in self.special}

    def events(self, wanted: bytes) -> np.ndarray:
        """Probabilities of the next byte or special token after a text."""
        begins = [self.probability(wanted + bytes([byte])) for byte in range(256)]
        return np.array([*begins, *self.ends(wanted).values()]) / self.probability(wanted)
