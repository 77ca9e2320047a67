"""Discriminators that tell real sounds from decoded ones, and a codec that trains against them under any Trainer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import leaky_relu, pad

from hf_tokext.models.codec import CodecOutput, ModalityCodec

Judgement = tuple[list[Tensor], list[list[Tensor]]]  # scores, and features of every layer, of each discriminator


class SpectrumDiscriminator(nn.Module):
    """Judges complex spectra at several scales.

    Args:
        windows: samples of the window of each scale.
        channels: of the convolutions.

    Source: Defossez et al., High Fidelity Neural Audio Compression (arXiv 2210.13438), section 3.4; without normalisation
        of weights.
    """

    def __init__(self, windows: Sequence[int] = (1024, 512, 256), channels: int = 32) -> None:
        super().__init__()
        self.windows = list(windows)
        self.scales = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Conv2d(2, channels, (3, 9), padding=(1, 4)),
                    *(nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(1, 4)) for _ in range(3)),
                    nn.Conv2d(channels, 1, 3, padding=1),
                ]
            )
            for _ in self.windows
        )

    def forward(self, waves: Tensor) -> Judgement:
        """Judge.

        Args:
            waves: [B, samples].

        Returns:
            Of each scale scores [B, 1, ...], high for real, and the features of its layers.
        """
        scores, features = [], []
        for window, layers in zip(self.windows, self.scales, strict=True):
            shape = torch.hann_window(window, device=waves.device)
            spectrum = torch.stft(
                waves.float(), window, window // 4, window=shape, normalized=True, pad_mode="constant",
                return_complex=True,
            )  # fmt: skip
            values = torch.view_as_real(spectrum).permute(0, 3, 2, 1).to(waves.dtype)
            score, found = _through(layers, values)
            scores.append(score)
            features.append(found)
        return scores, features


class PeriodDiscriminator(nn.Module):
    """Judges every n-th sample together, for several n.

    Args:
        periods: the n.
        channels: of the first convolution; they double.

    Source: Kong et al., HiFi-GAN (arXiv 2010.05646), section 2.3; without normalisation of weights.
    """

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), channels: int = 16) -> None:
        super().__init__()
        self.periods = list(periods)
        self.scales = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Conv2d(1, channels, (5, 1), (3, 1), padding=(2, 0)),
                    nn.Conv2d(channels, 2 * channels, (5, 1), (3, 1), padding=(2, 0)),
                    nn.Conv2d(2 * channels, 4 * channels, (5, 1), (3, 1), padding=(2, 0)),
                    nn.Conv2d(4 * channels, 1, (3, 1), padding=(1, 0)),
                ]
            )
            for _ in self.periods
        )

    def forward(self, waves: Tensor) -> Judgement:
        """Judge.

        Args:
            waves: [B, samples].

        Returns:
            Of each period scores [B, 1, ...], high for real, and the features of its layers.
        """
        scores, features = [], []
        for period, layers in zip(self.periods, self.scales, strict=True):
            values = pad(waves, (0, -waves.shape[1] % period)).reshape(len(waves), 1, -1, period)
            score, found = _through(layers, values)
            scores.append(score)
            features.append(found)
        return scores, features


class AdversarialTraining(nn.Module):
    """A codec and its discriminator as one module, which `Trainer` trains with one optimizer and one backward pass.

    The discriminator learns from decoded sounds that pass no gradient on; the codec learns from a discriminator whose
    weights pass none on. So each learns from its own loss alone, and both at once. `Trainer`'s checkpoints hold both; what
    `codec.save_pretrained` saves is the codec alone.

    Args:
        codec: the codec, trained in place.
        discriminator: what judges it; several can be put into an `nn.ModuleList`.
        adversarial_weight: of what the discriminator says of decoded sounds.
        feature_weight: of the difference of its features between real and decoded sounds.

    Source: least squares of Mao et al. (arXiv 1611.04076), equation 9; features of Kumar et al., MelGAN (arXiv
        1910.06711), equation 4, each in parts of its mean size.
    """

    def __init__(
        self,
        codec: ModalityCodec,
        discriminator: nn.Module | None = None,
        adversarial_weight: float = 1.0,
        feature_weight: float = 2.0,
    ) -> None:
        super().__init__()
        self.codec = codec
        self.discriminator = discriminator if discriminator is not None else SpectrumDiscriminator()
        self.adversarial_weight, self.feature_weight = adversarial_weight, feature_weight

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        distill_lm: Tensor | None = None,
        distill_speech: Tensor | None = None,
        return_loss: bool = True,
    ) -> CodecOutput:
        """Run the codec and judge what comes back.

        Args:
            input_values: as for the codec.
            padding_mask: as for the codec.
            distill_lm: as for the codec.
            distill_speech: as for the codec.
            return_loss: as for the codec.

        Returns:
            What the codec gives; its losses have "adversarial", "features" and "discriminator" besides.
        """
        taught = {"distill_lm": distill_lm, "distill_speech": distill_speech}
        given = {name: value for name, value in taught.items() if value is not None}
        output = self.codec(input_values, padding_mask, return_loss=return_loss, **given)
        if not return_loss:
            return output
        real = input_values.reshape(len(input_values), -1).to(output.reconstruction.dtype)
        made = output.reconstruction.reshape(real.shape)
        if padding_mask is not None:  # what stands behind a sound must not tell the two apart
            real, made = (wave.masked_fill(padding_mask.reshape(real.shape) == 0, 0) for wave in (real, made))
        judges = list(self.discriminator) if isinstance(self.discriminator, nn.ModuleList) else [self.discriminator]
        parts: dict[str, list[Tensor]] = {"adversarial": [], "features": [], "discriminator": []}
        for judge in judges:
            frozen = {name: value.detach() for name, value in judge.named_parameters()}
            of_real, known = judge(real)
            scores, features = functional_call(judge, frozen, (made,))
            parts["adversarial"] += [(1 - score).square().mean() for score in scores]
            parts["features"].append(_apart(features, known))
            for one, other in zip(of_real, judge(made.detach())[0], strict=True):
                parts["discriminator"].append((1 - one).square().mean() + other.square().mean())
        weights = {"adversarial": self.adversarial_weight, "features": self.feature_weight, "discriminator": 1.0}
        losses = {name: weights[name] * torch.stack(found).mean() for name, found in parts.items()}
        output.loss = output.loss + sum(losses.values())
        output.losses = output.losses | {name: loss.detach() for name, loss in losses.items()}
        return output


def _through(layers: Any, values: Tensor) -> tuple[Tensor, list[Tensor]]:
    found = []
    for layer in layers[:-1]:
        values = leaky_relu(layer(values), 0.2)
        found.append(values)
    return layers[-1](values), found


def _apart(found: list[list[Tensor]], known: list[list[Tensor]]) -> Tensor:
    parts = [
        (one - other.detach()).abs().mean() / other.detach().abs().mean().clamp(min=1e-5)
        for features, wanted in zip(found, known, strict=True)
        for one, other in zip(features, wanted, strict=True)
    ]
    return torch.stack(parts).mean()
