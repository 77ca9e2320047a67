"""The choice that method="auto" makes."""

from hf_tokext.rows import row_method


def choose_method(method: str) -> str:
    """Resolve "auto" and check that a named method exists.

    The rule, from bits per byte on dev texts (docs/transplant.md): always `compose`. On SmolLM2 with Llama-2's
    tokenizer and on Gemma 3 with SmolLM2's, the mean of a piece's own pieces, lowered by the calibrated shift, is ahead
    of what donor weights give (`omp`, `ridge`), and it needs neither donor weights nor text.

    Args:
        method: "auto", or a registered name.

    Returns:
        The name of a registered method.

    Raises:
        RowMethodError: no method bears the name.
    """
    return "compose" if method == "auto" else row_method(method).name
