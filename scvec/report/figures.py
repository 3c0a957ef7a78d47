"""Interactive figures of an overview, by plotly, for notebooks and for the HTML report.

Backgrounds are transparent and lines grey, so that figures suit light and dark pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.annotation.result import LOW_CONFIDENCE, NO_EXPRESSION, NOVEL
from scvec.core.types import Floats
from scvec.evaluation.plots import COLOURS
from scvec.evaluation.result import Evaluation
from scvec.explain import Attribution
from scvec.report.findings import Markers, Overview
from scvec.report.findings.label_quality import HeldOutCalls

if TYPE_CHECKING:
    import plotly.graph_objects as go

GREY, FAINT = "#8a929c", "rgba(138,146,156,0.35)"
SCALE = ((0.0, "rgba(138,146,156,0.12)"), (1.0, "#1f8fd6"))
"""Colours from low to high, for light and dark pages."""

TRUSTED = {
    "": ("trusted", COLOURS[0]),
    LOW_CONFIDENCE: ("low confidence", COLOURS[4]),
    NOVEL: ("novel", COLOURS[1]),
}
BANDS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Edges of ranges of confidence, for bars: most calls are in the last range."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ROW = 24
"""Height of one bar with its margin, in pixels."""


def composition(overview: Overview) -> go.Figure:
    """Return the number of cells of each label, before rejection, and how many of these calls are trusted."""
    import plotly.graph_objects as go

    calls, names = overview.calls, by_size(overview)[::-1]
    figure = go.Figure()
    for reason, (name, colour) in TRUSTED.items():
        counts = [
            int(((calls.label_before_rejection == one) & (overview.doubts.reason == reason)).sum()) for one in names
        ]
        if any(counts) or not reason:
            figure.add_bar(
                x=counts,
                y=shown(names),
                orientation="h",
                name=name,
                marker={"color": colour},
                hovertemplate="%{y}: %{x:,} " + name + "<extra></extra>",
            )
    axes = {"xaxis": {"title": "cells"}, "yaxis": {"type": "category"}}
    figure.update_layout(barmode="stack", height=110 + ROW * len(names), **axes)
    return styled(figure)


def spread(overview: Overview, values: Floats, title: str) -> go.Figure:
    """Return the distribution of (n,) `values` in each label: its quantiles at 5, 25, 50, 75 and 95 %."""
    import plotly.graph_objects as go

    names = by_size(overview)[::-1]
    low, q1, median, q3, high = np.array(
        [_quantiles(values[overview.calls.label_before_rejection == one]) for one in names]
    ).T
    figure = go.Figure()
    figure.add_box(
        y=shown(names),
        lowerfence=low,
        q1=q1,
        median=median,
        q3=q3,
        upperfence=high,
        orientation="h",
        line={"color": COLOURS[0], "width": 1.5},
        fillcolor="rgba(0,114,178,0.25)",
        showlegend=False,
    )
    axes = {"xaxis": {"title": title, "rangemode": "tozero"}, "yaxis": {"type": "category"}}
    figure.update_layout(height=110 + ROW * len(names), **axes)
    return styled(figure)


def confidences(overview: Overview) -> go.Figure:
    """Return the number of cells by range of confidence, trusted and doubtful ones apart."""
    import plotly.graph_objects as go

    ranges = [f"under {BANDS[0]}", *(f"{a} to {b}" for a, b in pairwise(BANDS)), f"{BANDS[-1]} and more"]
    figure = go.Figure()
    for reason, (name, colour) in TRUSTED.items():
        chosen = overview.calls.confidence[overview.doubts.reason == reason]
        counts = np.bincount(np.digitize(chosen[np.isfinite(chosen)], BANDS), minlength=len(ranges))
        figure.add_bar(
            x=counts,
            y=ranges,
            orientation="h",
            name=name,
            text=[f"{n:,}" if n else "" for n in counts.tolist()],
            textposition="outside",
            cliponaxis=False,
            marker={"color": colour},
            hovertemplate="confidence %{y}: %{x:,} " + name + "<extra></extra>",
        )
    axes = {"xaxis": {"title": "cells"}, "yaxis": {"title": "confidence", "type": "category"}}
    figure.update_layout(barmode="group", height=120 + 2 * ROW * len(ranges), **axes)
    return styled(figure)


def genes(found: Attribution, group: str, n_genes: int = 12) -> go.Figure:
    """Return the genes that speak most for a group's label, and those that speak most for the label compared with it.

    In each part, genes that the cells express more than usual come first, and then, hatched, those expressed less.

    Raises
    ------
    ValueError
        If there is no such group.
    """
    import plotly.graph_objects as go

    row = found.groups.tolist().index(group)
    values, lacking = found.contributions[row], found.excess[row] <= 0
    ends = np.argsort(-values, kind="stable")
    chosen = [i for i in ends[:n_genes].tolist() if values[i] > 0]
    chosen += [i for i in ends[: -n_genes - 1 : -1].tolist() if values[i] < 0]
    chosen.sort(key=lambda i: (values[i] < 0, lacking[i], -abs(values[i])))
    less = lacking[chosen]
    figure = go.Figure()
    figure.add_bar(
        x=values[chosen],
        y=shown(found.symbols[i] or found.gene_ids[i] for i in chosen),
        orientation="h",
        marker={
            "color": [COLOURS[0] if values[i] > 0 else COLOURS[1] for i in chosen],
            "pattern": {"shape": ["/" if one else "" for one in less], "fgcolor": "rgba(255,255,255,0.7)"},
        },
        customdata=[
            f"{'less' if one else 'more'} than usual; adds {abs(values[i]):.3f} for "
            + plain(str(found.label[row] if values[i] > 0 else found.against[row]))
            for i, one in zip(chosen, less, strict=True)
        ],
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )
    figure.update_layout(
        showlegend=False,
        height=90 + ROW * len(chosen),
        xaxis={"title": "contribution to the difference in similarity"},
        yaxis={"autorange": "reversed", "type": "category"},
    )
    return styled(figure)


def dots(markers: Markers) -> go.Figure:
    """Return a dot for each label and gene: larger if more cells express the gene, darker if they express it more."""
    import plotly.graph_objects as go

    n_groups, n_genes = markers.mean.shape
    group, gene = (one.ravel() for one in np.indices((n_groups, n_genes)))
    highest = np.maximum(markers.mean.max(axis=0), np.finfo(np.float32).tiny)
    share = markers.share.ravel()
    figure = go.Figure()
    figure.add_scatter(
        x=shown(markers.symbols[gene]),
        y=shown(markers.groups[group]),
        mode="markers",
        marker={
            "size": 2 + 14 * np.sqrt(share),
            "color": (markers.mean / highest).ravel(),
            "colorscale": SCALE,
            "cmin": 0,
            "cmax": 1,
            "line": {"color": GREY, "width": 0.5},
            "colorbar": {"title": {"text": "mean, as a share<br>of the highest<br>label's"}, "thickness": 12},
        },
        customdata=np.stack([share, markers.mean.ravel()], axis=1),
        hovertemplate="%{x} in %{y}: %{customdata[0]:.0%} of the cells, mean %{customdata[1]:.2f}<extra></extra>",
    )
    figure.update_layout(
        height=150 + ROW * n_groups,
        xaxis={"tickangle": -60, "type": "category", "dtick": 1},
        yaxis={"autorange": "reversed", "type": "category", "dtick": 1},
    )
    return styled(figure)


def confusion(evaluation: Evaluation) -> go.Figure:
    """Return what the cells of each author's label were called, as shares of the label's cells, with counts."""
    return _crossed(evaluation.confusion, evaluation.classes, evaluation.called, "author's label (cells)")


def held_out(calls: HeldOutCalls) -> go.Figure:
    """Return what held-out reference cells were called, as shares of their label's cells, with counts."""
    return _crossed(calls.counts, calls.labels.tolist(), calls.labels.tolist(), "their label (cells)")


def _crossed(counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str], title: str) -> go.Figure:
    import plotly.graph_objects as go

    sizes = counts.sum(axis=1)
    figure = go.Figure()
    figure.add_heatmap(
        z=counts / np.maximum(sizes, 1)[:, None],
        x=shown(columns),
        y=[f"{one} ({n:,})" for one, n in zip(shown(rows), sizes.tolist(), strict=True)],
        text=[[f"{n:,}" if n else "" for n in row] for row in counts.tolist()],
        texttemplate="%{text}",
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "share of<br>the row"}, "thickness": 12},
        hovertemplate="%{y} called %{x}: %{z:.1%}<extra></extra>",
    )
    figure.update_layout(
        height=120 + 6 * max(map(len, columns)) + ROW * len(rows),
        xaxis={"title": "called", "tickangle": -45, "type": "category", "dtick": 1},
        yaxis={"title": title, "autorange": "reversed", "type": "category", "dtick": 1},
    )
    return styled(figure)


def coverage(overview: Overview) -> go.Figure:
    """Return the share of the query's expression on genes found by each route, and on names without a gene."""
    import plotly.graph_objects as go

    found = overview.calls.provenance["query"]["coverage"]
    parts = [(name, part["share"], part["n_genes"]) for name, part in found["routes"].items()]
    rest = max(0.0, 1.0 - found["share"])
    figure = go.Figure()
    for i, (name, share, n_genes) in enumerate([*parts, ("no gene", rest, found["n_genes"] - found["n_matched"])]):
        figure.add_bar(
            x=[share],
            y=["expression"],
            orientation="h",
            name=f"{name} ({n_genes:,} genes)",
            marker={"color": GREY if name == "no gene" else COLOURS[i % len(COLOURS)]},
            hovertemplate=f"{plain(name)}: {n_genes:,} genes, " + "%{x:.1%} of the expression<extra></extra>",
        )
    figure.update_layout(barmode="stack", height=170, xaxis={"tickformat": ".0%", "range": [0, 1]})
    return styled(figure)


def by_size(overview: Overview) -> list[str]:
    """Return the labels of the cells, before rejection, those with most cells first."""
    called = overview.calls.label_before_rejection[overview.calls.reason != NO_EXPRESSION].astype(str)
    names, counts = np.unique(called, return_counts=True)
    return [str(one) for one in names[np.argsort(-counts, kind="stable")]]


def _quantiles(values: Floats) -> Any:
    known = values[np.isfinite(values)]
    return np.quantile(known, QUANTILES) if len(known) else np.full(len(QUANTILES), np.nan)


def plain(text: str) -> str:
    """Return text escaped so that plotly does not read it as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def shown(names: Iterable[object]) -> list[str]:
    """Return names for a figure, with nothing in them read as HTML."""
    return [plain(str(one)) for one in names]


def styled(figure: go.Figure) -> go.Figure:
    """Apply the style that all figures share, and return the figure."""
    clear = "rgba(0,0,0,0)"
    figure.update_layout(
        template="none",
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        font={"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        margin={"l": 10, "r": 10, "t": 20, "b": 10},
        hoverlabel={"align": "left"},
    )
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left", "traceorder": "normal"}
    figure.update_layout(legend=legend)
    figure.update_xaxes(automargin=True, gridcolor=FAINT, zerolinecolor=GREY, linecolor=FAINT)
    figure.update_yaxes(automargin=True, gridcolor=FAINT, zerolinecolor=FAINT, linecolor=FAINT)
    return figure
