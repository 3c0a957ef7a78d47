"""Pictures, as PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.errors import missing
from scvec.evaluation import Evaluation
from scvec.files import placing
from scvec.types import Strings

DPI = 160
INK, FAINT = "#22272e", "#d5d9de"


def require() -> None:
    """Raise `MissingDependencyError` if pictures cannot be drawn; asked before any work is done."""
    if find_spec("matplotlib") is None:
        raise missing("matplotlib", "report", "pictures")


def confusion(evaluation: Evaluation, path: Path, title: str) -> None:
    """Draw where each class's cells went, as shares of the class, with counts in the cells that matter."""
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
    """Draw the same points once for each panel, coloured by its labels.

    Parameters
    ----------
    points
        (n, 2) coordinates.
    background
        (n,) True for points shown in grey, without a label.
    panels
        Title and (n,) labels of each, and (n,) True for points to ring.
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


def _palette(plt: Any, n: int) -> list[Any]:
    base = [*plt.get_cmap("tab10").colors, *plt.get_cmap("Set2").colors]
    return [base[i] for i in range(n)] if n <= len(base) else list(plt.get_cmap("turbo")(np.linspace(0.03, 0.97, n)))


def _save(draw: Callable[[Any], Any], path: Path) -> None:
    require()
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = draw(plt)
    try:
        with placing(path) as part:
            figure.savefig(part, format="png", dpi=DPI, facecolor="white")
    finally:
        plt.close(figure)
