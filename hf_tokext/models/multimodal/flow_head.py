"""Drawing the next latent of a continuous codec from what a language model has read."""

import math

import torch
from torch import Tensor, nn
from transformers import initialization

TIMES = 64  # numbers that a time becomes
FASTEST = 1000.0


class FlowHead(nn.Module):
    """Rectified flow from noise to a latent, given a hidden state.

    At time t a latent is (1 - t) * itself + t * noise; the head says in which direction the latent lies, itself - noise.
    Drawing begins with noise at t = 1 and goes that way while t falls to 0.

    Args:
        dim: d, numbers of a latent.
        width: numbers of a hidden state, and inside.
        layers: perceptrons one after another.

    Source: Ming-UniVision (arXiv 2510.06590), the head per token; Liu et al., Flow Straight and Fast (arXiv 2209.03003).
    """

    def __init__(self, dim: int, width: int, layers: int) -> None:
        super().__init__()
        self.dim = dim
        self.from_latent = nn.Linear(dim, width)
        self.from_time = nn.Sequential(nn.Linear(TIMES, width), nn.SiLU(), nn.Linear(width, width))
        self.from_hidden = nn.Linear(width, width)
        self.layers = nn.ModuleList([FlowLayer(width) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.to_latent = nn.Linear(width, dim)

    def reset_parameters(self) -> None:
        """Begin with layers that do nothing, and no direction."""
        for layer in self.layers:
            initialization.zeros_(layer.steering.weight)  # type: ignore[arg-type, union-attr]
            initialization.zeros_(layer.steering.bias)  # type: ignore[arg-type, union-attr]
        initialization.zeros_(self.to_latent.weight)
        initialization.zeros_(self.to_latent.bias)

    def forward(self, latents: Tensor, times: Tensor, hidden: Tensor) -> Tensor:
        """Say where the latents lie.

        Args:
            latents: [N, d], mixed with noise.
            times: [N], share of the noise, 0 to 1.
            hidden: [N, width], what the language model makes of all before.

        Returns:
            [N, d], latent minus noise.
        """
        frequencies = torch.exp(-math.log(FASTEST) * torch.arange(TIMES // 2, device=times.device) / (TIMES // 2))
        angles = FASTEST * times.float()[:, None] * frequencies
        told = torch.cat([angles.cos(), angles.sin()], 1).to(hidden.dtype)
        condition = nn.functional.silu(self.from_time(told) + self.from_hidden(hidden))
        found = self.from_latent(latents.to(hidden.dtype))
        for layer in self.layers:
            found = layer(found, condition)
        return self.to_latent(self.norm(found)).float()

    def loss(self, latents: Tensor, hidden: Tensor) -> Tensor:
        """Compare the direction with the right one, at one time for each latent, drawn at random.

        Args:
            latents: [N, d], of about unit size.
            hidden: [N, width].

        Returns:
            [N], mean square of the difference; about 1 + the latent's own square for no direction at all.
        """
        times = torch.rand(len(latents), device=latents.device)
        noise = torch.randn_like(latents)
        mixed = torch.lerp(latents, noise, times[:, None])
        return (self(mixed, times, hidden) - (latents - noise)).square().mean(1)

    @torch.no_grad()
    def draw(self, hidden: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents.

        Args:
            hidden: [N, width].
            steps: how many times it is asked for the direction.
            generator: of the noise, on the CPU.

        Returns:
            [N, d] float32.
        """
        found = torch.randn(len(hidden), self.dim, generator=generator).to(hidden.device)
        for step in range(steps, 0, -1):
            times = torch.full((len(hidden),), step / steps, device=hidden.device)
            found = found + self(found, times, hidden) / steps
        return found


class FlowLayer(nn.Module):
    """A perceptron whose norm and gate are steered from outside (Peebles and Xie, arXiv 2212.09748, adaLN-Zero).

    Args:
        width: numbers in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.steering = nn.Linear(width, 3 * width)
        self.perceptron = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """Change values.

        Args:
            values: [N, width].
            condition: [N, width].

        Returns:
            [N, width].
        """
        shift, scale, gate = self.steering(condition).chunk(3, -1)
        return values + gate * self.perceptron(self.norm(values) * (1 + scale) + shift)


class LatentScale(nn.Module):
    """Brings latents to mean 0 and spread 1, by what it has seen in training; a head cannot learn from others.

    Args:
        dim: d, numbers of a latent.
    """

    MOST = 100_000  # latents that count at most, so that it can follow a codec that learns

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(dim))
        self.register_buffer("square", torch.empty(dim))
        self.register_buffer("count", torch.empty(()))
        self.mean: Tensor
        self.square: Tensor
        self.count: Tensor

    def reset_parameters(self) -> None:
        """Begin with what changes nothing."""
        initialization.zeros_(self.mean)
        initialization.ones_(self.square)
        initialization.zeros_(self.count)

    @torch.no_grad()
    def learn(self, latents: Tensor) -> None:
        """Count latents in.

        Args:
            latents: [N, d].
        """
        if len(latents):
            values = latents.float()
            share = len(values) / (len(values) + self.count)
            self.mean.lerp_(values.mean(0), share)
            self.square.lerp_(values.square().mean(0), share)
            self.count.add_(len(values)).clamp_(max=self.MOST)

    def forward(self, latents: Tensor) -> Tensor:
        """Bring to mean 0 and spread 1.

        Args:
            latents: [..., d].

        Returns:
            The same shape, float32.
        """
        return (latents.float() - self.mean) / self._spread

    def back(self, scaled: Tensor) -> Tensor:
        """Undo it.

        Args:
            scaled: [..., d].

        Returns:
            The same shape, float32.
        """
        return scaled.float() * self._spread + self.mean

    @property
    def _spread(self) -> Tensor:
        return (self.square - self.mean.square()).clamp(min=1e-8).sqrt()
