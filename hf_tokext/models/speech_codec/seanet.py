"""Convolutions that shorten a sound to a few vectors a second, and such that lengthen them again.

Every layer takes and gives [B, channels, time]. `mask` [B, T] says which places hold sound; what is masked counts as
silence in every layer, so that a sound gives the same in a batch as alone. `past` holds what each causal layer has to
remember of the chunks before.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, pad
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers.modeling_layers import GradientCheckpointingLayer

Past = dict[nn.Module, Any]


class Convolution(nn.Module):
    """A convolution that gives one place for `stride` places.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: places that it sees.
        stride: places that it moves by.
        causal: it sees nothing that comes later.
        gain: how much louder a new one makes what it is given.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, causal: bool = True, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.reach = kernel - stride  # silence, or memory, that it sees beyond the places given
        self.before = self.reach if causal else self.reach // 2
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride)
        self.conv.gain = gain  # type: ignore[assignment]  # for whoever draws new weights

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Convolve.

        Args:
            values: [B, inputs, T * stride].
            mask: as above.
            past: as above.

        Returns:
            [B, outputs, T].
        """
        values = masked(values, mask)
        if past is None:
            values = pad(values, (self.before, self.reach - self.before))
        else:
            known = past.get(self)
            known = values.new_zeros(*values.shape[:2], self.reach) if known is None else known
            values = torch.cat([known, values], -1)
            past[self] = values[..., values.shape[-1] - self.reach :]
        return self.conv(values)


class Expansion(nn.Module):
    """A convolution that gives `stride` places for one: a transposed one with twice the stride (or thrice) as its kernel.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: places for one.
        causal: it sees nothing that comes later.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, causal: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Convolution(inputs, outputs * stride, 2 if causal else 3, causal=causal)

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Lengthen.

        Args:
            values: [B, inputs, T].
            mask: as above.
            past: as above.

        Returns:
            [B, outputs, T * stride].
        """
        found = self.conv(values, mask, past)
        return found.unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(2)


class Recurrence(nn.Module):
    """Layers of an LSTM around which its input is led; they run in both directions unless causal.

    Args:
        channels: in and out; even if not causal.
        layers: how many.
        causal: forward only.
    """

    def __init__(self, channels: int, layers: int, causal: bool = True) -> None:
        super().__init__()
        hidden = channels if causal else channels // 2
        self.lstm = nn.LSTM(channels, hidden, layers, batch_first=True, bidirectional=not causal)

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Run over time.

        Args:
            values: [B, channels, T].
            mask: as above.
            past: as above.

        Returns:
            [B, channels, T].
        """
        given = masked(values, mask).transpose(1, 2)
        if past is not None:
            found, past[self] = self.lstm(given, past.get(self))
        elif mask is not None and self.lstm.bidirectional:
            lengths = mask.sum(1).clamp(min=1).cpu()
            packed = pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
            found = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=given.shape[1])[0]
        else:
            found = self.lstm(given)[0]
        return values + found.transpose(1, 2)


class Residual(nn.Module):
    """Two convolutions whose result is added to what they are given.

    Args:
        channels: in and out.
        causal: as for `Convolution`.
    """

    def __init__(self, channels: int, causal: bool = True) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.see = Convolution(channels, half, 3, causal=causal)
        self.mix = Convolution(half, channels, 1, causal=causal, gain=0.0)  # nothing is added yet

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Refine.

        Args:
            values: [B, channels, T].
            mask: as above.
            past: as above.

        Returns:
            [B, channels, T].
        """
        return values + self.mix(elu(self.see(elu(values), mask, past)), None, past)


class Down(GradientCheckpointingLayer):
    """Refines, and shortens by a stride; the channels double.

    Args:
        channels: in.
        stride: places that become one.
        causal: as for `Convolution`.
    """

    def __init__(self, channels: int, stride: int, causal: bool = True) -> None:
        super().__init__()
        self.residual = Residual(channels, causal)
        self.shorten = Convolution(channels, 2 * channels, 2 * stride, stride, causal)

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Shorten.

        Args:
            values: [B, channels, T * stride].
            mask: as above.
            past: as above.

        Returns:
            [B, 2 * channels, T].
        """
        return self.shorten(elu(self.residual(values, mask, past)), mask, past)


class Up(GradientCheckpointingLayer):
    """Lengthens by a stride, and refines; the channels are halved.

    Args:
        channels: out.
        stride: places for one.
        causal: as for `Convolution`.
    """

    def __init__(self, channels: int, stride: int, causal: bool = True) -> None:
        super().__init__()
        self.lengthen = Expansion(2 * channels, channels, stride, causal)
        self.residual = Residual(channels, causal)

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Lengthen.

        Args:
            values: [B, 2 * channels, T].
            mask: as above.
            past: as above.

        Returns:
            [B, channels, T * stride].
        """
        return self.residual(self.lengthen(elu(values), mask, past), mask, past)


class Encoder(nn.Module):
    """Sound to vectors.

    Args:
        filters: channels at full length.
        strides: of the steps, from the sound on.
        dim: numbers of a vector.
        lstm_layers: behind the last step; 0 for none.
        causal: nothing sees what comes later.

    Source: the encoder of Zeghidour et al., SoundStream (arXiv 2107.03312), section 3.1, with the LSTM of Defossez et al.,
        High Fidelity Neural Audio Compression (arXiv 2210.13438), section 3.1; without normalisation of weights.
    """

    def __init__(self, filters: int, strides: Sequence[int], dim: int, lstm_layers: int, causal: bool) -> None:
        super().__init__()
        self.first = Convolution(1, filters, 7, causal=causal)
        self.steps = nn.ModuleList(Down(filters << number, stride, causal) for number, stride in enumerate(strides))
        widest = filters << len(strides)
        self.recurrence = Recurrence(widest, lstm_layers, causal) if lstm_layers else None
        self.last = Convolution(widest, dim, 7, causal=causal)

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Shorten.

        Args:
            values: [B, 1, samples].
            mask: as above.
            past: as above.

        Returns:
            [B, dim, T].
        """
        values = self.first(values, mask, past)
        for step in self.steps:
            values = step(values, mask, past)
        if self.recurrence is not None:
            values = self.recurrence(values, mask, past)
        return self.last(elu(values), mask, past)


class Decoder(nn.Module):
    """Vectors to sound: the encoder, mirrored.

    Args:
        filters: as for `Encoder`.
        strides: as for `Encoder`, in the same order.
        dim: as for `Encoder`.
        lstm_layers: as for `Encoder`.
        causal: as for `Encoder`.
    """

    def __init__(self, filters: int, strides: Sequence[int], dim: int, lstm_layers: int, causal: bool) -> None:
        super().__init__()
        widest = filters << len(strides)
        self.first = Convolution(dim, widest, 7, causal=causal)
        self.recurrence = Recurrence(widest, lstm_layers, causal) if lstm_layers else None
        numbered = reversed(list(enumerate(strides)))
        self.steps = nn.ModuleList(Up(filters << number, stride, causal) for number, stride in numbered)
        self.last = Convolution(filters, 1, 7, causal=causal, gain=0.1)  # a new one begins near silence

    def forward(self, values: Tensor, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Lengthen.

        Args:
            values: [B, dim, T].
            mask: as above.
            past: as above.

        Returns:
            [B, 1, samples].
        """
        values = self.first(values, mask, past)
        if self.recurrence is not None:
            values = self.recurrence(values, mask, past)
        for step in self.steps:
            values = step(values, mask, past)
        return self.last(elu(values), mask, past)


def masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Put silence where nothing stands.

    Args:
        values: [B, channels, T * n].
        mask: [B, T] bool; None for all.

    Returns:
        [B, channels, T * n].
    """
    if mask is None:
        return values
    return values * mask.repeat_interleave(values.shape[-1] // mask.shape[1], 1)[:, None]
