"""Which ids the codes of a modality have, and in which order they stand in a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.code_grammar import CodeGrammar
from hf_tokext.vocabulary.code_layout import LAYOUTS, CodeLayout
from hf_tokext.vocabulary.space import Space


@dataclass(frozen=True)
class CodeSpace(Space):
    """The ids of a codec's codes: one codebook's after another's, from `base` on, without texts of their own.

    A document is the start marker, the codes in the order of the layout, and the end marker. Where values themselves are
    given, placeholders stand for the codes until the model has them. A continuous codec has no codes: its only id is that
    of the placeholder.

    Attributes:
        codebooks: number of codes of each codebook; none for a continuous codec.
        layout: "flat", all codes of the first codebook, then those of the next; "interleave", the codes of all codebooks
            place by place; or "delay", the same with each codebook a place later than the one before (MusicGen, Copet et
            al., arXiv 2306.05284, section 2.2).
        steps: T, places that each document has; None where it varies.
        start: id of the marker before a document.
        end: id of the marker after it.
        placeholder: id that stands for a code which is still to come.
        hop: samples a place, where T varies; 1 otherwise.
        modality: what the codec calls it: "image", "audio", "depth".
    """

    codebooks: Sequence[int] = ()
    layout: str = "interleave"
    steps: int | None = None
    start: int = -1
    end: int = -1
    placeholder: int = -1
    hop: int = 1
    modality: str = ""

    MARKERS: ClassVar[int] = 3  # start, end and placeholder

    def __post_init__(self) -> None:
        object.__setattr__(self, "codebooks", tuple(self.codebooks))
        super().__post_init__()
        if self.layout not in LAYOUTS:
            raise VocabularyError(f"the layout of {self.name!r} is one of {', '.join(LAYOUTS)}, not {self.layout!r}")
        wanted = sum(self.codebooks) if self.codebooks else 1
        if self.size != wanted or min(self.codebooks, default=1) < 1:
            raise VocabularyError(
                f"space {self.name!r} has {self.size} ids for codebooks of {list(self.codebooks)} codes"
            )
        if len(set(self.markers)) < self.MARKERS or min(self.markers) < 0:
            raise VocabularyError(f"the markers of {self.name!r} must be three ids of their own, not {self.markers}")
        if self.codebooks and any(marker in self for marker in self.markers):
            raise VocabularyError(f"the markers of {self.name!r} lie among its codes")
        if self.is_continuous and self.base != self.placeholder:
            raise VocabularyError(f"{self.name!r} is continuous: its one id is that of the placeholder")
        if (self.steps is not None and self.steps < 1) or self.hop < 1:
            raise VocabularyError(f"{self.name!r} must have at least one place, and a hop of at least one")

    @property
    def markers(self) -> tuple[int, int, int]:
        """Ids of start, end and placeholder."""
        return self.start, self.end, self.placeholder

    @property
    def is_continuous(self) -> bool:
        """Whether there are latents only, no codes."""
        return not self.codebooks

    @property
    def marker_texts(self) -> tuple[str, str, str]:
        """Texts of start, end and placeholder; the last is what users write where something is to stand."""
        return marker_texts(self.name)

    @cached_property
    def order(self) -> CodeLayout:
        """The order of the codes."""
        return CodeLayout(self.layout, max(len(self.codebooks), 1))

    @cached_property
    def grammar(self) -> CodeGrammar:
        """Which of start, end, placeholder and the codes, in this order, may follow which."""
        return CodeGrammar(tuple(self.codebooks), self.order, self.steps)

    @cached_property
    def grammar_ids(self) -> np.ndarray:
        """Ids of what the grammar speaks of."""
        return np.array([*self.markers, *range(self.base, self.base + sum(self.codebooks))])

    @cached_property
    def _offsets(self) -> Tensor:
        return torch.tensor([self.base, *self.codebooks[:-1]]).cumsum(0)

    def length(self, steps: int) -> int:
        """Ids between the markers.

        Args:
            steps: T, number of places.

        Returns:
            Their number.
        """
        return steps * max(len(self.codebooks), 1)

    def to_ids(self, codes: Tensor) -> Tensor:
        """Give the ids of codes, in the order in which they stand in a text.

        Args:
            codes: [codebooks, T] integers.

        Returns:
            [codebooks * T] int64, without markers.

        Raises:
            VocabularyError: there are other codebooks or places, or a code is past its codebook.
        """
        codes = torch.as_tensor(codes)
        books = len(self.codebooks)
        if codes.dim() != 2 or codes.shape[0] != books or not codes.shape[1] or codes.is_floating_point() or not books:
            raise VocabularyError(
                f"codes of {self.name!r} are integers [{books}, places], not {codes.dtype} {list(codes.shape)}"
            )
        if self.steps not in (None, codes.shape[1]):
            raise VocabularyError(f"{self.name!r} has {self.steps} places, not {codes.shape[1]}")
        sizes = torch.tensor(self.codebooks, device=codes.device)[:, None]
        wrong = ((codes < 0) | (codes >= sizes)).nonzero()
        if len(wrong):
            book, place = wrong[0].tolist()
            raise VocabularyError(
                f"codebook {book} of {self.name!r} has the codes 0 to {self.codebooks[book] - 1}, and "
                f"{int(codes[book, place])} stands at place {place}"
            )
        book, place = self.order.order(codes.shape[1])
        return (codes.long() + self._offsets.to(codes.device)[:, None])[book, place]

    def to_codes(self, ids: Tensor | Sequence[int]) -> Tensor:
        """Give the codes of ids that stand between two markers.

        Args:
            ids: [codebooks * T], without markers.

        Returns:
            [codebooks, T] int64.

        Raises:
            VocabularyError: they are not in the order of the layout, or too few or too many.
        """
        ids = torch.as_tensor(ids, dtype=torch.int64)
        books = len(self.codebooks)
        if not books or ids.dim() != 1 or not len(ids) or len(ids) % books:
            raise VocabularyError(f"{len(ids)} ids are no codes of {books} codebooks of {self.name!r}")
        if self.steps not in (None, len(ids) // books):
            raise VocabularyError(f"{self.name!r} has {self.steps} places, not {len(ids) // books}")
        book, place = self.order.order(len(ids) // books)
        codes = torch.empty(books, len(ids) // books, dtype=torch.int64, device=ids.device)
        offsets = self._offsets.to(ids.device)
        codes[book, place] = ids - offsets[book]
        sizes = torch.tensor(self.codebooks, device=ids.device)[:, None]
        if bool(((codes < 0) | (codes >= sizes)).any()):
            raise VocabularyError(f"the ids of {self.name!r} do not stand in the order {self.layout!r}")
        return codes

    def parts(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Say of ids of this space which codebook they are of, and which code of it.

        Args:
            ids: [N] ids of this space.

        Returns:
            Codebooks and codes, [N] int64 each.
        """
        offsets = self._offsets.to(ids.device)
        book = torch.searchsorted(offsets, ids, right=True) - 1
        return book, ids - offsets[book]


def marker_texts(name: str) -> tuple[str, str, str]:
    """Say how the markers of a modality are spelt in a vocabulary.

    Args:
        name: of its space.

    Returns:
        Texts of start, end and placeholder.
    """
    return f"<|{name}:start|>", f"<|{name}:end|>", f"<|{name}|>"
