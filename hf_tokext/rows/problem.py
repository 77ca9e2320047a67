"""What a row method is given and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_tokext.errors import RowMethodError


@dataclass(frozen=True, eq=False)
class RowProblem:
    """One vocabulary matrix of the base, and the new ids whose rows are wanted.

    Attributes:
        base: the base's matrix, [base ids, D], float32.
        wanted: new ids whose rows are to be made, [M], int64.
        anchors: pairs (new id, base id) with equal bytes, [A, 2], int64; no new id twice.
        pieces: the bytes of every wanted id, M entries.
        spellings: the base's own ids of the same bytes, M entries; empty where there are none.
        anchor_pieces: the bytes of every anchor, A entries; needed by methods that use word vectors.
        side: "input", "output", or "tied" where one matrix serves both.
        donor: the donor's matrix in the order of the new ids, [new ids, D of the donor], float32, or None.
        word_vectors: function from pieces (N byte strings) to unit or zero vectors [N, W], or None.
        seed: seed of everything random.
        max_memory: bytes of work space that a method may take beyond its inputs, or None.
        progress: shown to the user while a method works; takes (done, total).
    """

    base: Tensor
    wanted: Tensor
    anchors: Tensor
    pieces: Sequence[bytes]
    spellings: Sequence[tuple[int, ...]]
    anchor_pieces: Sequence[bytes] = ()
    side: str = "tied"
    donor: Tensor | None = None
    word_vectors: Callable[[Sequence[bytes]], Tensor] | None = None
    seed: int = 0
    max_memory: int | None = None
    progress: Callable[[int, int], None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.side not in ("input", "output", "tied"):
            raise RowMethodError(f"side must be input, output or tied, not {self.side!r}")
        if self.base.ndim != 2 or self.base.dtype != torch.float32:
            raise RowMethodError(
                f"base must be a float32 matrix [ids, D], not {self.base.dtype} {list(self.base.shape)}"
            )
        count = len(self.wanted)
        if len(self.pieces) != count or len(self.spellings) != count:
            raise RowMethodError(
                f"{count} ids are wanted but {len(self.pieces)} pieces and {len(self.spellings)} spellings given"
            )
        if self.anchors.ndim != 2 or self.anchors.shape[1] != 2:
            raise RowMethodError(f"anchors must be [A, 2], not {list(self.anchors.shape)}")
        if len(self.anchors) and int(self.anchors[:, 1].max()) >= len(self.base):
            raise RowMethodError("an anchor points past the base's matrix")
        if self.donor is not None:
            for what, ids in (("new id", self.wanted), ("anchor", self.anchors[:, 0])):
                if len(ids) and int(ids.max()) >= len(self.donor):
                    raise RowMethodError(f"{what} {int(ids.max())} has no row among the donor's {len(self.donor)}")


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that a method made.

    Attributes:
        values: the rows in the order of `RowProblem.wanted`, [M, D], float32.
        residual: how far the method is from explaining each id in its own terms
            (0 exact, 1 nothing explained), [M], or None where the method has no such measure.
    """

    values: Tensor
    residual: Tensor | None = None
