"""The interactive map of an overview's cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.annotation.result import NO_EXPRESSION
from scvec.evaluation.plots import COLOURS
from scvec.report.figures import GREY, by_size, plain, shown, styled
from scvec.report.findings import Overview

if TYPE_CHECKING:
    import plotly.graph_objects as go

SHAPES = ("circle", "diamond", "square", "cross", "triangle-up", "x", "star", "pentagon")
"""When all colours are used, the next shape: no palette has twenty colours that colour-blind readers distinguish."""

PALE = "rgba(138,146,156,0.22)"
HEIGHT = 620
FEW, NAMED = 30, 5
"""Labels with at most the first number of cells have larger points; below the second, they have no name on the map."""

NAME: dict[str, Any] = {"showarrow": False, "yanchor": "bottom", "yshift": 4, "font": {"shadow": "auto"}}
MAX_POINT, MIN_POINT = 7.0, 2.5
"""Sizes of points, in pixels, for few cells and for very many."""


def cell_map(overview: Overview) -> go.Figure:
    """Return the map: reference cells in grey, the query's in their label's colour and shape, doubtful ones ringed.

    For each point of the query, ``customdata`` has confidence, share of the votes, distance, novelty and its place in
    the query. A trace's ``meta`` says what it is: ``"reference"``, ``"label"`` or ``"rings"``.
    """
    import plotly.graph_objects as go

    calls, places = overview.calls, overview.cell_map
    size = float(np.clip(900 / np.sqrt(max(1, len(calls))), MIN_POINT, MAX_POINT))
    figure = go.Figure()
    figure.add_scattergl(
        x=places.reference[:, 0],
        y=places.reference[:, 1],
        text=shown(places.labels),
        mode="markers",
        marker={"size": size * 0.8, "color": PALE},
        name="reference",
        meta="reference",
        hovertemplate="reference: %{text}<extra></extra>",
    )
    details = np.stack([calls.confidence, calls.score, calls.distance, calls.novelty, np.arange(len(calls))], axis=1)
    for i, label in enumerate(by_size(overview)):
        cells = np.flatnonzero((calls.label_before_rejection == label) & (calls.reason != NO_EXPRESSION))
        figure.add_scattergl(
            x=places.query[cells, 0],
            y=places.query[cells, 1],
            customdata=details[cells].astype(np.float32),
            text=shown(calls.obs_names[cells]),
            mode="markers",
            marker={"size": size * (1 if len(cells) > FEW else 1.5), **_look(i)},
            name=plain(label),
            meta="label",
            hovertemplate="%{text}<br><b>%{fullData.name}</b>, confidence %{customdata[0]:.2f}<extra></extra>",
        )
        if len(cells) >= NAMED:
            x, y = np.median(places.query[cells, 0]), np.quantile(places.query[cells, 1], 0.98)
            figure.add_annotation(x=float(x), y=float(y), text=plain(label), **NAME)
    doubted = np.flatnonzero(overview.doubts.group != "")
    figure.add_scattergl(
        x=places.query[doubted, 0],
        y=places.query[doubted, 1],
        mode="markers",
        marker={"size": size + 4, "symbol": "circle-open", "color": GREY, "line": {"width": 1.5}},
        name="doubtful",
        meta="rings",
        hoverinfo="skip",
    )
    figure.update_layout(dragmode="pan", height=HEIGHT)
    styled(figure)
    figure.update_layout(legend={"itemsizing": "constant", "y": -0.02, "yanchor": "top"})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _look(i: int) -> dict[str, Any]:
    """Return the colour and shape of the i-th label."""
    return {"color": COLOURS[i % len(COLOURS)], "symbol": SHAPES[i // len(COLOURS) % len(SHAPES)]}
