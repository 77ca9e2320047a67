"""What was done to a model, as JSON, Markdown and a plot."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import MissingExtraError
from hf_tokext.measure.plots import plot_sources
from hf_tokext.transplant.cost import Cost
from hf_tokext.transplant.origin import Origin
from hf_tokext.transplant.plan import Plan

REPORT_JSON = "hf_tokext_report.json"
REPORT_MARKDOWN = "hf_tokext_report.md"
REPORT_PLOT = "hf_tokext_report.png"

MEANING = {
    "override": "the rows of the text that you named for it (--map), or that describes it (extend)",
    "role": "copied from the old token of the same role",
    "anchor": "copied from the old token of the same bytes",
    "approximate": "made by the row method from the donor's or word-vector space",
    "compose": "made by the row method from the old tokens of the same bytes",
    "fallback": "mean row: the old tokenizer cannot spell it",
    "quiet": "never produced by the tokenizer, or padding: held at negligible probability",
}


@dataclass(frozen=True)
class Report:
    """What was done.

    Attributes:
        method: the row method used.
        rows: rows of the new tables.
        base_rows: ids of the old tokenizer.
        counts: how many ids come from where.
        sources: for every id where its row comes from.
        residuals: residual of each made id, where the method has one.
        tied: whether embedding and head are one matrix.
        calibrated: whether made and quiet rows were shifted by the head's direction or bias.
        warnings: what a user should know.
        text: bytes, and tokens before and after, of the user's text; empty without one.
        verification: what was proved of the finished folder; empty for objects.
        cost: what the transplant would cost, after a dry run; None otherwise.
        base: where the model came from, with its licence.
        donor: where the tokenizer came from, with its licence.
    """

    method: str
    rows: int
    base_rows: int
    counts: dict[str, int]
    sources: list[str] = field(repr=False)
    residuals: dict[int, float] = field(repr=False)
    tied: bool
    calibrated: bool
    warnings: list[str]
    text: dict[str, Any] = field(default_factory=dict)
    verification: dict[str, Any] = field(default_factory=dict)
    cost: Cost | None = None
    base: Origin | None = None
    donor: Origin | None = None

    @classmethod
    def of(cls, plan: Plan, residuals: dict[int, float], *, tied: bool, calibrated: bool, **more: Any) -> "Report":
        """Sum a finished plan up."""
        warnings = list(plan.warnings)
        if plan.counts.get("fallback"):
            warnings.append(f"{plan.counts['fallback']} new ids have no spelling in the old vocabulary: mean rows")
        if not calibrated and (plan.made or plan.quiet):
            warnings.append("not calibrated: made rows take more probability than they should; quiet ids take some")
        return cls(
            method=plan.method,
            rows=plan.rows,
            base_rows=len(plan.base),
            counts=plan.counts,
            sources=list(plan.source),
            residuals={i: round(value, 6) for i, value in residuals.items()},
            tied=tied,
            calibrated=calibrated,
            warnings=warnings,
            **more,
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return asdict(self) | {"hf_tokext": _own_version()}

    def to_markdown(self) -> str:
        """The report for people."""
        lines = ["# What the transplant did", ""]
        if self.base and self.donor:
            lines += [f"Base: `{self.base.name}`. Tokenizer: `{self.donor.name}`.", ""]
        lines += [f"Row method `{self.method}`, {self.rows:,} rows.", ""]
        lines += ["| where rows come from | ids | |", "|---|---:|---|"]
        lines += [f"| {name} | {count:,} | {MEANING[name]} |" for name, count in self.counts.items()]
        if self.text:
            before, after, size = self.text["tokens_before"], self.text["tokens_after"], self.text["bytes"]
            lines += ["", f"On your text ({size:,} bytes): {before:,} tokens before, {after:,} after "
                      f"({before / size:.3f} -> {after / size:.3f} tokens per byte, {after / before - 1:+.1%})."]  # fmt: skip
        if self.cost:
            lines += ["", "What it will cost:", *(f"* {line}" for line in self.cost.lines())]
        if self.warnings:
            lines += ["", "Warnings:", *(f"* {warning}" for warning in self.warnings)]
        if self.verification:
            lines += ["", "Proved on the finished folder:", *(f"* {k}: {v}" for k, v in self.verification.items())]
        return "\n".join(lines) + "\n"

    def save(self, folder: Path, *, plot: bool = True) -> None:
        """Write the report into a folder as JSON, Markdown and, where matplotlib is installed, one plot."""
        (folder / REPORT_JSON).write_text(json.dumps(self.to_dict()), encoding="utf-8")
        (folder / REPORT_MARKDOWN).write_text(self.to_markdown(), encoding="utf-8")
        if plot:
            found: dict[str, list[float]] = {}
            for index, value in self.residuals.items():
                found.setdefault(self.sources[index], []).append(value)
            with suppress(MissingExtraError):
                plot_sources(folder / REPORT_PLOT, self.counts, found)


def token_counts(
    old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, texts: Sequence[str] | None
) -> dict[str, Any]:
    """Count the bytes of a user's texts, and their tokens before and after; empty without texts."""
    if not texts:
        return {}
    before, after = (sum(len(t(text, add_special_tokens=False)["input_ids"]) for text in texts) for t in (old, new))
    return {"bytes": sum(len(text.encode()) for text in texts), "tokens_before": before, "tokens_after": after}


def _own_version() -> str:
    try:
        return version("hf-tokext")
    except PackageNotFoundError:
        return "source tree"
