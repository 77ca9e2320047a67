"""How ids beside the tokens get into the embeddings: position by position."""

from typing import Any

import torch
from torch import nn
from transformers import initialization as init

from hf_tokext.errors import TextError


class SideTable(nn.Module):
    """One table: at each position the mean of its rows, mixed into the token's embedding e.

    With z the mean, the weights (a, b), and ids of -1 for none:

    * "mean": a e + b z with z over the levels that are there; where none is, e itself. A position depends on nothing
      beside it.
    * "concat": W2 relu(W1 [e; z]) with widths 2D, 4D, D at the positions that have ids, else e itself. It starts as
      a e + b z exactly, and is trained from there.
    * "published": the rule of 3D-MolT5, kept for its checkpoints: z over all levels, missing ones counting as zeros;
      a e + b z at EVERY position of the batch if there is any id in the batch, else e; and z alone if the ids of the
      batch's tokens add up to their number (all are T5's end of sequence, which stands for "no tokens" there). One
      sample therefore changes all others. Do not train with it.
    * "published_concat": that of its variant: the layers of "concat" at every position, z as in "published".

    Args:
        table: what the config says of it.
        width: D, of the embeddings.

    Attributes:
        rows: [size + 1, D], row 0 for none, which is never trained.
        weights: [2], if they are trained.
        mlp: the layers of "concat" and "published_concat".

    Source: 3D-MolT5 (arXiv 2406.05797), section on joining 1-D and 3-D, with its batch-wide test replaced.
    """

    def __init__(self, table: dict[str, Any], width: int) -> None:
        super().__init__()
        self.table = dict(table)
        self.everywhere = table["mixing"].startswith("published")
        self.concat = table["mixing"].endswith("concat")
        self.rows = nn.Embedding(table["size"] + 1, width, padding_idx=0)
        if table["trainable_weights"]:
            self.weights = nn.Parameter(torch.empty(2))
        if self.concat:
            self.mlp: Any = nn.Sequential(nn.Linear(2 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def start(self) -> None:
        """Set what is trained to where it begins; values that a checkpoint has given stay."""
        init.normal_(self.rows.weight, std=self.table["std"]) if self.table["std"] else init.zeros_(self.rows.weight)
        if not getattr(self.rows.weight, "_is_hf_initialized", False):
            with torch.no_grad():
                self.rows.weight[0].zero_()
        token, side = self.table["weights"]
        if self.table["trainable_weights"]:
            init.copy_(self.weights, torch.tensor([token, side]))
        if self.concat:
            one = torch.eye(self.rows.embedding_dim)
            none = torch.zeros_like(one)
            parts = ([one, none], [-one, none], [none, one], [none, -one])  # relu(x) - relu(-x) is x
            init.copy_(self.mlp[0].weight, torch.cat([torch.cat(part, dim=1) for part in parts]))
            init.copy_(self.mlp[2].weight, torch.cat([token * one, -token * one, side * one, -side * one], dim=1))
            init.zeros_(self.mlp[0].bias)
            init.zeros_(self.mlp[2].bias)

    def forward(self, embeddings: torch.Tensor, ids: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
        """Mix the table in.

        Args:
            embeddings: [B, T, D].
            ids: [B, T, levels], -1 for none.
            tokens: [B, T] ids of the tokens; only "published" asks for them.

        Returns:
            [B, T, D].
        """
        there = ids >= 0
        rows = self.rows(ids + 1) * there[..., None].to(self.rows.weight.dtype)
        count = ids.shape[-1] if self.everywhere else there.sum(-1, keepdim=True).clamp(min=1)
        mean = (rows.sum(-2) / count).to(embeddings.dtype)
        if self.concat:
            joined = torch.cat([embeddings, mean], dim=-1)
            mixed = self.mlp(joined.to(self.mlp[0].weight.dtype)).to(embeddings.dtype)
            return mixed if self.everywhere else torch.where(there.any(-1, keepdim=True), mixed, embeddings)
        token, side = self.weights.to(embeddings.dtype) if self.table["trainable_weights"] else self.table["weights"]
        mixed = token * embeddings + side * mean
        if not self.everywhere:
            return torch.where(there.any(-1, keepdim=True), mixed, embeddings)
        found = torch.where(there.any(), mixed, embeddings)
        return found if tokens is None else torch.where(tokens.sum() == tokens.numel(), mean, found)


class SideTables(nn.Module):
    """All tables of a model, applied one after the other in the order of their names.

    Args:
        tables: what the config says of each, by name.
        width: D, of the embeddings.

    Attributes:
        tables: the tables by name.
    """

    def __init__(self, tables: dict[str, dict[str, Any]], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleDict({name: SideTable(table, width) for name, table in tables.items()})

    def start(self) -> None:
        """Set what is trained to where it begins; values that a checkpoint has given stay."""
        for table in self.tables.values():
            table.start()  # type: ignore[operator]

    def forward(self, embeddings: torch.Tensor, ids: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
        """Mix every table in.

        Args:
            embeddings: [B, T, D].
            ids: [B, T, levels of all tables], -1 for none.
            tokens: [B, T] ids of the tokens, if they are known.

        Returns:
            [B, T, D].

        Raises:
            TextError: the ids are no whole numbers, of another shape, or outside of their table.
        """
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise TextError(
                f"side_ids are {str(ids.dtype).removeprefix('torch.')}; they must be whole numbers, -1 for none"
            )
        ids = ids.long()  # narrower ones would wrap around at the last id
        tables: list[Any] = list(self.tables.values())
        levels = [table.table["levels"] for table in tables]
        if ids.shape != (*embeddings.shape[:2], sum(levels)):
            batch, length = embeddings.shape[:2]
            raise TextError(
                f"side_ids have the shape {list(ids.shape)}; for these tokens and tables it must be "
                f"[{batch}, {length}, {sum(levels)}] (batch, tokens, levels of all tables), with -1 for none"
            )
        for (name, table), own in zip(self.tables.items(), ids.split(levels, dim=-1), strict=True):
            # on accelerators looking at values would wait for them; there the lookup itself fails
            if own.device.type == "cpu" and own.numel() and not torch.compiler.is_compiling():
                low, high = int(own.min()), int(own.max())
                if low < -1 or high >= table.table["size"]:  # type: ignore[index]
                    wrong, last = (low if low < -1 else high), table.table["size"] - 1  # type: ignore[index,operator]
                    raise TextError(f"side table {name!r} has no id {wrong}; ids are 0 to {last}, and -1 for none")
            embeddings = table(embeddings, own, tokens)
        return embeddings
