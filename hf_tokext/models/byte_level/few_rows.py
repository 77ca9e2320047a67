"""Passes of a few tokens at once, on the CPU, at about the cost of one."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ROWS = range(2, 9)  # as many rows as this a BLAS library multiplies faster from the right than from the left
GROUPED = "sdpa_grouped"


def _grouped(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> Any:
    """Attend as "sdpa" does; on the CPU under a mask with each key head read by its group of query heads, not repeated."""
    plain = attention_mask is None or query.device.type != "cpu" or options.get("position_bias") is not None
    if plain or query.shape[1] == key.shape[1]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    found = scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=options.get("scaling"), enable_gqa=True
    )
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED, _grouped)
AttentionMaskInterface.register(GROUPED, sdpa_mask)  # for whoever runs the model in another thread meanwhile


class FewRows:
    """While it is entered, a model's linear layers multiply their matrix with a few rows, not a few rows with their matrix.

    A single row costs the time that the matrix takes to be read. So should two to eight, but BLAS libraries first copy
    the right factor of a product into blocks, and that is the matrix. Where numba is installed (the extra `fast`) the
    product is compiled. The result differs by rounding only. Other dtypes, devices and numbers of rows are left to torch,
    and so are layers that something else has a hand in.

    Args:
        model: whose passes are run meanwhile; one that attends by "sdpa" does so without copies of its keys and values
            for each query head.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._config: Any = model.config.get_text_config(decoder=True)
        self._layers = [layer for layer in model.modules() if type(layer) is nn.Linear and "forward" not in vars(layer)]
        self._attention: str | None = None

    def __enter__(self) -> None:
        self._attention = self._config._attn_implementation
        if self._attention == "sdpa":
            self._config._attn_implementation = GROUPED
        for layer in self._layers:  # not by setattr: that would look for parameters, at every pass
            vars(layer)["forward"] = partial(_product, layer)

    def __exit__(self, *error: object) -> None:
        self._config._attn_implementation = self._attention
        for layer in self._layers:
            vars(layer).pop("forward", None)


def _product(layer: nn.Linear, rows: Tensor) -> Tensor:
    """What the layer makes of rows, [..., in] to [..., out]."""
    weight, width = layer.weight, rows.shape[-1]
    if rows.dtype != torch.float32 or rows.device.type != "cpu" or rows.numel() // width not in ROWS:
        return linear(rows, weight, layer.bias)
    multiply = _turned if torch.is_grad_enabled() or not weight.is_contiguous() else _fastest()
    product = multiply(weight, rows.reshape(-1, width))
    if layer.bias is not None:
        product += layer.bias
    return product.view(*rows.shape[:-1], -1)


def _turned(weight: Tensor, rows: Tensor) -> Tensor:
    return torch.mm(weight, rows.t()).t().contiguous()


@cache
def _fastest() -> Callable[[Tensor, Tensor], Tensor]:
    try:
        from hf_tokext.models.byte_level.few_rows_numba import product
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        return _turned
    return product
