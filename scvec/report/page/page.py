"""The HTML report: figures, words and data in one template."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.annotation.result import Annotation
from scvec.core.types import Progress
from scvec.evaluation.author_labels import Given
from scvec.evaluation.writing import summary
from scvec.naming import Names
from scvec.ontology.matching import NO_MAP
from scvec.report import figures
from scvec.report.findings import Overview, overview
from scvec.report.map_figure import cell_map
from scvec.report.page import words
from scvec.report.page.targets import check_report, write_page
from scvec.report.page.templates import part, rendered

N_GENES = 5
"""Unexpected genes that the card of a cell names."""


def write_report(overview: Overview, out: str | Path) -> None:
    """Write a report as one HTML file that needs no network, completely or not at all.

    Raises
    ------
    InputError
        If `out` is a folder, or does not end in ``.html``.
    """
    check_report(out)
    write_page(render(overview), out)


def write(
    calls: Annotation,
    out: str | Path,
    *,
    labels: Given | None = None,
    label_map: Mapping[str, str] = NO_MAP,
    names: Names | None = None,
    error: float | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Overview:
    """Write a report of calls as one HTML file that needs no network, and return what it shows.

    Parameters
    ----------
    calls
        The calls; their query is read again, once.
    out
        The file; its name ends in ``.html``.
    labels, label_map, names, error, random_state, progress
        As in `overview`.

    Raises
    ------
    InputError
        If `out` is a folder, or does not end in ``.html``; or as `overview` does.
    """
    check_report(out)
    found = overview(
        calls,
        labels=labels,
        label_map=label_map,
        names=names,
        error=error,
        random_state=random_state,
        made_on=f"{date.today():%Y-%m-%d}",
        progress=progress,
    )
    write_report(found, out)
    return found


def render(overview: Overview) -> str:
    """Return the page."""
    from plotly.offline import get_plotlyjs

    drawn = _figures(overview)
    evaluation, doubts = overview.evaluation, overview.doubts
    return rendered(
        "page.html.j2",
        kind="scvec report",
        script=part("page.js"),
        plotly=get_plotlyjs(),
        name=overview.name,
        command=overview.command,
        made_on=overview.made_on,
        held_out=overview.doubts.held_out is not None,
        lead=words.lead(overview),
        tiles=words.tiles(overview),
        sections=words.sections(overview),
        doubts_lead=words.doubts_lead(doubts),
        doubts=[words.doubt(overview, one) for one in doubts.groups],
        story=words.story(overview),
        unknown_lead=words.unknown_lead(overview),
        unknown=[words.unknown(one, i) for i, one in enumerate(overview.unknown)],
        map_note=words.map_note(overview),
        labels=words.label_rows(overview),
        gene_figures=words.gene_figures(overview),
        truth=[] if evaluation is None else [*summary(evaluation).split("\n"), *evaluation.notes],
        coverage=words.coverage(overview),
        provenance=words.provenance(overview),
        notes=overview.calls.notes,
        figures=_in_script("{" + ",".join(f"{json.dumps(key)}:{one}" for key, one in drawn.items()) + "}"),
        query=_in_script(json.dumps(_cells(overview))),
    )


def _figures(overview: Overview) -> dict[str, str]:
    """Return each figure's JSON by its name on the page."""
    made: dict[str, Any] = {
        "map": cell_map(overview),
        "composition": figures.composition(overview),
        "confidences": figures.confidences(overview),
        **({} if overview.doubts.held_out is None else {"held out": figures.held_out(overview.doubts.held_out)}),
        "by confidence": figures.spread(overview, overview.calls.confidence, "confidence"),
        "by distance": figures.spread(overview, overview.calls.distance, "distance to the nearest reference cell"),
        "dots": figures.dots(overview.markers),
        "coverage": figures.coverage(overview),
    }
    if overview.genes is not None:
        made |= {f"label {one}": figures.genes(overview.genes, one) for one in overview.genes.groups}
    if overview.doubted_genes is not None:
        names = overview.doubted_genes.groups
        made |= {f"doubt {one}": figures.genes(overview.doubted_genes, one, 8) for one in names}
    if overview.evaluation is not None:
        made["confusion"] = figures.confusion(overview.evaluation)
    return {name: one.to_json() for name, one in made.items()}


def _cells(overview: Overview) -> dict[str, Any]:
    """Return what a cell's card shows beyond the map's data: codes into lists of words, in the order of the query."""
    calls = overview.calls
    groups = ["", *(one.name for one in overview.doubts.groups)]
    genes, odd = _coded([one.split(", ")[:N_GENES] for one in calls.unexpected_genes.tolist()])
    labels = ["", *calls.labels]
    made: dict[str, Any] = {
        "groups": groups,
        "group": _base64(_places(overview.doubts.group.tolist(), groups)),
        "labels": labels,
        "second": _base64(_runner_up(calls.scores, _places(calls.label_before_rejection.tolist(), labels))),
        "genes": genes,
        "n_odd": N_GENES,
        "odd": _base64(odd),
    }
    if overview.names is not None:
        looks = ["", *(words.looks_like(one) for one in overview.unknown)]
        made |= {"looks": looks, "unknown": _base64(overview.names.member + 1)}
    if overview.truth is not None:
        names, codes = np.unique(overview.truth.astype(str), return_inverse=True)
        made |= {"truth_names": [one or "no label" for one in names.tolist()], "truth": codes.tolist()}
    return made


def _runner_up(scores: NDArray[np.float32], nearest: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (n,) 1 + the label with the second most votes, `nearest` being 1 + the first; 0 if no other has any."""
    others = scores.copy()
    own = np.flatnonzero(nearest > 0)
    others[own, nearest[own] - 1] = 0
    return np.where(others.max(axis=1) > 0, others.argmax(axis=1) + 1, 0)


def _coded(lists: list[list[str]]) -> tuple[list[str], NDArray[np.int64]]:
    """Return all words, "" first, and (n, N_GENES) codes of each list's words."""
    place = {"": 0}
    codes = np.zeros((len(lists), N_GENES), np.int64)
    for i, row in enumerate(lists):
        for j, word in enumerate(row):
            codes[i, j] = place.setdefault(word, len(place))
    return list(place), codes


def _places(values: list[str], among: list[str]) -> NDArray[np.int64]:
    """Return the position of each value in a list; 0 for a value that is not in it."""
    place = {one: i for i, one in enumerate(among)}
    return np.array([place.get(one, 0) for one in values], np.int64)


def _base64(codes: NDArray[np.int64]) -> str:
    return b64encode(codes.astype("<u2").tobytes()).decode("ascii")


def _in_script(text: str) -> str:
    """Return JSON escaped so that no name in it ends the script element."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
