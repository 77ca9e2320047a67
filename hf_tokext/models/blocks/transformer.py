"""Layers of transformers that look in all directions, and places in a plane that need no table."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import PreTrainedConfig, initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SHARPNESS = (0.2, 1.3)  # of queries and keys when training begins, in the first head and in the last
SOFT = 1.0  # variance that norms add: what is large becomes 1, and what is small stays small


class Attention(nn.Module):
    """Self-attention of all to all, by whatever `attn_implementation` the model was loaded with.

    Where something stands decides who looks at whom, and is no part of what is seen.

    Args:
        config: with `hidden_size` and `num_attention_heads`.
    """

    is_causal = False
    num_key_value_groups = 1

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.where = nn.Linear(config.hidden_size, 2 * config.hidden_size)
        self.what = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix what stands at different places.

        Args:
            hidden: [B, T, D].
            places: [T, D], where each of it stands.
            mask: as the attention functions of transformers take it; None for all to all.

        Returns:
            [B, T, D].
        """
        batch, length = hidden.shape[:2]
        parts = torch.cat([self.where(hidden + places), self.what(hidden)], 2)
        query, key, value = parts.view(batch, length, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, _eager)
        mixed, _ = attend(self, query, key, value, mask, dropout=0.0, scaling=self.scaling)
        return self.out(mixed.reshape(batch, length, -1))


class TransformerLayer(GradientCheckpointingLayer):
    """Attention and a perceptron, each behind a norm and beside a shortcut.

    Args:
        config: with `hidden_size`, `num_attention_heads` and `intermediate_size`.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=SOFT)
        self.attention = Attention(config)
        self.perceptron_norm = nn.LayerNorm(config.hidden_size, eps=SOFT)
        self.inwards = nn.Linear(config.hidden_size, config.intermediate_size)
        self.outwards = nn.Linear(config.intermediate_size, config.hidden_size)

    def reset_parameters(self) -> None:
        """Draw weights that keep the size of what passes, and make every place look at what is near.

        Queries and keys begin equal, so that attention begins as nearness of places, from the first head, to which nearly
        all is near, to the last. What a layer adds begins smaller than what it adds to.

        Source: Trockman and Kolter, Mimetic Initialization of Self-Attention Layers (arXiv 2305.09828), section 4.
        """
        shared = (self.attention.out, self.outwards)
        for layer in (self.attention.where, self.attention.what, self.inwards, *shared):
            initialization.normal_(layer.weight, std=(0.5 if layer in shared else 1.0) * layer.in_features**-0.5)
            initialization.zeros_(layer.bias)
        width = self.attention.where.in_features
        sharpness = torch.linspace(*SHARPNESS, width // self.attention.head_dim).repeat_interleave(
            self.attention.head_dim
        )
        queries = self.attention.where.weight.detach()[:width] * sharpness.to(self.attention.where.weight)[:, None]
        initialization.copy_(self.attention.where.weight, torch.cat([queries, queries]))

    def forward(self, hidden: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run the layer.

        Args:
            hidden: [B, T, D].
            places: as for `Attention`.
            mask: as for `Attention`.

        Returns:
            [B, T, D].
        """
        hidden = hidden + self.attention(self.attention_norm(hidden), places, mask)
        return hidden + self.outwards(gelu(self.inwards(self.perceptron_norm(hidden))))


class Transformer(nn.Module):
    """Layers, and a norm after the last.

    Args:
        config: as for `TransformerLayer`.
        depth: number of layers.
    """

    def __init__(self, config: PreTrainedConfig, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(depth))
        self.norm = nn.LayerNorm(config.hidden_size, eps=SOFT)

    def forward(self, hidden: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run all layers.

        Args:
            hidden: [B, T, D].
            places: as for `Attention`; every layer sees them anew.
            mask: as for `Attention`.

        Returns:
            [B, T, D].
        """
        for layer in self.layers:
            hidden = layer(hidden, places, mask)
        return self.norm(hidden)


def plane_positions(rows: int, columns: int, width: int, finest: int, device: torch.device) -> Tensor:
    """Sines and cosines of places in a plane whose height and width are 1.

    Nothing is learned and nothing is kept, so any number of rows and columns has places, and the same share of the height
    is the same place whatever the number of rows.

    Args:
        rows: of the grid.
        columns: of the grid.
        width: numbers of a place, a multiple of 4.
        finest: half waves that the highest frequency has in the plane.
        device: where the answer lies.

    Returns:
        [rows * columns, width] float32, row by row.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words (arXiv 2010.11929), appendix D.4, with frequencies after
        Mildenhall et al., NeRF (arXiv 2003.08934), equation 4.
    """
    waves = math.pi * torch.logspace(-1, math.log2(finest), width // 4, base=2, device=device)
    down = (torch.arange(rows, device=device) + 0.5) / rows
    right = (torch.arange(columns, device=device) + 0.5) / columns
    parts = [torch.cat([(part := place[:, None] * waves).sin(), part.cos()], 1) for place in (down, right)]
    grid = [parts[0][:, None].expand(-1, columns, -1), parts[1][None].expand(rows, -1, -1)]
    return torch.cat(grid, 2).flatten(0, 1)


def _eager(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Attention in plain products, which shows its weights."""
    scores = query @ key.transpose(2, 3) * scaling
    weights = (scores if mask is None else scores + mask).softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2), weights
