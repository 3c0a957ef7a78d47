"""Plots, as PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.files import placing
from scvec.core.types import Strings
from scvec.evaluation.metrics import Rejection, Trust, wilson
from scvec.evaluation.result import Evaluation

DPI = 160
DASHES = (0, (4, 3))
INK, FAINT, GREY = "#22272e", "#d5d9de", "#6b737d"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1")
"""Distinct for colour-blind readers too: Okabe and Ito's palette without yellow, and one more."""
CONTROL_SHAPES = ("o", "^", "D", "v", "p", "h", "<", ">")


def confusion(evaluation: Evaluation, path: Path, title: str) -> None:
    """Draw what each class's cells were called, as shares of the class, with the counts."""
    rows, columns = evaluation.classes, evaluation.called
    shares = evaluation.confusion / np.maximum(evaluation.support, 1)[:, None]

    def draw(plt: Any) -> Any:
        figure, axes = plt.subplots(figsize=(2.6 + 0.46 * len(columns), 2.2 + 0.40 * len(rows)), layout="constrained")
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in zip(*np.nonzero(evaluation.confusion), strict=True):
            colour = "white" if shares[i, j] > 0.55 else INK
            axes.text(j, i, f"{evaluation.confusion[i, j]}", ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(
            range(len(rows)),
            [f"{one} ({n})" for one, n in zip(rows, evaluation.support, strict=True)],
            fontsize=8,
        )
        axes.set_xlabel("called")
        axes.set_ylabel("author's label (cells)")
        axes.set_title(
            f"{title}\naccuracy {evaluation.accuracy:.3f}, macro-F1 {evaluation.macro_f1:.3f}",
            fontsize=10,
            loc="left",
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="share of the class", fraction=0.035, pad=0.02).outline.set_visible(False)
        return figure

    _save(draw, path)


def scatter(
    points: NDArray[np.float32],
    background: NDArray[np.bool_],
    panels: Sequence[tuple[str, Strings, NDArray[np.bool_]]],
    path: Path,
    title: str,
) -> None:
    """Draw the same points once for each panel, coloured by the panel's labels.

    Parameters
    ----------
    points
        (n, 2) coordinates.
    background
        (n,) True for points shown in grey, without a label.
    panels
        Title and (n,) labels of each panel, and (n,) True for points to ring.
    path
        The PNG.
    title
        Over all panels.
    """
    shown = ~background
    labels = sorted({one for _, values, _ in panels for one in values[shown].tolist()})

    def draw(plt: Any) -> Any:
        colours = dict(zip(labels, _palette(plt, len(labels)), strict=True))
        figure, axes = plt.subplots(
            1, len(panels), figsize=(4.6 * len(panels) + 2.4, 4.9), layout="constrained", squeeze=False
        )
        for one, (heading, values, ringed) in zip(axes[0], panels, strict=True):
            one.scatter(*points[background].T, s=9, c=FAINT, linewidths=0)
            for chosen, edge, width in ((shown & ~ringed, "white", 0.3), (shown & ringed, INK, 1.1)):
                one.scatter(
                    *points[chosen].T,
                    s=22,
                    c=[colours[v] for v in values[chosen]],
                    linewidths=width,
                    edgecolors=edge,
                )
            one.set_title(heading, fontsize=10, loc="left")
            one.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
            one.spines[:].set_color(FAINT)
        keys = [plt.Line2D([], [], marker="o", ls="", ms=7, color=colours[name], label=name) for name in labels]
        keys.append(plt.Line2D([], [], marker="o", ls="", ms=5, color=FAINT, label="reference cells"))
        figure.legend(handles=keys, loc="outside right center", frameon=False, fontsize=8)
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
        return figure

    _save(draw, path)


def dots(
    tasks: Sequence[str],
    methods: Sequence[tuple[str, str]],
    values: NDArray[np.float64],
    path: Path,
    title: str,
    said: str = "median over the seeds; the line is the range",
) -> None:
    """Draw each method's value on each task, with its range or interval as a line.

    Parameters
    ----------
    tasks
        From top to bottom.
    methods
        Name and kind: a baseline (``"control"``) is hollow and grey, a peer is square.
    values
        (m, t, 3) the value, and the ends of its line, 0 to 1; NaN where there is none.
    path
        The PNG.
    title, said
        Over all; and below, what a value and its line are.
    """
    styles = _styles([kind for _, kind in methods])
    step = 0.8 / max(1, len(methods))

    def draw(plt: Any) -> Any:
        height = 1.3 + max(0.17 * len(methods) * len(tasks) + 0.12 * len(tasks), 0.2 * len(methods))
        width = 6.5 + 0.068 * max(len(name) for name, _ in methods)
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        for i, (name, _) in enumerate(methods):
            places = np.arange(len(tasks)) - 0.4 + step * (i + 0.5)
            median, least, largest = values[i].T
            colour = styles[i]["markeredgecolor"]
            axes.hlines(places, least, largest, color=colour, linewidth=1.2, zorder=2)
            axes.plot(median, places, linestyle="", label=name, zorder=3, **styles[i])
        for i in range(len(tasks)):
            axes.axhspan(i - 0.5, i + 0.5, color=FAINT, alpha=0.28 * (i % 2 == 0), linewidth=0, zorder=0)
        axes.set_yticks(range(len(tasks)), tasks, fontsize=9)
        axes.set_ylim(len(tasks) - 0.5, -0.5)
        axes.set_xlim(max(0.0, np.floor(10 * np.nanmin(values, initial=1) - 0.2) / 10), 1.01)
        axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=1)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(said, fontsize=9)
        axes.set_title(title, fontsize=11, loc="left")
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        return figure

    _save(draw, path)


def reliability(trust: Trust, path: Path, title: str) -> None:
    """Draw the share of calls that were right by their confidence, with 95 % intervals, and the numbers of calls."""
    bins = trust.reliability
    edges = np.linspace(0, 1, len(bins.count) + 1)
    here = bins.count > 0
    confidence, right = bins.confidence[here], bins.right[here]
    spread = np.abs(wilson(right, bins.count[here]) - right)

    def draw(plt: Any) -> Any:
        layout = {"height_ratios": (4, 1), "sharex": True, "layout": "constrained"}
        figure, (upper, lower) = plt.subplots(2, 1, figsize=(5.2, 6.4), **layout)
        upper.plot((0, 1), (0, 1), color=GREY, linewidth=1, linestyle=DASHES, label="perfect calibration")
        style = {"marker": "o", "markersize": 5, "linestyle": "", "elinewidth": 1.2}
        upper.errorbar(confidence, right, spread, color=COLOURS[0], label="these calls, 95 % interval", **style)
        upper.set(xlim=(0, 1.02), ylim=(-0.03, 1.03))
        upper.set_ylabel("share right", fontsize=9)
        lower.bar(edges[:-1], bins.count, width=np.diff(edges), align="edge", color=COLOURS[0], edgecolor="white")
        lower.set_yscale("log")
        lower.set_ylim(bottom=0.7)
        lower.set_ylabel("cells", fontsize=9)
        lower.set_xlabel("confidence", fontsize=9)
        upper.set_title(f"{title}\nexpected calibration error {bins.ece:.3f}", fontsize=10, loc="left")
        _plain(figure, upper, lower)
        return figure

    _save(draw, path)


def coverage(trust: Trust, rejection: Rejection | None, path: Path, title: str) -> None:
    """Draw the accuracy of the most confident calls against their share, and the point that rejection reached."""
    curve, lows = trust.risk_coverage, [float(trust.risk_coverage.accuracy.min())]

    def draw(plt: Any) -> Any:
        figure, axes = plt.subplots(figsize=(5.8, 4.6), layout="constrained")
        axes.plot(curve.coverage, curve.accuracy, color=COLOURS[0], linewidth=1.8, label="the most confident calls")
        if rejection is not None and rejection.max_error is not None:
            lows.append(1 - rejection.max_error)
            label = f"error asked for: {rejection.max_error:.1%}"
            axes.axhline(lows[-1], color=GREY, linewidth=1, linestyle=DASHES, label=label)
        if rejection is not None and rejection.error is not None:
            lows.append(1 - rejection.error)
            style = {"color": COLOURS[1], "marker": "D", "markersize": 7, "linestyle": ""}
            axes.plot(rejection.coverage, lows[-1], label="what was called", **style)
        room = max(0.08 * (1 - min(lows)), 0.004)
        axes.set(xlim=(0, 1.02), ylim=(min(lows) - room, 1 + room))
        axes.set_xlabel("coverage: share of the cells of known types that are called", fontsize=9)
        axes.set_ylabel("share of these called right", fontsize=9)
        axes.set_title(title, fontsize=10, loc="left")
        _plain(figure, axes)
        return figure

    _save(draw, path)


def learning(history: Sequence[Mapping[str, float]], path: Path, title: str) -> None:
    """Draw the losses of a training by epoch, macro-F1 on held-out cells below them, and which epoch was kept."""
    epochs = [one["epoch"] for one in history]
    kept = min(history, key=lambda one: one["validation_loss"])

    def draw(plt: Any) -> Any:
        layout = {"height_ratios": (3, 2), "sharex": True, "layout": "constrained"}
        figure, (upper, lower) = plt.subplots(2, 1, figsize=(5.8, 5.6), **layout)
        style = {"marker": "o", "markersize": 4, "linewidth": 1.6}
        for key, label, colour in zip(
            ("loss", "validation_loss"), ("training", "cells held out"), COLOURS, strict=False
        ):
            upper.plot(epochs, [one[key] for one in history], color=colour, label=label, **style)
        lower.plot(epochs, [one["macro_f1"] for one in history], color=COLOURS[1], **style)
        for axes in (upper, lower):
            axes.axvline(kept["epoch"], color=GREY, linewidth=1, linestyle=DASHES, label="kept epoch")
        upper.set_ylim(bottom=0)
        upper.set_ylabel("cross-entropy", fontsize=9)
        lower.set(ylim=(-0.03, 1.03))
        lower.set_ylabel("macro-F1, cells held out", fontsize=9)
        lower.set_xlabel("epoch", fontsize=9)
        lower.xaxis.get_major_locator().set_params(integer=True)
        upper.set_title(f"{title}\nmacro-F1 {kept['macro_f1']:.3f} on cells held out", fontsize=10, loc="left")
        _plain(figure, upper, lower)
        return figure

    _save(draw, path)


def _plain(figure: Any, *panels: Any) -> None:
    """Remove from plots what is not data, and put the legend of the first one below them all."""
    for axes in panels:
        axes.grid(color=FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", length=0, labelsize=8)
        axes.spines[:].set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8
    )


def _styles(kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return the style of each method: a colour for each recipe and peer, a shape for each baseline."""
    colours, shapes = cycle(COLOURS), cycle(CONTROL_SHAPES)
    styles = []
    for kind in kinds:
        if kind == "control":
            style = {"marker": next(shapes), "markersize": 5.5, "markerfacecolor": "white", "markeredgecolor": GREY}
        else:
            colour = next(colours)
            shape = ("s", 5.5) if kind == "peer" else ("o", 7)
            style = dict(zip(("marker", "markersize"), shape, strict=True))
            style |= {"markerfacecolor": colour, "markeredgecolor": colour}
        styles.append(style)
    return styles


def _palette(plt: Any, n: int) -> list[Any]:
    base = [*plt.get_cmap("tab10").colors, *plt.get_cmap("Set2").colors]
    return [base[i] for i in range(n)] if n <= len(base) else list(plt.get_cmap("turbo")(np.linspace(0.03, 0.97, n)))


def _save(draw: Callable[[Any], Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = draw(plt)
    try:
        with placing(path) as part:
            figure.savefig(part, format="png", dpi=DPI, facecolor="white")
    finally:
        plt.close(figure)
