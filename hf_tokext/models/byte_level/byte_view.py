"""A token model read one byte at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.contexts import Context, TokenRunner, token_runner
from hf_tokext.models.byte_level.covers import Covers, Reading
from hf_tokext.models.byte_level.heads import Head
from hf_tokext.models.byte_level.measures import MEASURES, AllStrings, Canonical, Measure


class ByteView:
    """Byte probabilities of a causal LM under a declared measure.

    Args:
        model: a causal LM of transformers.
        tokenizer: its tokenizer, backed by a tokenizer.json.
        measure: "all_strings", or "canonical".
        tolerance: share of the probability below which a token sequence is dropped; 0 drops none.
        runner: how the model is run; by default the fastest way that is proved to give the same as plain sequences.

    Attributes:
        base: the base's tokens.
        measure: as given.
        tolerance: as given.

    Raises:
        VocabularyError: the bytes of the ids cannot be read, or the model has fewer rows than ids.
        UnsupportedModelError: the measure is unknown, or the tokenizer's viable sequences are.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        measure: str = "all_strings",
        tolerance: float = 1e-3,
        runner: TokenRunner | None = None,
    ) -> None:
        check_settings(measure, tolerance)
        self.base = BaseTokens(tokenizer)
        self.tolerance = tolerance
        self.measure = measure
        self._measure = _measure(measure, self.base)
        rows = model.config.get_text_config().vocab_size
        used = max(self.base.vocabulary.ids)
        if used >= rows:
            raise VocabularyError(
                f"the tokenizer has id {used}, and the model {rows} rows; they do not belong together"
            )
        self.runner = runner or token_runner(model)

    def texts(self, count: int) -> list[Covers]:
        """Begin texts.

        Args:
            count: how many.

        Returns:
            Their covers.
        """
        device, longest = self.runner.model.device.type, self.runner.longest
        return [Covers(self.base, self._measure, self.tolerance, device, longest) for _ in range(count)]

    def read(
        self, texts: Sequence[Covers], events: Sequence[Sequence[int]], every: bool = False, whole: bool = False
    ) -> list[Reading]:
        """Read each text on, all in the same passes of the model.

        Args:
            texts: N texts.
            events: what each goes on with: bytes, and from 256 on markers.
            every: also say what comes after each event.
            whole: only the sums of the log probabilities are wanted, which takes fewer tokens where not all strings count.

        Returns:
            N readings.

        Raises:
            TextError: a text is longer than the model's context, or has too many spellings; all are as they were then.
        """
        found: dict[int, Reading] = {}
        forks = [text.fork() for text in texts]
        work = {i: fork.read(part, every, whole) for i, (fork, part) in enumerate(zip(forks, events, strict=True))}
        while work:
            wanted: dict[Context, tuple[Covers, Head]] = {}
            for i, each in list(work.items()):
                try:
                    wanted |= {head.context: (forks[i], head) for head in next(each)}
                except StopIteration as done:
                    found[i] = done.value
                    del work[i]

            def take(context: Context, logits: np.ndarray, wanted: dict = wanted) -> None:
                text, head = wanted[context]
                text.take(head, logits)

            if wanted:
                self.runner.run(list(wanted), take)
        for text, fork in zip(texts, forks, strict=True):
            vars(text).update(vars(fork))
        return [found[i] for i in range(len(texts))]


def check_settings(measure: str, tolerance: float) -> None:
    """Refuse what is no measure or no share.

    Args:
        measure: "all_strings" or "canonical".
        tolerance: a share of the probability.

    Raises:
        UnsupportedModelError: the measure is unknown, or the tolerance not at least 0 and below 1.
    """
    if measure not in MEASURES:
        raise UnsupportedModelError(f"measure must be one of {', '.join(MEASURES)}, not {measure!r}")
    if not 0 <= tolerance < 1:
        raise UnsupportedModelError(f"tolerance is a share of the probability, at least 0 and below 1; not {tolerance}")


def _measure(name: str, base: BaseTokens) -> Measure:
    if name == "all_strings":
        return AllStrings(base.vocabulary)
    from hf_tokext.vocabulary.viability.families import viability_of

    return Canonical(viability_of(base.vocabulary))
