"""Small figures for reports; drawn with matplotlib's Agg backend, no global state is touched."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from hf_tokext.errors import MissingExtraError

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SOURCE_COLOURS = dict(zip(("anchor", "role", "approximate", "compose", "override", "fallback"), COLOURS, strict=False))


def figure(width: float = 6.4, height: float = 4.0) -> tuple[Any, Any]:
    """An empty figure and its axes, apart from pyplot's state.

    Args:
        width: in inches.
        height: in inches.

    Returns:
        Matplotlib's Figure and its Axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "drawing a figure") from error
    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return drawn, axes


def save(drawn: Any, path: str | PathLike[str]) -> None:
    """Write a figure as PNG, 150 dots an inch.

    Args:
        drawn: what `figure` made.
        path: the file.
    """
    drawn.savefig(path, dpi=150, format="png")


def plot_recovery(
    path: str | PathLike[str],
    curves: Mapping[str, Sequence[tuple[int, float]]],
    untouched: float | None = None,
) -> None:
    """Draw held-out bits per byte against tokens seen.

    Args:
        path: PNG to write.
        curves: name of each run -> its points (tokens seen, bits per byte).
        untouched: bits per byte of the model before its vocabulary changed, drawn as a level.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn, axes = figure()
    for (name, points), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=name)
    if len(curves) == 1:
        points = next(iter(curves.values()))
        for (tokens, bits), side in ((points[0], "left"), (points[-1], "right")):
            axes.annotate(f"{bits:.3f}", (tokens, bits), xytext=(0, 7), textcoords="offset points", ha=side, fontsize=9)
    if untouched is not None:
        axes.axhline(untouched, color="0.35", linestyle="--", linewidth=1, label=f"untouched model ({untouched:.3f})")
    axes.set(xlabel="tokens seen", ylabel="held-out bits per byte (lower is better)", title="Recovery")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(y=0.12)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False)
    save(drawn, path)


def plot_before_after(
    path: str | PathLike[str],
    groups: Mapping[str, Mapping[str, float]],
    ylabel: str,
    title: str = "Before and after",
) -> None:
    """Draw bars side by side for every text, with their figures on top.

    Args:
        path: PNG to write.
        groups: name of each text -> name of each model -> figure; every text has the same models.
        ylabel: what the figures are, with their unit.
        title: of the figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    models = list(next(iter(groups.values())))
    drawn, axes = figure(width=max(4.8, 1.2 + 0.75 * len(groups) * len(models)))
    width = 0.8 / len(models)
    for index, (model, colour) in enumerate(zip(models, COLOURS * len(models), strict=False)):
        places = [group + (index - (len(models) - 1) / 2) * width for group in range(len(groups))]
        heights = [figures[model] for figures in groups.values()]
        bars = axes.bar(places, heights, width * 0.92, color=colour, label=model)
        axes.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set(ylabel=ylabel, title=title)
    axes.margins(y=0.15)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(models))
    save(drawn, path)


def plot_sources(
    path: str | PathLike[str],
    counts: Mapping[str, int],
    residuals: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Draw where the rows of a new vocabulary came from, and how well those that were made are explained.

    Args:
        path: PNG to write.
        counts: word of the plan (anchor, role, approximate, ...) -> ids.
        residuals: word of the plan -> residual of every id (0 exact, 1 nothing explained); None draws bars only.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    shown = {name: list(values) for name, values in (residuals or {}).items() if len(values)}
    drawn, axes = figure(width=9.6 if shown else 6.4, height=3.6)
    if shown:
        drawn.clear()
        axes, right = drawn.subplots(1, 2)
        right.spines[["top", "right"]].set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        highest = max(1.0, *(max(values) for values in shown.values()))
        for index, (name, values) in enumerate(shown.items()):
            right.hist(values, bins=40, range=(0, highest), alpha=0.75, color=_colour(name, index), label=name)
        right.set(
            xlabel="residual (0 exact, 1 nothing explained)", ylabel="ids", title="How well made rows are explained"
        )
        right.legend(frameon=False)
    names = sorted(counts, key=lambda name: counts[name])
    total = sum(counts.values()) or 1
    colours = [_colour(name, index) for index, name in enumerate(names)]
    bars = axes.barh(names, [counts[name] for name in names], color=colours)
    axes.bar_label(bars, [f"{counts[name]:,} ({counts[name] / total:.1%})" for name in names], fontsize=9, padding=3)
    axes.set(xlabel="ids", title="Where the rows came from")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.3)
    save(drawn, path)


def plot_losses(path: str | PathLike[str], curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Draw losses against steps.

    Args:
        path: PNG to write.
        curves: name of each -> its points (step, loss); empty ones are left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn, axes = figure()
    shown = {name: points for name, points in curves.items() if points}
    for (name, points), colour in zip(shown.items(), COLOURS * len(shown), strict=False):
        marker = "o" if len(points) < 20 else None
        axes.plot(*zip(*points, strict=True), marker=marker, markersize=4, color=colour, label=name)
    losses = [loss for points in shown.values() for _, loss in points]
    if losses and min(losses) > 0:
        axes.set_yscale("log")
    axes.set(xlabel="step", ylabel="loss (lower is better)", title="Training")
    axes.grid(axis="y", which="both", color="0.9")
    axes.legend(frameon=False)
    save(drawn, path)


def plot_pairs(path: str | PathLike[str], pairs: Sequence[tuple[Any, Any]]) -> None:
    """Draw pictures in a row, and what came back of each below it.

    Args:
        path: PNG to write.
        pairs: pictures, each [height, width] or [height, width, 3] in 0 to 1.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn, _ = figure(width=1.4 * max(len(pairs), 2), height=3.2)
    drawn.clear()
    axes = drawn.subplots(2, len(pairs), squeeze=False)
    for column, pair in enumerate(pairs):
        for row, (picture, name) in enumerate(zip(pair, ("held out", "came back"), strict=True)):
            axes[row, column].imshow(
                picture, cmap="gray", vmin=0, vmax=1, aspect="auto" if picture.ndim == 2 else "equal"
            )
            axes[row, column].set(xticks=[], yticks=[])
            if not column:
                axes[row, column].set_ylabel(name)
    save(drawn, path)


def _colour(name: str, index: int) -> str:
    return SOURCE_COLOURS.get(name, COLOURS[index % len(COLOURS)])
