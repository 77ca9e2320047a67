"""Generation that keeps to the grammar of a domain."""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from transformers import LogitsProcessor

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.grammar import Grammar

LOOK_BACK = 64  # ids by which a row may be shortened again; what was read of longer ones is not kept
MASKS = 256


class Written(Protocol):
    """What documents are of: a domain, or the codes of a modality."""

    @property
    def name(self) -> str:
        """What `only` calls it."""

    @property
    def grammar(self) -> Grammar[Any]:
        """Which tokens may follow which; the first one opens a document."""


class _Place(NamedTuple):
    """Where a row stands: in a document of a domain, outside of one (None), or after the last."""

    inside: int | None
    state: Hashable = None
    ended: bool = False


IMPOSSIBLE = _Place(None, "impossible", ended=True)


class GrammarLogitsProcessor(LogitsProcessor):
    """Keeps the documents that a model writes well-formed: greedy, drawn, or by beams.

    Outside of documents only the tokens that open one are allowed of a domain's; inside, only those that its grammar lets
    stand. Near the end of the room that is left, only tokens with which the document can still be closed. It reads each row
    on from where it was, and serves one generation after another; a prompt that goes on by one token from what it has just
    written counts as the same generation.

    Beam search gives back beams of no probability (`sequences_scores` of minus infinity) where it is asked for more
    sequences than there are documents that fit.

    Args:
        domains: pairs of a domain and the id of its first token, from which the others count on; or of whatever has a name
            and a grammar, and the ids of all tokens that the grammar speaks of.
        max_length: tokens that a row may have, prompt included, as for `generate`; None ends no document early.
        only: nothing but one document of the domain of this name is written, from where the prompt ends on; a prompt
            may hold the beginning of it. None writes documents where the model opens them.
        eos_token_id: what follows after the document where `only` is given; ids that may end a text.

    Raises:
        VocabularyError: `only` names no domain here, or names one and no eos is given.
    """

    def __init__(
        self,
        domains: Sequence[tuple[Written, int | np.ndarray]],
        max_length: int | None = None,
        only: str | None = None,
        eos_token_id: int | Sequence[int] | None = None,
    ) -> None:
        self._domains = [
            (domain, np.arange(ids, ids + domain.grammar.size) if isinstance(ids, int) else ids)
            for domain, ids in domains
        ]
        names = [domain.name for domain, _ in self._domains if domain.grammar.written_by_ids]
        if only is not None and (only not in names or eos_token_id is None):
            raise VocabularyError(f"only={only!r} needs one of the domains {names} and an eos_token_id")
        self._only = None if only is None else [domain.name for domain, _ in self._domains].index(only)
        self._max_length = max_length
        ends = [] if eos_token_id is None else [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
        self._ends = ends
        self._least = max((int(ids.max()) + 1 for _, ids in self._domains), default=0)
        self._owner = np.full(self._least, -1)  # of each id, the number of its domain
        self._token = np.zeros(self._least, dtype=np.int64)  # and which token it is there
        for number, (_, ids) in enumerate(self._domains):
            self._owner[ids], self._token[ids] = number, np.arange(len(ids))
        self._shortest = max(
            (domain.grammar.distance(domain.grammar.start()) for domain, _ in self._domains), default=0
        )
        self._places: dict[int, dict[tuple[int, ...], _Place]] = {}  # by the length of the rows, by the rows
        self._prompt = 0
        self._forbidden = lru_cache(MASKS)(self._forbid)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Take away what may not follow.

        Args:
            input_ids: [B, T] ids so far.
            scores: [B, V] scores of the next.

        Returns:
            [B, V] scores, minus infinity for ids that may not follow.

        Raises:
            VocabularyError: a prompt holds what is no beginning of a document, or ends in one for which `max_length`
                leaves too little room; or there are fewer scores than ids.
        """
        size, length = scores.shape[1], input_ids.shape[1]
        if size < self._least:
            raise VocabularyError(
                f"the model gives scores of {size} ids, and the ids of the domains end at {self._least - 1}: it is not the "
                "model of this tokenizer"
            )
        rows = [tuple(row) for row in input_ids.tolist()]
        here, before = (self._places.get(each, {}) for each in (length, length - 1))
        if not any(row in here or row[:-1] in before for row in rows):
            self._prompt, self._places = length, {}  # these are the first ids after a prompt
        places = [self._place(row) for row in rows]
        if length == self._prompt:
            self._check_room(places)
        # assisted generation goes back by some ids when its guesses were wrong
        self._places = {each: known for each, known in self._places.items() if each + LOOK_BACK > length}
        forbidden = torch.stack([self._forbidden(place, self._room(place, length), size) for place in places])
        return scores.masked_fill(forbidden.to(scores.device), -torch.inf)  # type: ignore[return-value]

    def is_possible(self, row: torch.Tensor) -> bool:
        """Say whether a row is one that may be, not a beam of no probability.

        Args:
            row: [T] ids, of those that it has just been called with.

        Returns:
            Whether it is.
        """
        return self._place(tuple(row.tolist())) != IMPOSSIBLE

    def _place(self, row: tuple[int, ...]) -> _Place:
        here = self._places.setdefault(len(row), {})
        found = here.get(row)
        if found is None:
            before = self._places.get(len(row) - 1, {}).get(row[:-1])
            found = here[row] = self._read(row) if before is None else self._written(before, row[-1])
        return found

    def _read(self, row: tuple[int, ...]) -> _Place:
        """The place at the end of a row of which nothing was seen before."""
        place = _Place(None)
        for at, index in enumerate(row[: self._prompt]):
            try:
                place = self._after(place, index)
            except VocabularyError as error:
                raise VocabularyError(f"id {index} at place {at} of the prompt: {error}") from error
        place = self._begun(place)
        for index in row[self._prompt :]:
            place = self._written(place, index)
        return place

    def _written(self, before: _Place, index: int) -> _Place:
        """The place after an id that was generated."""
        if before.ended:
            return before
        try:
            place = self._after(before, index)
        except VocabularyError:  # a beam of no probability, by which a search is filled up where little may follow
            return IMPOSSIBLE
        return place._replace(ended=self._only is not None and place.inside is None)

    def _check_room(self, places: Sequence[_Place]) -> None:
        for place in places:
            room = self._room(place, self._prompt)
            if room is not None and place.inside is not None:
                needed = self._domains[place.inside][0].grammar.distance(place.state)
                if room < needed:
                    raise VocabularyError(
                        f"max_length={self._max_length} leaves room for {room} tokens after the prompt, and its document "
                        f"needs {needed} to be well-formed; raise max_length"
                    )

    def _room(self, place: _Place, length: int) -> int | None:
        """Tokens that may still follow, None where it does not matter how many."""
        if self._max_length is None or place.ended:
            return None
        room = self._max_length - length
        if place.inside is None:
            return min(room, self._shortest)
        grammar = self._domains[place.inside][0].grammar
        return None if room > grammar.distance(place.state) + grammar.longest_step else room

    def _begun(self, place: _Place) -> _Place:
        """The place at the end of the prompt, where the only document begins unless the prompt has its beginning."""
        return place if self._only is None or place.inside is not None else self._opened(self._only)

    def _opened(self, number: int) -> _Place:
        return _Place(number, self._domains[number][0].grammar.start())

    def _after(self, place: _Place, index: int) -> _Place:
        """The place after one more id."""
        number = self._domain_of(index)
        if place.inside is None:
            if number is None:
                return place
            place = self._opened(number)
        elif number != place.inside:
            return place  # padding, or an id that was forced from elsewhere
        assert place.inside is not None
        grammar = self._domains[place.inside][0].grammar
        state = grammar.advance(place.state, int(self._token[index]))
        return _Place(None) if grammar.complete(state) else _Place(place.inside, state)

    def _domain_of(self, index: int) -> int | None:
        number = int(self._owner[index]) if 0 <= index < self._least else -1
        return None if number < 0 else number

    def _forbid(self, place: _Place, room: int | None, size: int) -> torch.Tensor:
        """Whether each id may not follow, [V] bool."""
        allowed = np.full(size, place.inside is None and not place.ended)
        if place.inside is not None:
            domain, ids = self._domains[place.inside]
            grammar = domain.grammar
            allowed[ids] = grammar.allowed(place.state) if room is None else grammar.within(place.state, room)
        elif place.ended:
            allowed[self._ends] = True
        else:
            for domain, ids in self._domains:
                grammar, beginning = domain.grammar, domain.grammar.start()
                allowed[ids] = False
                allowed[ids[0]] = grammar.written_by_ids and (room is None or room >= grammar.distance(beginning))
        return torch.from_numpy(~allowed)
