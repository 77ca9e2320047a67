"""The direction in which every hidden state before the head agrees; adding it to a row shifts its logit."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_tokext.evaluating import evaluating
from hf_tokext.transplant.positions import position_tables

WINDOW = 256
LIMIT = 2_000
STRENGTH = 1e-3
# Share of the constant 1 that h.u must explain; trained LMs reach 0.99, an untrained one has no such direction.
LEAST_EXPLAINED = 0.8
# Ids on which the slope of the returned logits is measured, and the slope below which rows cannot move them.
SLOPE_IDS = 1_024
LEAST_SLOPE = 1e-4

# Text for models whose user gives none: prose, code, numbers and several scripts.
DEFAULT_TEXTS = (
    "The river rose during the night, and by morning the lower road was under water. Nobody in the village was "
    "surprised; it had rained for three days. They moved the animals to the hill, counted the sacks of grain, and "
    "waited. In 1987 the same thing had happened, and 42 houses were lost. What would they do differently this time?",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / len(values)\n"
    "\n\nclass Queue:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        "
    "self.items.append(item)\n        return None\n",
    "Dear Ms. Keller,\n\nthank you for your letter of 3 March. Please find the figures below:\n\n- 12.5 % in spring\n"
    '- 0.75 kg per day\n\n<p class="note">See https://example.org/a?b=1</p>\n\nYours sincerely,\nThe editors',
    "Der Fluss stieg in der Nacht. La rivière a monté pendant la nuit. El río creció durante la noche. "
    "夜里河水上涨了。 川の水位は夜のうちに上がった。 Ночью река поднялась.",
)


@torch.no_grad()
def head_direction(
    model: PreTrainedModel, tokenizer: Callable[[str], Any], texts: Sequence[str] | None = None
) -> Tensor | None:
    """Find the vector u that, added to a row of the head, raises the logit that the model returns by about 1.

    h.u is made near 1 for all hidden states h that enter the head (ridge regression), and u is then divided by the
    slope of the returned logits against those of the head: Granite divides them by `logits_scaling`, Cohere multiplies
    them by `logit_scale`, Gemma 2 caps them softly (there it is the slope at the logits that the text gives).

    Args:
        model: the base, with the vocabulary it was trained with.
        tokenizer: the base's tokenizer, or a function that gives the `input_ids` of a text.
        texts: text like that which the model will see; a few thousand tokens are used. None for a built-in sample.

    Returns:
        u, [D of the head], float32, or None where the model has no head, its states have no common direction, or the
        returned logits do not follow the head's.
    """
    head = model.get_output_embeddings()
    if head is None:
        return None
    caught: list[Tensor] = []
    own: list[Tensor] = []
    slope: float | None = None

    def catch(module: torch.nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        caught.append(inputs[0].float().cpu())
        if slope is None:
            own.append(_sample(output))

    hook = head.register_forward_hook(catch)
    device = next(model.parameters()).device
    try:
        with evaluating(model):
            left, window = LIMIT, window_of(model)
            for text in [text for text in texts or () if text.strip()] or DEFAULT_TEXTS:
                ids = tokenizer(text[: 8 * LIMIT])["input_ids"][:left]
                for start in range(0, len(ids), window):
                    cut = torch.tensor([ids[start : start + window]], device=device)
                    extra = {"decoder_input_ids": cut} if model.config.is_encoder_decoder else {}
                    returned = model(input_ids=cut, **extra)
                    if slope is None:
                        slope = _slope(own, getattr(returned, "logits", None))
                left -= len(ids)
                if left <= 0:
                    break
    finally:
        hook.remove()
    if slope is None or not abs(slope) >= LEAST_SLOPE:
        return None
    states = torch.cat([part.reshape(-1, part.shape[-1]) for part in caught]).double()
    moments = states.T @ states / len(states)
    ridge = STRENGTH * moments.diagonal().mean() * torch.eye(len(moments), dtype=torch.float64)
    found = torch.linalg.solve(moments + ridge, states.mean(0))
    explained = 1 - float(((states @ found - 1) ** 2).mean())
    return (found / slope).float() if explained >= LEAST_EXPLAINED else None


def _sample(logits: Tensor) -> Tensor:
    """The logits of some ids, evenly chosen, [positions, ids], float64; a copy."""
    flat = logits.reshape(-1, logits.shape[-1])
    return flat[:, :: -(-flat.shape[-1] // SLOPE_IDS)].to("cpu", torch.float64, copy=True)


def _slope(own: Sequence[Tensor], returned: Tensor | None) -> float:
    """How much a returned logit moves where the head's own moves by 1; not a number where that cannot be told.

    Args:
        own: sampled logits of every call of the head in one pass, [positions, ids].
        returned: the logits that the model gave, or None where its output has none by that name.

    Returns:
        The median over ids of the regression over positions, which masked ids and biases do not disturb.
    """
    if returned is None:  # nothing is known of what follows the head
        return 1.0
    after = _sample(returned)
    for before in own:
        if before.shape == after.shape:
            if len(before) > 1:
                before, after = before - before.mean(0), after - after.mean(0)
            return float(((before * after).sum(0) / (before * before).sum(0)).nanmedian())
    return float("nan")


def window_of(model: PreTrainedModel) -> int:
    """How many tokens the model can be run on here; RoBERTa's kind count their positions from the pad id on."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(positions, int):
        return WINDOW
    spare = model.config.pad_token_id + 1 if position_tables(model) else 0
    return min(WINDOW, positions - max(2, spare))
