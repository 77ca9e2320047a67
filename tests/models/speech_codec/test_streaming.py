"""A stream gives what all of it at once gives, however it is cut."""

import pytest
import torch

from hf_tokext import CodecError
from tests.models.speech_codec.small import HOP, small, sounds


@pytest.mark.parametrize("lstm", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_any_chunks(seed, lstm):
    model = small(lstm_layers=lstm).train()
    for number in range(3):
        model(sounds(4, 20 * HOP, number))
    model.eval()
    values = sounds(2, 50 * HOP + 5, seed)
    whole = model.encode(values).codes
    made = model.decode(whole)
    chance = torch.Generator().manual_seed(seed)
    stream, parts, back, at = model.stream(), [], [], 0
    while at < values.shape[1]:
        size = int(torch.randint(1, 4 * HOP, (), generator=chance))
        parts.append(stream.encode(values[:, at : at + size], last=at + size >= values.shape[1]))
        back.append(stream.decode(parts[-1]))  # at the same time
        at += size
    codes = torch.cat(parts, -1)
    assert torch.equal(codes, whole) and min(part.shape[-1] for part in parts) == 0
    torch.testing.assert_close(torch.cat(back, -1), made, atol=1e-5, rtol=1e-4)


def test_a_stream_may_end_without_a_last_sample():
    model, values = small().eval(), sounds(2, 5 * HOP + 3)
    stream = model.stream()
    parts = [stream.encode(values), stream.encode(values[:, :0]), stream.encode(values[:, :0], last=True)]
    assert [part.shape[-1] for part in parts] == [5, 0, 1] and torch.equal(
        torch.cat(parts, -1), model.encode(values).codes
    )
    with pytest.raises(CodecError, match="ended"):
        stream.encode(values)


def test_vectors_are_those_of_the_whole():
    """The states themselves, not only the codes that rounding would hide."""
    model = small(lstm_layers=1).eval()
    values = sounds(1, 30 * HOP)[:, None]
    past = {}
    with torch.no_grad():
        parts = [model.encoder(part, past=past) for part in values.split([HOP, 7 * HOP, 22 * HOP], -1)]
        torch.testing.assert_close(torch.cat(parts, -1), model.encoder(values), atol=1e-6, rtol=1e-5)


def test_refusals():
    with pytest.raises(CodecError, match="causal=True"):
        small(causal=False).eval().stream()
    with pytest.raises(CodecError, match="eval"):
        small().train().stream()
    stream = small().eval().stream()
    stream.encode(sounds(1, 5))
    with pytest.raises(CodecError, match="began with 1 sounds"):
        stream.encode(sounds(2, 5))
    with pytest.raises(CodecError, match="continuous"):
        small("none").eval().stream().encode(sounds(1, 5))
    with pytest.raises(CodecError, match="no sound"):
        stream.encode(torch.zeros(0, 5))
    fresh = small(lstm_layers=1).eval().stream()
    fresh.decode(torch.zeros(2, 3, 4, dtype=torch.long))
    with pytest.raises(CodecError, match="began with 2 sounds"):
        fresh.decode(torch.zeros(1, 3, 4, dtype=torch.long))
    assert fresh.decode(torch.zeros(1, 3, 0, dtype=torch.long)).shape == (1, 1, 0)
