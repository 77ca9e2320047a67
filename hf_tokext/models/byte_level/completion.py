"""Going on from a prompt that may end inside a token."""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.evaluating import evaluating
from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.byteify import byteify
from hf_tokext.models.byte_level.covers import Covers
from hf_tokext.models.byte_level.ids import BYTES
from hf_tokext.models.byte_level.infilling import infilling_events
from hf_tokext.models.byte_level.modeling_byte_ensemble import ByteEnsembleForCausalLM
from hf_tokext.models.byte_level.modeling_byte_level import ByteLevelForCausalLM
from hf_tokext.models.byte_level.utf8 import to_bytes

MODES = ("boundary", "bytes")
Text = str | bytes


def complete(
    model: PreTrainedModel,
    prompts: Text | Sequence[Text],
    tokenizer: Any = None,
    suffixes: Text | Sequence[Text] | None = None,
    mode: str = "boundary",
    arrangement: str = "prefix_suffix_middle",
    measure: str = "canonical",
    tolerance: float = 1e-3,
    **options: Any,
) -> list[bytes]:
    """Go on from prompts wherever they end, inside a token or not; with suffixes, fill in what stands between.

    Args:
        model: a `ByteLevelForCausalLM`, or any causal LM of transformers together with its tokenizer, which is byteified
            at every call: that takes a second or two.
        prompts: texts, in which special tokens are read as such, or bytes; the base's opening token stands before each.
        tokenizer: the tokenizer of a causal LM; None for a `ByteLevelForCausalLM`.
        suffixes: what comes after the middle, one a prompt, for models with fill-in-the-middle markers.
        mode: "boundary" decides by bytes the token that the prompt ends in, and goes on with plain tokens at the base's
            own speed; "bytes" goes on byte by byte, and `max_new_tokens` counts bytes.
        arrangement: how the model wants prefix and suffix, "prefix_suffix_middle" or "suffix_prefix_middle".
        measure: how token sequences that spell the prompt are weighed: "canonical", those that the tokenizer gives, or
            "all_strings", which takes several times as long. It and `tolerance` are for a causal LM; a
            `ByteLevelForCausalLM` has its own.
        tolerance: token sequences whose share of the probability of a text is not above this are dropped.
        **options: as for `generate`. With `do_sample` the token at the boundary is drawn too, at the same temperature
            (top-k and top-p do not hold for it).

    Returns:
        What comes after each prompt, as bytes, without an end of sequence.

    Raises:
        TextError: a prompt is empty, longer than the model's context, or has no probability under the measure.
        UnsupportedModelError: the mode is unknown, the measure is not possible for the tokenizer, or the model has no
            fill-in-the-middle markers.
    """
    if mode not in MODES:
        raise UnsupportedModelError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if isinstance(model, ByteEnsembleForCausalLM):
        raise UnsupportedModelError(
            "an ensemble has no tokens in common to go on with; use its own generate, byte by byte"
        )
    known = isinstance(model, ByteLevelForCausalLM)
    if not known and tokenizer is None:
        raise UnsupportedModelError(f"{type(model).__name__} is read through its tokenizer: give tokenizer=")
    with evaluating(model):
        byte_model: Any = model if known else byteify(model, tokenizer, measure, tolerance)[0]
        view = byte_model.view
        texts = [_events(text, view.base) for text in _listed(prompts)]
        if [] in texts and suffixes is None:
            raise TextError(f"prompt {texts.index([])} is empty: begin with the text of the bos token")
        if suffixes is not None:
            ends = [_events(text, view.base) for text in _listed(suffixes)]
            arranged = [infilling_events(view.base, *pair, arrangement) for pair in zip(texts, ends, strict=True)]
            texts = arranged
        if mode == "bytes":
            return _by_bytes(byte_model, texts, options)
        covers = view.texts(len(texts))
        view.read(covers, texts)
        return _by_tokens(byte_model.base, view, covers, options)


def settle_prompt(view: ByteView, covers: Covers, temperature: float = 0.0) -> tuple[list[int], bytes]:
    """Decide the token that a prompt ends in.

    Drawn at temperature 1, and gone on from with tokens of the model itself, this samples as if texts were drawn from
    the model until one begins with the prompt.

    Args:
        view: the byte view.
        covers: the prompt, read.
        temperature: 0 takes the most likely token sequence.

    Returns:
        All ids from the opening one on, the last one going past the prompt; and its bytes past the prompt, none if it
        is a special token.

    Raises:
        TextError: the prompt has no probability under the measure.
    """
    if not covers.heads:
        raise TextError(f"no token sequence spells the prompt that ends with {covers.text[-20:]!r}")
    tokens, weights, owners = [], [], []
    for number, head in enumerate(covers.heads):
        ids, chances = head.choices(view.base.trie, view.base.marker_ids)
        with np.errstate(divide="ignore"):
            weights.append(np.log(chances.astype(np.float64)) + head.weight - covers.kept)
        tokens.append(ids)
        owners.append(np.full(len(ids), number))
    weight = torch.from_numpy(np.concatenate(weights))
    drawn = torch.multinomial(torch.softmax(weight / temperature, 0), 1) if temperature > 0 else weight.argmax()
    at = int(drawn)
    head, token = covers.heads[int(np.concatenate(owners)[at])], int(np.concatenate(tokens)[at])
    assert head.place is not None
    past = view.base.vocabulary.piece(token)[head.place.depth :] if token in view.base.trie.rank else b""
    return [*head.context.ids(), token], past


def _by_tokens(base: PreTrainedModel, view: ByteView, covers: list[Covers], options: dict[str, Any]) -> list[bytes]:
    """Settle each prompt, and let the base go on."""
    generation: Any = base.generation_config
    sampled = options.get("do_sample", generation.do_sample)
    temperature = options.get("temperature", generation.temperature) or 1.0
    settled = [settle_prompt(view, each, temperature if sampled else 0.0) for each in covers]
    longest = max(len(ids) for ids, _ in settled)
    ids = torch.zeros((len(settled), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (path, _) in enumerate(settled):
        ids[row, longest - len(path) :] = torch.tensor(path)
        mask[row, longest - len(path) :] = 1
    pad = options.pop("pad_token_id", generation.pad_token_id)
    ends = generation.eos_token_id
    pad = pad if pad is not None else ends[0] if isinstance(ends, list) else ends
    generate: Any = base.generate
    found = generate(input_ids=ids.to(base.device), attention_mask=mask.to(base.device), pad_token_id=pad, **options)
    repeats = len(found) // len(settled)
    return [
        past + view.base.bytes_of(row[longest:]) if path[-1] in view.base.trie.rank else b""
        for (path, past), rows in zip(settled, found.view(len(settled), repeats, -1).tolist(), strict=True)
        for row in rows
    ]


def _by_bytes(model: ByteLevelForCausalLM, texts: list[list[int]], options: dict[str, Any]) -> list[bytes]:
    """Let the byte-level model go on."""
    ids = [model.ids_of(events) for events in texts]
    longest = max(map(len, ids))
    padded = torch.full((len(ids), longest), model.config.pad_token_id or 0)
    mask = torch.zeros_like(padded)
    for row, each in enumerate(ids):
        padded[row, longest - len(each) :] = torch.tensor(each)
        mask[row, longest - len(each) :] = 1
    device = model.device
    generating: Any = model
    found = generating.generate(input_ids=padded.to(device), attention_mask=mask.to(device), **options)
    rows: list[list[int]] = found[:, longest:].tolist()
    return [bytes(takewhile(set(range(BYTES)).__contains__, row)) for row in rows]


def _listed(texts: Text | Sequence[Text]) -> Sequence[Text]:
    return [texts] if isinstance(texts, str | bytes) else texts


def _events(text: Text, base: BaseTokens) -> list[int]:
    """Events of a text; markers that are spelt in a string are read as such."""
    if isinstance(text, bytes):
        return list(text)
    event = {marker: BYTES + at for at, marker in enumerate(base.marker_texts)}
    parts = re.split("(" + "|".join(map(re.escape, sorted(event, key=len, reverse=True))) + ")", text)
    return [each for part in parts for each in ([event[part]] if part in event else to_bytes(part))]
