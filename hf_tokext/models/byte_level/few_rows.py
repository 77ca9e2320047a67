"""Passes of a few tokens at once, on the CPU, at about the cost of one."""

from typing import Any

import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
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


class FewRows(TorchFunctionMode):
    """While it is entered, a linear layer multiplies its matrix with a few rows, not a few rows with its matrix.

    A single row costs the time that the matrix takes to be read. So should two to five, but BLAS libraries first copy
    the right factor of a product into blocks, and that is the matrix. The result differs by rounding only. Other dtypes,
    devices and numbers of rows are left to torch.

    Args:
        model: whose passes are run meanwhile; one that attends by "sdpa" does so without copies of its keys and values
            for each query head.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self._config: Any = model.config.get_text_config(decoder=True)
        self._attention: str | None = None

    def __enter__(self) -> "FewRows":
        attention = self._config._attn_implementation
        if attention == "sdpa":
            self._attention, self._config._attn_implementation = attention, GROUPED
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._attention is not None:
            self._config._attn_implementation, self._attention = self._attention, None

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is linear and not kwargs:
            rows, weight, *bias = args
            if type(rows) is torch.Tensor and rows.dtype == torch.float32 and rows.device.type == "cpu":
                width = rows.shape[-1]
                if rows.numel() // width in ROWS and weight.layout == torch.strided:
                    product = torch.mm(weight, rows.reshape(-1, width).t()).t().contiguous()
                    product = product if not bias or bias[0] is None else product.add_(bias[0])
                    return product.view(*rows.shape[:-1], -1)
        return function(*args, **(kwargs or {}))
