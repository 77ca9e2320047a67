"""A causal codec at work on a stream, chunk by chunk."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hf_tokext.errors import CodecError
from hf_tokext.models.blocks.audio import as_waves
from hf_tokext.models.speech_codec.seanet import Past

if TYPE_CHECKING:
    from hf_tokext.models.speech_codec.modeling_speech_codec import SpeechCodecModel


class SpeechStream:
    """Gives for a stream in chunks what the codec gives for all of it at once, up to the rounding of sums.

    Encoding and decoding remember apart from each other, so one stream may do both.

    Args:
        codec: a causal one, in evaluation mode.

    Raises:
        CodecError: it is not causal, or is in training mode.
    """

    def __init__(self, codec: "SpeechCodecModel") -> None:
        if not codec.config.causal:
            raise CodecError("the codec sees what comes later; train one with causal=True for streams")
        if codec.training:
            raise CodecError("the codec is in training mode; call codec.eval() first")
        self.codec = codec
        self.waiting: Tensor | None = None  # samples that do not fill a place yet, [B, 1, fewer than a hop]
        self.ended = False
        self._encoded: Past = {}
        self._decoded: Past = {}

    @torch.no_grad()
    def encode(self, values: Tensor, last: bool = False) -> Tensor:
        """Encode the next samples.

        Args:
            values: [B, 1, samples] or [B, samples], any number of them, none too, B the same in all calls.
            last: nothing follows: what does not fill a place is filled up with silence.

        Returns:
            [B, codebooks, T] codes of the places that are full now, T maybe 0; what is left over waits.

        Raises:
            CodecError: the shape does not fit, the stream has ended, or the codec is continuous.
            QuantizerError: a value is no finite number.
        """
        codec, hop = self.codec, self.codec.config.hop_length
        if codec.is_continuous:
            raise CodecError("the codec is continuous: there are no codes to stream")
        if self.ended:
            raise CodecError("the stream has ended; begin a new one")
        nothing = isinstance(values, Tensor) and values.dim() in (2, 3) and len(values) > 0 and values.shape[-1] == 0
        if nothing:  # a stream may end without a last sample
            waves = torch.zeros(len(values), 1, 0, dtype=codec.dtype, device=values.device)
        else:
            waves = as_waves(values, None, codec.dtype)[0]
        self.ended = last
        if self.waiting is not None:
            if len(self.waiting) != len(waves):
                raise _other(len(self.waiting), len(waves))
            waves = torch.cat([self.waiting, waves], -1)
        if last:
            waves = torch.nn.functional.pad(waves, (0, -waves.shape[-1] % hop))
        full = waves.shape[-1] // hop * hop
        self.waiting = None if last else waves[..., full:]
        if not full:
            return torch.zeros(len(waves), len(codec.codebook_sizes), 0, dtype=torch.long, device=waves.device)
        return codec.quantizer.encode(codec.encoder(waves[..., :full], past=self._encoded).transpose(1, 2))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Decode the next codes.

        Args:
            codes: [B, codebooks, T], B the same in all calls; T may be 0.

        Returns:
            [B, 1, T * `config.hop_length`] samples.

        Raises:
            CodecError: B is not that of the calls before.
            QuantizerError: the codes do not fit the codec.
        """
        codec = self.codec
        if codes.shape[-1] == 0:
            return torch.zeros(codes.shape[0], 1, 0, dtype=codec.dtype, device=codec.device)
        latents = codec.quantizer.decode(codes.to(codec.device)).to(codec.dtype)
        known = next(iter(self._decoded.values()), latents)
        if len(known) != len(latents):
            raise _other(len(known), len(latents))
        return codec.decoder(latents.transpose(1, 2), past=self._decoded)


def _other(before: int, now: int) -> CodecError:
    return CodecError(f"the stream began with {before} sounds and goes on with {now}; begin a new one")
