"""Generation that keeps to the grammar of a domain."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import LogitsProcessor

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.domain import Domain


class _Place(NamedTuple):
    """Where a row stands: in a document of a domain, outside of one (None), or after the last."""

    inside: int | None
    state: Hashable = None
    ended: bool = False


class GrammarLogitsProcessor(LogitsProcessor):
    """Keeps the documents that a model writes well-formed: greedy, drawn, or by beams.

    Outside of documents only the tokens that open one are allowed of a domain's; inside, only those that its grammar lets
    stand. Near the end of the room that is left, only tokens with which the document can still be closed.

    Args:
        domains: pairs of a domain and the id of its first token.
        max_length: tokens that a row may have, prompt included, as for `generate`; None ends no document early.
        only: nothing but one document of the domain of this name is written, from where the prompt ends on; a prompt
            may hold the beginning of it. None writes documents where the model opens them.
        eos_token_id: what follows after the document where `only` is given; ids that may end a text.

    Raises:
        VocabularyError: `only` names no domain here, or names one and no eos is given.
    """

    def __init__(
        self,
        domains: Sequence[tuple[Domain, int]],
        max_length: int | None = None,
        only: str | None = None,
        eos_token_id: int | Sequence[int] | None = None,
    ) -> None:
        self._domains = list(domains)
        names = [domain.name for domain, _ in self._domains]
        if only is not None and (only not in names or eos_token_id is None):
            raise VocabularyError(f"only={only!r} needs one of the domains {names} and an eos_token_id")
        self._only = None if only is None else names.index(only)
        self._max_length = max_length
        ends = [] if eos_token_id is None else [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
        self._ends = ends
        self._places: dict[tuple[int, ...], _Place] = {}
        self._prompt = 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Take away what may not follow.

        Args:
            input_ids: [B, T] ids so far.
            scores: [B, V] scores of the next.

        Returns:
            [B, V] scores, minus infinity for ids that may not follow.

        Raises:
            VocabularyError: a prompt holds what is no beginning of a document.
        """
        rows = [tuple(row) for row in input_ids.tolist()]
        if not any(row[:-1] in self._places for row in rows):
            self._prompt = input_ids.shape[1]  # these are the first ids after a prompt
        places = {row: self._place(row) for row in dict.fromkeys(rows)}
        self._places = places
        masks = {row: self._mask(place, len(row), scores.shape[1]) for row, place in places.items()}
        allowed = torch.from_numpy(np.stack([masks[row] for row in rows])).to(scores.device)
        return scores.masked_fill(~allowed, -torch.inf)  # type: ignore[return-value]

    def _place(self, row: tuple[int, ...]) -> _Place:
        before = self._places.get(row[:-1])
        if before is not None:
            return self._after(before, row[-1], written=True)
        place = _Place(None)
        for at, index in enumerate(row):
            if at == self._prompt:
                place = self._begun(place)
            try:
                place = self._after(place, index, written=at >= self._prompt)
            except VocabularyError as error:
                raise VocabularyError(f"id {index} at place {at} of the prompt: {error}") from error
        return self._begun(place) if len(row) == self._prompt else place

    def _begun(self, place: _Place) -> _Place:
        """The place at the end of the prompt, where the only document begins unless the prompt has its beginning."""
        return place if self._only is None or place.inside is not None else self._opened(self._only)

    def _opened(self, number: int) -> _Place:
        return _Place(number, self._domains[number][0].grammar.start())

    def _after(self, place: _Place, index: int, written: bool) -> _Place:
        """The place after one more id, of the prompt or written."""
        number = self._domain_of(index)
        if place.inside is None:
            if number is None or place.ended:
                return place
            place = self._opened(number)
        elif number != place.inside:
            return place  # padding, or an id that was forced from elsewhere
        assert place.inside is not None
        domain, base = self._domains[place.inside]
        state = domain.grammar.advance(place.state, index - base)
        if domain.grammar.complete(state):
            return _Place(None, ended=written and self._only is not None)
        return _Place(place.inside, state)

    def _domain_of(self, index: int) -> int | None:
        for number, (domain, base) in enumerate(self._domains):
            if base <= index < base + len(domain.tokens):
                return number
        return None

    def _mask(self, place: _Place, length: int, size: int) -> np.ndarray:
        """Ids that may follow, [V]."""
        room = None if self._max_length is None else self._max_length - length
        if place.inside is not None:
            domain, base = self._domains[place.inside]
            grammar = domain.grammar
            allowed = grammar.allowed(place.state) if room is None else grammar.within(place.state, room)
            found = np.zeros(size, dtype=bool)
            found[base : base + len(allowed)] = allowed
            return found
        found = np.full(size, not place.ended)
        found[self._ends if place.ended else []] = True
        for domain, base in self._domains:
            found[base : base + len(domain.tokens)] = False
            fits = room is None or room >= domain.grammar.distance(domain.grammar.start())
            found[base] = fits and not place.ended
        return found
