"""Running a token model on many sequences that share their beginnings: each shared token once."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from hf_tokext.errors import TextError
from hf_tokext.models.byte_level.few_rows import FewRows
from hf_tokext.models.byte_level.growing_cache import growing_cache

LOGITS_AT_ONCE = 1 << 26  # numbers a forward pass returns at most, and its mask has
MOST_SLOTS = 1 << 16  # tokens in the cache: their mask takes half a gigabyte
ROWS_AT_ONCE = 1 << 10  # of that mask that are moved at a time
MASKED = {"full_attention", "sliding_attention"}  # kinds of layers that attend to what a mask lets them
UNMASKED = ("window_size", "keep_window_size")  # set where layers go by places in the cache instead (GPT-Neo, Doge)
Consumer = Callable[["Context", np.ndarray], None]


class Context:
    """A token sequence: its last token, and the sequence before that.

    Args:
        parent: the sequence before the last token, None for a first token.
        token: id of the last token.

    Attributes:
        parent: as given.
        token: as given.
        depth: number of tokens before the last.
        slot: place of the last token in the model's cache, or -1.
    """

    __slots__ = ("__weakref__", "depth", "parent", "slot", "token")

    def __init__(self, parent: "Context | None", token: int) -> None:
        self.parent = parent
        self.token = token
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.slot = -1

    def again(self) -> "Context":
        """Give the same token sequence, to be run anew."""
        return Context(self.parent, self.token)

    def ids(self) -> list[int]:
        """All tokens of the sequence, the first one first."""
        found: list[int] = []
        context: Context | None = self
        while context is not None:
            found.append(context.token)
            context = context.parent
        return found[::-1]


class TokenRunner:
    """Runs a causal LM on contexts, each as a sequence of its own; nothing is kept between calls.

    Args:
        model: a causal LM of transformers, in evaluation mode.

    Attributes:
        model: the model.
        forwards: forward passes so far.
        tokens: tokens that they ran on.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.forwards = 0
        self.tokens = 0
        config: Any = model.config.get_text_config(decoder=True)
        self.longest: int | None = getattr(config, "max_position_embeddings", None)

    def run(self, contexts: Sequence[Context], consume: Consumer) -> None:
        """Compute what follows each context.

        Args:
            contexts: N contexts.
            consume: called once a context, in any order, with its logits, [V], float32 or float64.

        Raises:
            TextError: a context is longer than the model's.
        """
        for context in contexts:
            self._check(context)
        for context in sorted(contexts, key=lambda context: context.depth):
            ids = torch.tensor([context.ids()], device=self.model.device)
            self._count(ids.shape[1])
            with torch.no_grad():
                logits = self.model(input_ids=ids, use_cache=False).logits
            consume(context, _array(logits[0, -1]))

    def _check(self, context: Context) -> None:
        if self.longest is not None and context.depth >= self.longest:
            raise TextError(
                f"the text is longer than the model's context of {self.longest} tokens; give it less at a time"
            )

    def _count(self, tokens: int) -> None:
        self.forwards += 1
        self.tokens += tokens


class TokenForest(TokenRunner):
    """Runs a causal LM on contexts as one packed sequence with a tree mask, and keeps keys and values.

    A context's place in the cache is free again when nothing refers to the context any more.

    Args:
        model: a causal LM of transformers, in evaluation mode, that takes 4-D attention masks.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self._cache = growing_cache()
        self._few_rows = FewRows(model)
        self._held: list[weakref.ref[Context]] = []
        self._sees = np.zeros((0, 0), dtype=np.uint8)  # [slots, slots / 8] bits: which slots a slot's token attends to
        self._depths = np.zeros(0, dtype=np.int64)
        config: Any = model.config.get_text_config(decoder=True)
        self._kinds = set(getattr(config, "layer_types", None) or ())
        self._window: int | None = getattr(config, "sliding_window", None)

    def run(self, contexts: Sequence[Context], consume: Consumer) -> None:
        """Compute what follows each context.

        Args:
            contexts: N contexts that have not run before; those before them are run where they have not.
            consume: called once a context, in any order, with its logits, [V], float32 or float64.

        Raises:
            TextError: a context is longer than the model's.
        """
        wanted = {id(context) for context in contexts}
        missing: dict[int, Context] = {}
        for context in contexts:
            self._check(context)
            for each in _unrun(context, missing):
                missing[id(each)] = each
            missing[id(context)] = context
        self._compact(len(missing))
        queue = sorted(missing.values(), key=lambda each: each.depth)
        widest = max(self.model.config.get_text_config().vocab_size, len(self._held) + len(queue))
        size = max(LOGITS_AT_ONCE // widest, 1)
        for start in range(0, len(queue), size):
            part = queue[start : start + size]
            logits = self._forward(part)
            for context, row in zip(part, logits, strict=True):
                if id(context) in wanted:
                    consume(context, _array(row))

    def _forward(self, part: list[Context]) -> torch.Tensor:
        """Logits of new contexts, [N, V]; the parents of each have run or are among them."""
        old = len(self._held)
        self._grow(old + len(part))
        for slot, context in enumerate(part, old):
            parent = context.parent
            self._sees[slot] = self._sees[parent.slot] if parent is not None else 0
            self._sees[slot, slot // 8] |= 128 >> slot % 8
            self._depths[slot] = context.depth
            context.slot = slot
            self._held.append(weakref.ref(context))
        stop = len(self._held)
        sees = np.unpackbits(self._sees[old:stop], axis=1, count=stop).astype(bool)
        device = self.model.device
        with torch.inference_mode(False), torch.no_grad(), self._few_rows:  # the cache outlives the caller's mode
            outputs = self.model(
                input_ids=torch.tensor([[context.token for context in part]], device=device),
                position_ids=torch.tensor([[context.depth for context in part]], device=device),
                attention_mask=self._masks(sees, old, stop),
                past_key_values=self._cache,
                use_cache=True,
            )
        self._count(len(part))
        return outputs.logits[0]

    def _masks(self, sees: np.ndarray, old: int, stop: int) -> Any:
        whole = self._mask(sees)
        if not self._window or self._kinds == {"full_attention"}:
            return whole
        near = self._depths[None, :stop] > self._depths[old:stop, None] - self._window
        kinds = {"full_attention": whole, "sliding_attention": self._mask(sees & near)}
        return {kind: kinds[kind] for kind in self._kinds} if self._kinds else kinds["sliding_attention"]

    def _mask(self, sees: np.ndarray) -> torch.Tensor:
        """Additive mask, [1, 1, queries, slots]."""
        dtype = self.model.dtype
        mask = torch.zeros(sees.shape, dtype=dtype)
        mask.masked_fill_(torch.from_numpy(~sees), torch.finfo(dtype).min)
        return mask[None, None].to(self.model.device)

    def _grow(self, size: int) -> None:
        if size > MOST_SLOTS:
            raise TextError(
                f"more than {MOST_SLOTS:,} tokens of sequences that spell the texts are in use at once; read fewer or "
                "shorter texts, or set a larger tolerance (0 keeps every spelling)"
            )
        if size > len(self._depths):
            room = min(max(2 * len(self._depths), -size // 8 * -8, 256), MOST_SLOTS)
            sees, depths = np.zeros((room, room // 8), dtype=np.uint8), np.zeros(room, dtype=np.int64)
            held = len(self._held)
            sees[:held, : self._sees.shape[1]], depths[:held] = self._sees[:held], self._depths[:held]
            self._sees, self._depths = sees, depths

    def _compact(self, coming: int) -> None:
        """Give up the places of contexts that are gone, once they are many, or there is no room for those that come."""
        kept = [(slot, context) for slot, ref in enumerate(self._held) if (context := ref()) and context.slot == slot]
        live, held = [slot for slot, _ in kept], len(self._held)
        if held + coming <= MOST_SLOTS and (held < 64 or 5 * len(live) > 4 * held):
            return
        index = torch.tensor(live, dtype=torch.long)
        layers: list[Any] = self._cache.layers
        for layer in layers:
            layer.keep(index)
        count = len(live)
        for start in range(0, count, ROWS_AT_ONCE):  # none is written before it is read: slots only move down
            part = live[start : start + ROWS_AT_ONCE]
            packed = np.packbits(np.unpackbits(self._sees[part], axis=1)[:, live], axis=1)
            self._sees[start : start + len(part)] = 0
            self._sees[start : start + len(part), : packed.shape[1]] = packed
        self._depths[:count] = self._depths[live]
        self._held = [self._held[slot] for slot in live]
        for slot, (_, context) in enumerate(kept):
            context.slot = slot


def token_runner(model: PreTrainedModel) -> TokenRunner:
    """Choose how a model is run: packed under tree masks where that is proved to give the same as plain sequences.

    Args:
        model: a causal LM of transformers, in evaluation mode.

    Returns:
        A `TokenForest`, or a `TokenRunner` for models that do not take tree masks (state-space models, for one).
    """
    config: Any = model.config.get_text_config(decoder=True)
    masked = MASKED.issuperset(getattr(config, "layer_types", None) or ())
    if not masked or any(hasattr(config, name) for name in UNMASKED):
        return TokenRunner(model)  # the few tokens below would not show how far such layers reach
    size = config.vocab_size
    ids = [(7919 * step + 11) % size for step in range(1, 7)]
    first = Context(None, ids[0])
    left = Context(Context(first, ids[1]), ids[2])
    right = Context(Context(first, ids[3]), ids[2])  # as `left`, but for one token
    after = Context(Context(left, ids[4]), ids[5])
    plain = _logits(TokenRunner(model), [left, right, after])
    try:
        forest = TokenForest(model)
        packed = _logits(forest, [left, right])  # in one pass, and the rest upon it
        packed |= _logits(forest, [after])
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return TokenRunner(model)  # this model takes no such masks or cache, whatever it says of it
    effect = np.abs(plain[left] - plain[right]).max()  # what a mask that is not heeded would hide
    error = max(float(np.abs(plain[context] - packed[context]).max()) for context in plain)
    return TokenForest(model) if error < 0.05 * effect else TokenRunner(model)


def _logits(runner: TokenRunner, contexts: list[Context]) -> dict[Context, np.ndarray]:
    found: dict[Context, np.ndarray] = {}
    runner.run(contexts, found.__setitem__)
    return found


def _unrun(context: Context, known: dict[int, Context]) -> Iterator[Context]:
    """The contexts before this one that have no place yet."""
    parent = context.parent
    while parent is not None and parent.slot < 0 and id(parent) not in known:
        yield parent
        parent = parent.parent


def _array(logits: torch.Tensor) -> np.ndarray:
    return (logits if logits.dtype == torch.float64 else logits.float()).cpu().numpy()
