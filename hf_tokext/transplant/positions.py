"""Models whose positions are numbered from the pad id on (RoBERTa's kind): their table of positions moves with it."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hf_tokext.errors import UnsupportedModelError

LOST = 8  # positions that may fall off the end of the table, as BERT's pad 0 and RoBERTa's 1 differ by one


def position_tables(model: nn.Module) -> list[str]:
    """Names of the modules that embed positions counted from the pad id."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and module.padding_idx is not None and "position" in name.rpartition(".")[2]
    ]


def shifted_table(table: Tensor, old: PreTrainedConfig, new: PreTrainedConfig) -> Tensor:
    """Move a table of positions so that every position keeps its row under the new pad id.

    Position p of a text has row pad + 1 + p (transformers' `create_position_ids_from_input_ids`).

    Args:
        table: [positions, D], the base's.
        old: the base's config.
        new: the config with the new ids.

    Returns:
        The table for the new pad id, of the same shape; itself where the id is the same.

    Raises:
        UnsupportedModelError: the new tokenizer has no pad token, or one whose id leaves too little of the table.
    """
    before, after = old.pad_token_id, new.pad_token_id
    if before == after:
        return table
    if after is None or after - before > LOST:
        raise UnsupportedModelError(
            f"{type(old).__name__.removesuffix('Config')} numbers positions from its pad id on ({before}), and the new "
            f"tokenizer's pad id is {after}: its {len(table)} positions do not reach so far. Give the new tokenizer a pad "
            "token with a small id, best the same one"
        )
    moved = torch.zeros_like(table)
    kept = len(table) - max(before, after)
    moved[after : after + kept] = table[before : before + kept]
    return moved


def move_positions(model: nn.Module, old: PreTrainedConfig, new: PreTrainedConfig) -> dict[str, Tensor]:
    """The tables of positions of a loaded model, moved; the model is not changed.

    Args:
        model: the base.
        old: its config as it was.
        new: the config with the new ids.

    Returns:
        New tables by the names of their modules; empty for models that count positions from zero.

    Raises:
        UnsupportedModelError: see `shifted_table`.
    """
    found = {}
    for name in position_tables(model):
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        found[name] = shifted_table(weight.detach(), old, new)
    return found


def put_positions(model: nn.Module, tables: dict[str, Tensor], pad: int) -> None:
    """Put moved tables into a model and tell its modules the new pad id."""
    for name, table in tables.items():
        module, parent = model.get_submodule(name), model.get_submodule(name.rpartition(".")[0])
        module.weight.data.copy_(table)  # type: ignore[union-attr, operator]
        for part in (module, parent):
            if hasattr(part, "padding_idx"):
                part.padding_idx = pad  # type: ignore[assignment]
