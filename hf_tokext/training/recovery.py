"""How much a model recovers while it is healed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from hf_tokext.measure import bits_per_byte

KEY = "held_out_bits_per_byte"


@dataclass(frozen=True)
class RecoveryPoint:
    """The model on held-out text after some steps.

    Attributes:
        step: optimizer steps taken.
        tokens_seen: ids learned from until then, opening ids included, repeats counted.
        bits_per_byte: on the held-out text.
    """

    step: int
    tokens_seen: int
    bits_per_byte: float


@dataclass(frozen=True)
class HealReport:
    """What a healing run did.

    Attributes:
        train: "rows", "lora" or "all".
        steps: optimizer steps.
        tokens_seen: ids learned from, opening ids included, repeats counted.
        passes: how often the text was gone through.
        learning_rate: the peak.
        seed: seed of everything random.
        trained_parameters: numbers that were learned.
        parameters: numbers of the model.
        seconds: wall time of this run; after a resumption, of its last part.
        resumed_from: step that the run went on from, or None.
        losses: mean training loss in nats per token, at every step.
        curve: held-out bits per byte, from before the first step to after the last; empty without held-out text.
    """

    train: str
    steps: int
    tokens_seen: int
    passes: float
    learning_rate: float
    seed: int
    trained_parameters: int
    parameters: int
    seconds: float
    resumed_from: int | None = None
    losses: list[float] = field(default_factory=list)
    curve: list[RecoveryPoint] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """A section for people, with the recovery curve as a table."""
        lines = [
            "",
            "# Healing",
            "",
            f"Trained: {self.train}, {self.trained_parameters:,} of {self.parameters:,} numbers.",
        ]
        lines += [f"{self.steps:,} steps, {self.tokens_seen:,} tokens seen, {self.passes:.2f} passes over the text."]
        if self.curve:
            lines += ["", "| step | tokens seen | held-out bits per byte |", "|---:|---:|---:|"]
            lines += [f"| {p.step:,} | {p.tokens_seen:,} | {p.bits_per_byte:.4f} |" for p in self.curve]
        return "\n".join(lines) + "\n"


class Recovery(TrainerCallback):
    """Measures bits per byte on held-out text before the first step, at intervals, and after the last.

    The points live in the trainer's own log, which it stores in every checkpoint: a resumed run keeps its curve.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], every: int, window: int
    ) -> None:
        self.model, self.tokenizer, self.texts = model, tokenizer, texts
        self.every, self.window = every, window

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the model as it came, unless the run is a resumed one."""
        if state.global_step == 0:
            self._measure(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure at the interval and after the last step."""
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._measure(state)

    def _measure(self, state: TrainerState) -> None:
        found = bits_per_byte(self.model, self.tokenizer, self.texts, window=self.window)
        tokens = int(state.num_input_tokens_seen)
        state.log_history.append({"step": state.global_step, "seen": tokens, KEY: found.bits_per_byte})


def curve_of(state: TrainerState) -> list[RecoveryPoint]:
    """The points that `Recovery` left in a trainer's log.

    Args:
        state: the trainer's state.

    Returns:
        The points, in the order of their steps.
    """
    return [
        RecoveryPoint(int(entry["step"]), int(entry["seen"]), float(entry[KEY]))
        for entry in state.log_history
        if KEY in entry
    ]
