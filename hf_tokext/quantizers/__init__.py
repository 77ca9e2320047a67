"""Vectors to codes and back, by every common scheme, with one interface."""

from collections.abc import Mapping
from typing import Any

from hf_tokext.errors import QuantizerError
from hf_tokext.quantizers.additive import AdditiveQuantizer
from hf_tokext.quantizers.anchors import AnchorTable, NodeTokens
from hf_tokext.quantizers.base import Quantizer, QuantizerOutput
from hf_tokext.quantizers.binary import BSQ, LFQ
from hf_tokext.quantizers.continuous import Gaussian, Unquantized
from hf_tokext.quantizers.product import ProductQuantizer
from hf_tokext.quantizers.residual import ResidualQuantizer
from hf_tokext.quantizers.scalar import FSQ
from hf_tokext.quantizers.usage import Usage, usage
from hf_tokext.quantizers.vector import IBQ, SimVQ, VectorQuantizer

QUANTIZERS: dict[str, type[Quantizer]] = {
    "vq": VectorQuantizer,
    "rvq": ResidualQuantizer,
    "pq": ProductQuantizer,
    "additive": AdditiveQuantizer,
    "fsq": FSQ,
    "lfq": LFQ,
    "bsq": BSQ,
    "simvq": SimVQ,
    "ibq": IBQ,
    "gaussian": Gaussian,
    "none": Unquantized,
}


def make_quantizer(name: str, dim: int, options: Mapping[str, Any] | None = None) -> Quantizer:
    """Make a quantizer as a config names it.

    Args:
        name: one of `QUANTIZERS`.
        dim: numbers of a vector.
        options: further arguments of its class.

    Returns:
        The quantizer.

    Raises:
        QuantizerError: the name or an option is unknown, or a size is impossible.
    """
    if name not in QUANTIZERS:
        raise QuantizerError(f"unknown quantizer {name!r}; known: {', '.join(QUANTIZERS)}")
    try:
        return QUANTIZERS[name](dim, **(options or {}))
    except TypeError as error:
        raise QuantizerError(f"{name}: {error}") from error


__all__ = [
    "BSQ", "FSQ", "IBQ", "LFQ", "QUANTIZERS", "AdditiveQuantizer", "AnchorTable", "Gaussian", "NodeTokens", "ProductQuantizer",
    "Quantizer", "QuantizerOutput", "ResidualQuantizer", "SimVQ", "Unquantized", "Usage", "VectorQuantizer", "make_quantizer",
    "usage",
]  # fmt: skip
