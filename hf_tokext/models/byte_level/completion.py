"""Going on from a prompt that may end inside a token."""

import re
import warnings
from collections.abc import Sequence
from copy import deepcopy
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.evaluating import evaluating
from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.batches import arrays
from hf_tokext.models.byte_level.byte_view import ByteView
from hf_tokext.models.byte_level.byteify import byte_tokenizer_of, byteify
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
        **options: as for `generate`; `stop_strings` need no tokenizer. With `do_sample` the token at the boundary is drawn
            too, anew for each of `num_return_sequences`, at the same temperature (top-k and top-p do not hold for it).

    Returns:
        What comes after each prompt, as bytes, without an end of sequence. With "bytes", where a text cannot go on (its
        tokens have filled the context, say), what all have come to until then, and a warning says so.

    Raises:
        TextError: a prompt is empty, longer than the model's context with what is to be written, or has no probability
            under the measure; or there is not one suffix a prompt.
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
            if len(ends) != len(texts):
                raise TextError(f"there are {len(ends)} suffixes for {len(texts)} prompts; give one a prompt")
            texts = [infilling_events(view.base, *pair, arrangement) for pair in zip(texts, ends, strict=True)]
        if not texts:
            return []
        return _by_bytes(byte_model, texts, options) if mode == "bytes" else _by_tokens(byte_model, texts, options)


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


def _configured(model: PreTrainedModel, options: dict[str, Any]) -> tuple[GenerationConfig, dict[str, Any]]:
    """What `generate` makes of its options and of the model's own, less what the results would be wrapped in; the rest."""
    config = deepcopy(options.pop("generation_config", None)) or GenerationConfig()
    own: Any = model.generation_config
    config.update(**own.to_dict(), defaults_only=True)
    rest = config.update(**{**options, "return_dict_in_generate": False})
    return config, rest


def _by_tokens(model: ByteLevelForCausalLM, texts: list[list[int]], options: dict[str, Any]) -> list[bytes]:
    """Settle each prompt, and let the base go on."""
    base: Any = model.base
    view = model.view
    covers = view.texts(len(texts))
    view.read(covers, texts)
    config, rest = _configured(base, options)
    temperature = (config.temperature or 1.0) if config.do_sample else 0.0
    if config.do_sample and (config.num_beams or 1) == 1:  # draws share no token
        covers = [each for each in covers for _ in range(config.num_return_sequences or 1)]
        config.num_return_sequences = 1
    settled = [settle_prompt(view, each, temperature) for each in covers]
    if config.pad_token_id is None:
        ends = config.eos_token_id
        config.pad_token_id = ends[0] if isinstance(ends, list) else ends
    given = _batch([path for path, _ in settled], 0, base.device)
    _check_room(view.runner.longest, given["input_ids"].shape[1], config)
    found = base.generate(**given, generation_config=config, tokenizer=model.base_tokenizer, **rest)
    longest, repeats = given["input_ids"].shape[1], len(found) // len(settled)
    stops = [stop.encode() for stop in _listed(config.stop_strings or []) if isinstance(stop, str)]

    def is_last(token: int, past: bytes) -> bool:
        return token not in view.base.trie.rank or any(stop in past for stop in stops)

    return [
        past if is_last(path[-1], past) else past + view.base.bytes_of(row[longest:])
        for (path, past), rows in zip(settled, found.view(len(settled), repeats, -1).tolist(), strict=True)
        for row in rows
    ]


def _check_room(context: int | None, held: int, config: GenerationConfig) -> None:
    """Refuse to write past the context; the last token written need not be read again."""
    asked = config.max_new_tokens or max((config.max_length or 0) - held, 1)
    if context is not None and held + asked > context + 1:
        raise TextError(
            f"the longest prompt takes {held} of the {context} tokens of the model's context, which leaves no room for "
            f"{asked} more; ask for at most {max(context + 1 - held, 0)} (max_new_tokens), or give less text"
        )


def _by_bytes(model: ByteLevelForCausalLM, texts: list[list[int]], options: dict[str, Any]) -> list[bytes]:
    """Let the byte-level model go on."""
    given = _batch([model.ids_of(events) for events in texts], model.config.pad_token_id or 0, model.device)
    config, rest = _configured(model, options)
    if config.stop_strings:
        rest["tokenizer"] = byte_tokenizer_of(model.base_tokenizer)
    generating: Any = model
    written = _Written()
    rest["stopping_criteria"] = StoppingCriteriaList([*rest.get("stopping_criteria", []), written])
    try:
        found = generating.generate(**given, generation_config=config, **rest)
    except TextError as error:  # a text's tokens are known only when it is written
        if written.ids is None or (config.num_beams or 1) > 1:
            raise
        warnings.warn(f"stopped before the end: {error}", stacklevel=3)
        found = written.ids
    rows: list[list[int]] = found[:, given["input_ids"].shape[1] :].tolist()
    return [bytes(takewhile(set(range(BYTES)).__contains__, row)) for row in rows]


class _Written(StoppingCriteria):
    """Stops nothing; knows the ids so far."""

    ids: torch.Tensor | None = None

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        self.ids = input_ids
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _batch(rows: list[list[int]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Rows padded on the left, and their mask, as `generate` takes them."""
    ids, mask = arrays(rows, max(map(len, rows)), [], [], pad, left=True)
    return {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}


def _listed(texts: Text | Sequence[Text]) -> Sequence[Text]:
    return [texts] if isinstance(texts, str | bytes) else texts


def _events(text: Text, base: BaseTokens) -> list[int]:
    """Events of a text; markers that are spelt in a string are read as such."""
    if isinstance(text, bytes):
        return list(text)
    event = {marker: BYTES + at for at, marker in enumerate(base.marker_texts)}
    parts = re.split("(" + "|".join(map(re.escape, sorted(event, key=len, reverse=True))) + ")", text)
    return [each for part in parts for each in ([event[part]] if part in event else to_bytes(part))]
