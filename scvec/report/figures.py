"""Interactive figures of an overview, by plotly: for a notebook, and for the page that is made of them.

Backgrounds are clear and lines grey, so that they stand on light and on dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.errors import missing
from scvec.evaluation import Evaluation
from scvec.explain import Attribution
from scvec.overview import Markers, Overview
from scvec.report.plots import COLOURS
from scvec.types import Floats

if TYPE_CHECKING:
    import plotly.graph_objects as go

GREY, FAINT = "#8a929c", "rgba(138,146,156,0.35)"
TRUSTED = {"": ("trusted", COLOURS[0]), "unsure": ("unsure", COLOURS[4]), "far": ("far", COLOURS[1])}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ROW = 24
"""Height of a row of a table of bars, in pixels."""


def require() -> None:
    """Raise `MissingDependencyError` if figures cannot be made; asked before any work is done."""
    for module in ("plotly", "jinja2"):
        if find_spec(module) is None:
            raise missing(module, "report", "a report")


def composition(overview: Overview) -> go.Figure:
    """Return how many cells are nearest to each label, and how many of these calls are trusted."""
    import plotly.graph_objects as go

    calls, names = overview.calls, by_size(overview)[::-1]
    figure = go.Figure()
    for reason, (name, colour) in TRUSTED.items():
        counts = [int(((calls.nearest == one) & (overview.doubts.reason == reason)).sum()) for one in names]
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
    """Return how (n,) `values` are spread in each label: 5, 25, 50, 75 and 95 % of its cells."""
    import plotly.graph_objects as go

    names = by_size(overview)[::-1]
    low, q1, median, q3, high = np.array([_quantiles(values[overview.calls.nearest == one]) for one in names]).T
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
    """Return how many cells have which confidence, the doubtful ones told apart."""
    import plotly.graph_objects as go

    edges = np.linspace(0, 1, 41)
    figure = go.Figure()
    for reason, (name, colour) in TRUSTED.items():
        chosen = overview.calls.confidence[overview.doubts.reason == reason]
        counts = np.histogram(chosen[np.isfinite(chosen)], edges)[0]
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            name=name,
            marker={"color": colour},
            hovertemplate="%{x:.2f}: %{y:,} " + name + "<extra></extra>",
        )
    axes = {"xaxis": {"title": "confidence", "range": [0, 1]}, "yaxis": {"title": "cells"}}
    figure.update_layout(barmode="stack", bargap=0.05, height=320, **axes)
    return styled(figure)


def genes(found: Attribution, group: str, n_for: int = 12, n_against: int = 6) -> go.Figure:
    """Return the genes that speak most for and against a group's label; hatched: those that the cells lack.

    Raises
    ------
    ValueError
        If there is no such group.
    """
    import plotly.graph_objects as go

    row = found.groups.tolist().index(group)
    values = found.contributions[row]
    order = np.argsort(-values, kind="stable")
    chosen = [i for i in order[:n_for].tolist() if values[i] > 0]
    chosen += [i for i in order[-n_against:].tolist() if values[i] < 0]
    lacking = found.excess[row, chosen] <= 0
    names = shown(found.symbols[i] or found.gene_ids[i] for i in chosen)
    figure = go.Figure()
    figure.add_bar(
        x=values[chosen],
        y=names,
        orientation="h",
        marker={
            "color": [COLOURS[0] if values[i] > 0 else COLOURS[1] for i in chosen],
            "pattern": {"shape": ["/" if one else "" for one in lacking], "fgcolor": "rgba(255,255,255,0.7)"},
        },
        customdata=["less than usual" if one else "more than usual" for one in lacking],
        hovertemplate="%{y}, expressed %{customdata}: %{x:.4f}<extra></extra>",
    )
    figure.update_layout(
        showlegend=False,
        height=90 + ROW * len(chosen),
        xaxis={"title": "adds to the similarity"},
        yaxis={"autorange": "reversed", "type": "category"},
    )
    return styled(figure)


def dots(markers: Markers) -> go.Figure:
    """Return a dot for each label and gene: the larger the more cells express it, the darker the more they do."""
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
            "colorscale": "Cividis",
            "reversescale": True,
            "cmin": 0,
            "cmax": 1,
            "line": {"color": GREY, "width": 0.5},
            "colorbar": {"title": {"text": "mean, of the<br>highest label's"}, "thickness": 12},
        },
        customdata=np.stack([share, markers.mean.ravel()], axis=1),
        hovertemplate="%{x} in %{y}: %{customdata[0]:.0%} of the cells, mean %{customdata[1]:.2f}<extra></extra>",
    )
    figure.update_layout(
        height=150 + ROW * n_groups,
        xaxis={"tickangle": -60, "type": "category"},
        yaxis={"autorange": "reversed", "type": "category"},
    )
    return styled(figure)


def confusion(evaluation: Evaluation) -> go.Figure:
    """Return where each class's cells went, as shares of the class."""
    import plotly.graph_objects as go

    shares = evaluation.confusion / np.maximum(evaluation.support, 1)[:, None]
    texts = [[f"{n}" if n else "" for n in row] for row in evaluation.confusion.tolist()]
    figure = go.Figure()
    figure.add_heatmap(
        z=shares,
        x=shown(evaluation.called),
        y=[f"{one} ({n:,})" for one, n in zip(shown(evaluation.classes), evaluation.support.tolist(), strict=True)],
        text=texts,
        texttemplate="%{text}",
        colorscale="Blues",
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "share of<br>the class"}, "thickness": 12},
        hovertemplate="%{y} called %{x}: %{z:.1%}<extra></extra>",
    )
    figure.update_layout(
        height=190 + ROW * len(evaluation.classes),
        xaxis={"title": "called", "tickangle": -45, "type": "category"},
        yaxis={"title": "author's label (cells)", "autorange": "reversed", "type": "category"},
    )
    return styled(figure)


def coverage(overview: Overview) -> go.Figure:
    """Return the share of the query's expression that lies on genes found by each route, and on none."""
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
    """Return the labels that are nearest to some cell, those of most cells first."""
    called = overview.calls.nearest[overview.calls.reason != "empty"].astype(str)
    names, counts = np.unique(called, return_counts=True)
    return [str(one) for one in names[np.argsort(-counts, kind="stable")]]


def _quantiles(values: Floats) -> Any:
    known = values[np.isfinite(values)]
    return np.quantile(known, QUANTILES) if len(known) else np.full(len(QUANTILES), np.nan)


def plain(text: str) -> str:
    """Return text that plotly does not read as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def shown(names: Iterable[object]) -> list[str]:
    """Return names as figures show them: as they are."""
    return [plain(str(one)) for one in names]


def styled(figure: go.Figure) -> go.Figure:
    """Return the figure with what all of them share."""
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
