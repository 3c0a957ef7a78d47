"""All that a report says of a query, as values: nothing is drawn here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scvec.annotation.query import USUAL_ERROR
from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.atlas import Atlas
from scvec.core.types import Ints, Progress, Strings, silent
from scvec.errors import InputError
from scvec.evaluation.author_labels import read_author_labels
from scvec.evaluation.result import Evaluation, evaluate
from scvec.explain import Attribution, attributions
from scvec.ingest.cells.options import ReadOptions
from scvec.report.findings.doubtful_calls import Doubts, doubts
from scvec.report.findings.map import CellMap, cell_map, require_umap
from scvec.report.findings.marker_genes import Markers, markers

N_SPEAKING, N_MARKERS = 20, 3
"""Genes that speak most for a label, and of these, those that the table of markers shows: the most its own."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What a report says. Get one from `overview`.

    Attributes
    ----------
    name
        The query's.
    calls
        The calls.
    cell_map
        Where its cells and the reference's lie in a plane.
    doubts
        Which calls to doubt, and why.
    genes
        For each label that is nearest to some cell: the genes that make the calls.
    doubted_genes
        For each group of doubts: the genes for and against; None where nothing is doubted.
    markers
        How the labels' cells express the genes that speak most for them.
    truth, evaluation
        (n,) an author's labels, and how the calls compare with them; None where there are none.
    command, made_on
        What makes the same again on the command line, and the day; "" where that is not known.
    """

    name: str
    calls: Annotation
    cell_map: CellMap
    doubts: Doubts
    genes: Attribution
    doubted_genes: Attribution | None
    markers: Markers
    truth: Strings | None = None
    evaluation: Evaluation | None = None
    command: str = ""
    made_on: str = ""


def overview(
    calls: Annotation,
    query: str | Path,
    atlas: Atlas,
    *,
    label_key: str | None = None,
    label_map: Mapping[str, str] | None = None,
    error: float | None = None,
    reading: ReadOptions | None = None,
    random_state: int = 0,
    command: str = "",
    made_on: str = "",
    progress: Progress = silent,
) -> Overview:
    """Look at a query from all sides: a map, what is to be doubted, the genes behind the calls.

    Parameters
    ----------
    calls
        The calls for the query.
    query, reading
        The file that was annotated, and how it was read, where `scvec.annotate` was told how.
    atlas
        The one that it was annotated by.
    label_key, label_map
        A column of the query's ``obs`` with an author's labels, and the atlas's label by the author's.
    error
        The share of wrong calls above which calls are doubted; None: what was asked of the query, or 0.05.
    random_state
        Of the map.
    command, made_on
        What made it, and when, to be shown.

    Raises
    ------
    MissingDependencyError
        If umap-learn is not installed.
    InputError
        If no cell has expression on the atlas's genes, or a column is not there.
    """
    require_umap()
    reading = reading or ReadOptions()
    asked = calls.provenance.get("max_error")
    error = error if error is not None else asked or USUAL_ERROR
    truth = evaluation = None
    if label_key is not None:
        truth = read_author_labels(query, label_key, obs=reading.obs)
        evaluation = evaluate(calls, query, label_key=label_key, label_map=label_map or {}, obs=reading.obs)
    here = calls.reason != NO_EXPRESSION
    if not here.any():
        raise InputError("no cell has expression on the atlas's genes", "some that have", "look at the genes' names")
    found = doubts(calls, atlas, error)
    by_label = np.where(here, calls.label_before_rejection, "").astype(object)
    genes = attributions(calls, query, atlas, groups=by_label.tolist(), reading=reading, progress=progress)
    doubted = None
    if found.groups:
        doubted = attributions(calls, query, atlas, groups=found.group.tolist(), reading=reading, progress=progress)
    chosen = _speaking(genes)
    ids, symbols = genes.gene_ids[chosen], genes.symbols[chosen]
    expressed = markers(query, atlas, by_label, ids, symbols, reading=reading, progress=progress)
    with progress("mapping the cells", 1) as advance:
        places = cell_map(calls, atlas, random_state=random_state)
        advance(1)
    return Overview(
        Path(str(query)).name,
        calls,
        places,
        found,
        genes,
        doubted,
        expressed.telling(N_MARKERS),
        truth,
        evaluation,
        command,
        made_on,
    )


def _speaking(genes: Attribution) -> Ints:
    """Return positions of the genes that speak most for each label by being there, each once."""
    speaking = np.where(genes.excess > 0, genes.contributions, -np.inf)
    order = np.argsort(-speaking, axis=1, kind="stable")[:, :N_SPEAKING]
    kept = [gene for group, row in enumerate(order.tolist()) for gene in row if speaking[group, gene] > 0]
    return np.array(list(dict.fromkeys(kept)), np.int64)
