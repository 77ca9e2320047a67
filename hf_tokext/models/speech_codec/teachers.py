"""What language models and speech models know of each place in time: the features that the codec's first codes learn from.

They are computed once, before training, and stand in the batch as `distill_lm` and `distill_speech`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hf_tokext.errors import CodecError


@torch.no_grad()
def lm_features(
    model: Any,
    tokenizer: Any,
    words: Sequence[str],
    frames: int,
    spans: Sequence[tuple[int, int]] | None = None,
    align: str = "ctc",
) -> Tensor:
    """Give the vectors of a transcript's words, laid out over time.

    A vector is the mean over all layers. A causal model's first token stands for nothing (its vectors are huge, and alike
    for all words), so a bos goes before the words where the tokenizer has one.

    Args:
        model: any model of text that gives hidden states, such as AutoModel's.
        tokenizer: its tokenizer, a fast one.
        words: of the transcript, in order.
        frames: T, places in time that the sound has.
        spans: from which place to which (exclusive) each word is spoken, such as by `ctc_spans`; for "ctc".
        align: "ctc": each word's vector (the mean over its tokens) at all places of its span, zeros elsewhere; "pad": one
            token a place from the beginning on, then zeros, as published, which is not aligned with what is heard.

    Returns:
        [T, D].

    Raises:
        CodecError: a span is missing or leaves the sound, or there is no such way to align.

    Source: Ahasan et al., DM-Codec (arXiv 2410.15017), section 3.2, for "pad".
    """
    if align not in ("ctc", "pad"):
        raise CodecError(f'align is "ctc" or "pad", not {align!r}')
    vectors, owners = _token_vectors(model, tokenizer, words)
    found = vectors.new_zeros(frames, vectors.shape[1])
    if align == "pad":
        found[: len(vectors)] = vectors[:frames]
        return found
    if spans is None or len(spans) != len(words):
        raise CodecError(f'align="ctc" needs a span for each of {len(words)} words, not {len(spans or ())}')
    for number, (start, end) in enumerate(spans):
        if not 0 <= start < end <= frames:
            raise CodecError(f"word {number} lies at places {start} to {end} of a sound of {frames}")
        found[start:end] = vectors[owners == number].mean(0)
    return found


@torch.no_grad()
def speech_features(model: Any, frames: int, **inputs: Tensor) -> Tensor:
    """Give the vectors of a speech model, the mean over its layers, at the codec's places.

    Args:
        model: any encoder of sounds that gives hidden states, such as AutoModel's of HuBERT or WavLM.
        frames: T, places in time that the sounds have in the codec.
        **inputs: what its feature extractor gives, at its own sampling rate; all sounds of a batch of one length.

    Returns:
        [B, T, D], between the model's own places in a straight line.
    """
    layers = model(**inputs, output_hidden_states=True).hidden_states
    mean = torch.stack([layer.float() for layer in layers]).mean(0)
    return interpolate(mean.transpose(1, 2), size=frames, mode="linear", align_corners=False).transpose(1, 2)


def ctc_spans(scores: Tensor, ids: Sequence[int], blank: int = 0) -> list[tuple[int, int]]:
    """Find where each label is spoken: the likeliest path of a CTC model through a known transcript.

    Args:
        scores: [T, labels], logarithms of probabilities.
        ids: the labels of the transcript, in order.
        blank: id of "nothing".

    Returns:
        For each label the places where it stands, from and to (exclusive). A word goes from the start of its first letter to
        the end of its last.

    Raises:
        CodecError: the sound is too short for the transcript.

    Source: Graves et al., Connectionist Temporal Classification (ICML 2006), section 4.1, with a maximum for the sum.
    """
    states = [blank]
    for label in ids:
        states += [label, blank]
    repeats = sum(one == other for one, other in zip(ids, ids[1:], strict=False))
    if not len(ids) or len(scores) < len(ids) + repeats:
        raise CodecError(f"{len(scores)} places cannot hold {len(ids)} labels; give a transcript of this sound")
    labels = torch.tensor(states)
    skip = torch.zeros(len(states), dtype=torch.bool)
    skip[2:] = (labels[2:] != blank) & (labels[2:] != labels[:-2])
    emitted = scores.detach().double().cpu()[:, labels]
    best = emitted.new_full((len(states),), -torch.inf)
    best[:2] = emitted[0, :2]
    came = []
    for row in emitted[1:]:
        one = torch.cat([best.new_full((1,), -torch.inf), best[:-1]])
        two = torch.cat([best.new_full((2,), -torch.inf), best[:-2]]).masked_fill(~skip, -torch.inf)
        best, steps = torch.stack([best, one, two]).max(0)
        came.append(steps)
        best = best + row
    state = len(states) - 1 if best[-1] >= best[-2] else len(states) - 2
    path = [state]
    for steps in reversed(came):
        state -= int(steps[state])
        path.append(state)
    path.reverse()
    found = []
    for number in range(len(ids)):
        places = [place for place, at in enumerate(path) if at == 2 * number + 1]
        found.append((places[0], places[-1] + 1))
    return found


def _token_vectors(model: Any, tokenizer: Any, words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Vectors of tokens, [N, D] float32, and the word that each belongs to."""
    text = " ".join(words)
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if not coded["input_ids"]:
        raise CodecError("the transcript has no words")
    before = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    ids = torch.tensor([before + list(coded["input_ids"])], device=model.device)
    layers = model(input_ids=ids, output_hidden_states=True).hidden_states
    vectors = torch.stack([layer[0, len(before) :].float() for layer in layers]).mean(0)
    ends, total = [], -1
    for word in words:
        total += len(word) + 1
        ends.append(total)
    last = torch.tensor([end for _, end in coded["offset_mapping"]])
    owners = torch.searchsorted(torch.tensor(ends), last).clamp(max=len(words) - 1)
    return vectors, owners.to(vectors.device)
