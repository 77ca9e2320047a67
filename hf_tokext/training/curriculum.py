"""Several data sets mixed by shares that change from stage to stage: first write tokens, then reason with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from transformers import BatchFeature

from hf_tokext.errors import CurriculumError
from hf_tokext.models.multimodal.placeholders import flat_values
from hf_tokext.models.multimodal.processing_multimodal import MultimodalProcessor

BREAKS = 4  # single rows in a row that do not follow each other by one step, before it is called shuffled
NOT_VALUES = ("text", "answer", "codes")  # in a row


@dataclass(frozen=True)
class Stage:
    """A part of a curriculum.

    Attributes:
        rows: how many rows it has.
        shares: by data set, its weight in the mixture; what is not named has none. Only their ratios matter.

    Raises:
        CurriculumError: there are no rows, or no weight above zero.
    """

    rows: int
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise CurriculumError(f"a stage has at least one row, not {self.rows}")
        bad = [name for name, share in self.shares.items() if not isfinite(share) or share < 0]
        if bad:
            raise CurriculumError(
                f"the share of {bad[0]!r} is a number that is not negative, not {self.shares[bad[0]]}"
            )
        if not sum(self.shares.values()):
            raise CurriculumError("a stage needs at least one data set with a share above zero")

    def counts(self) -> dict[str, int]:
        """Say how many rows of each data set there are.

        Returns:
            Numbers that add up to `rows`, each less than one from its share: what is left over by rounding down goes to the
            largest remainders.
        """
        names = sorted(self.shares)
        exact = np.array([self.shares[name] for name in names], dtype=np.float64)
        exact = exact / exact.sum() * self.rows
        found = np.floor(exact + 1e-9).astype(int)
        found[np.argsort(found - exact, kind="stable")[: self.rows - found.sum()]] += 1
        return dict(zip(names, found.tolist(), strict=True))


def annealed(rows: int, first: Mapping[str, float], last: Mapping[str, float], stages: int = 10) -> list[Stage]:
    """Go from one mixture to another in even steps.

    Args:
        rows: of all stages together.
        first: shares of the first stage.
        last: shares of the last stage.
        stages: how many; AURORA has 10.

    Returns:
        The stages, of equal length but for one row.

    Raises:
        CurriculumError: there are fewer than two stages, fewer rows than stages, or a share is impossible.

    Source: Bigverdi et al., Perception Tokens Enhance Visual Reasoning in Multimodal Language Models (arXiv 2412.03548),
        and its code.
    """
    if stages < 2 or rows < stages:
        raise CurriculumError(f"there are at least two stages, each with a row, not {stages} with {rows} rows")
    (begin, end), names = (_parts_of_one(each) for each in (first, last)), sorted({*first, *last})
    found = []
    for number in range(stages):
        done = number / (stages - 1)
        shares = {name: (1 - done) * begin.get(name, 0.0) + done * end.get(name, 0.0) for name in names}
        found.append(Stage(rows * (number + 1) // stages - rows * number // stages, shares))
    return found


def _parts_of_one(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(Stage(1, shares).shares.values())
    return {name: share / total for name, share in shares.items()}


class Curriculum(Dataset):
    """Several data sets as one, in an order that is a lesson plan: `Trainer` must take its rows as they stand.

        data = Curriculum({"draw": pictures_to_depth, "reason": questions}, annealed(20_000, {"draw": 1}, {"reason": 1}))
        Trainer(model, TrainingArguments("out", **data.arguments), train_dataset=data, data_collator=...)

    Within a stage the data sets are mixed evenly, so that every stretch has about its shares. Of each data set every row
    comes once, in an order drawn anew, before any comes again; a stage goes on where the one before left off. The order
    depends on the seed alone: a training that is resumed, and every worker and process, sees the same.

    The whole plan is one epoch; a second one begins with the first stage again. By default `Trainer` shuffles, which would
    undo the plan, and does three epochs: `arguments` says otherwise. A `DataLoader` that shuffles is refused at its first
    batch, or after a few of them where a batch is one row. Rows may be looked at by index in any order.

    Args:
        datasets: by name, anything with a length and rows by number.
        stages: the plan; a stage may not name a data set that is not there.
        seed: of the order.

    Attributes:
        arguments: what `TrainingArguments` must be told.

    Raises:
        CurriculumError: there are no stages, or one names a data set that is not there or is empty.
    """

    def __init__(self, datasets: Mapping[str, Any], stages: Sequence[Stage], seed: int = 0) -> None:
        if not stages:
            raise CurriculumError("a curriculum has at least one stage")
        named = {name for stage in stages for name, count in stage.counts().items() if count}
        missing = sorted(named - set(datasets))
        if missing:
            raise CurriculumError(f"there is no data set {missing[0]!r}; there are: {', '.join(datasets) or 'none'}")
        empty = sorted(name for name in named if not len(datasets[name]))
        if empty:
            raise CurriculumError(f"data set {empty[0]!r} is empty")
        self.datasets, self.stages, self.seed = dict(datasets), list(stages), seed
        self._names = sorted(named)
        chance = np.random.default_rng(seed)
        self._which = np.concatenate([self._mixed(stage, chance) for stage in stages])
        self._row = np.empty(len(self._which), dtype=np.int64)
        for number, name in enumerate(self._names):
            here = np.flatnonzero(self._which == number)
            size = len(self.datasets[name])
            passes = [chance.permutation(size) for _ in range(-(-len(here) // size))]
            self._row[here] = np.concatenate(passes)[: len(here)]
        self._last, self._step, self._breaks = 0, 0, 0  # of single rows that were fetched

    @property
    def arguments(self) -> dict[str, Any]:
        """What `TrainingArguments` must be told, to be given as `**curriculum.arguments`."""
        return {"train_sampling_strategy": "sequential", "num_train_epochs": 1, "remove_unused_columns": False}

    def _mixed(self, stage: Stage, chance: np.random.Generator) -> np.ndarray:
        """Numbers of the data sets of a stage's rows: each stands once in each of as many equal stretches as it has rows."""
        counts = stage.counts()
        place = [(np.arange(count) + chance.random(count)) / max(count, 1) for count in counts.values()]
        number = [np.full(count, self._names.index(name)) for name, count in counts.items() if count]
        return np.concatenate(number)[np.argsort(np.concatenate(place), kind="stable")]

    def source(self, index: int) -> tuple[str, int]:
        """Say what stands somewhere.

        Args:
            index: of a row of the curriculum; below zero from its end.

        Returns:
            The data set, and the number of the row in it.

        Raises:
            IndexError: there are fewer rows.
        """
        return self._names[self._which[index]], int(self._row[index])

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, index: int) -> Any:
        name, row = self.source(index)
        return self.datasets[name][row]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Give a batch to a `DataLoader`, which asks for it here.

        Args:
            indices: of its rows.

        Returns:
            The rows.

        Raises:
            CurriculumError: they do not follow each other.
        """
        steps = {(later - earlier) % len(self) for earlier, later in pairwise(indices)}  # the last batch may begin anew
        if len(indices) == 1:
            step = (indices[0] - self._last) % len(self)
            self._breaks = 0 if step == self._step else self._breaks + 1
            self._last, self._step = indices[0], step
        if not steps <= {1 % len(self)} or self._breaks > BREAKS:
            raise CurriculumError(
                "the rows of a curriculum are taken in their order, and these were shuffled: give "
                "TrainingArguments(train_sampling_strategy='sequential'), or **curriculum.arguments; a DataLoader of your own, "
                "shuffle=False"
            )
        return [self[index] for index in indices]


class MultimodalCollator:
    """Makes batches for a `MultimodalForCausalLM` out of rows, by its processor.

    A row is a dict: "text" with a placeholder for each thing that stands in it, "answer" with what is to be learned, and by
    modality ("image", or "images" and "audio" as the processor has it) one value or a list of them; or, encoded before,
    `"codes": {modality: [codes, ...]}`. The rows of a batch need not have the same modalities.

    Args:
        processor: of the model.
        **options: for every call of it, such as `max_length`, `truncation` or `sampling_rate`.
    """

    def __init__(self, processor: MultimodalProcessor, **options: Any) -> None:
        self.processor, self.options = processor, options

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> BatchFeature:
        """Make a batch.

        Args:
            rows: those of the batch.

        Returns:
            What the processor gives: `input_ids`, `attention_mask` and, with answers, `labels`, [B, T] each, and what the
            codecs take.

        Raises:
            CurriculumError: a row has no text, or some have an answer and others have none.
            ModalityError: a row has more or fewer values than placeholders.
        """
        bare = next((number for number, row in enumerate(rows) if "text" not in row), None)
        if bare is not None:
            has = f"has {', '.join(map(repr, rows[bare]))}" if rows[bare] else "is empty"
            raise CurriculumError(
                f"row {bare} of a batch has no 'text' but {has}; where the Trainer took it away, give "
                "TrainingArguments(remove_unused_columns=False)"
            )
        answers = [row["answer"] for row in rows if row.get("answer") is not None]
        if answers and len(answers) != len(rows):
            raise CurriculumError(
                f"{len(answers)} of {len(rows)} rows of a batch have an 'answer': give all one, or none"
            )
        texts = [row["text"] for row in rows]
        names = {key for row in rows for key in row if key not in NOT_VALUES}
        values: dict[str, Any] = {name: [_listed(row.get(name)) for row in rows] for name in sorted(names)}
        encoded = [row.get("codes") or {} for row in rows]
        codes: dict[str, Any] = {name: [_listed(row.get(name)) for row in encoded] for row in encoded for name in row}
        for name in codes.keys() & self.processor.spaces.keys():
            codes[name] = flat_values(
                self.processor.spaces[name], codes[name], [texts, answers] if answers else [texts]
            )
        return self.processor(texts, answers=answers or None, codes=codes or None, **values, **self.options)


def _listed(given: Any) -> list[Any]:
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
