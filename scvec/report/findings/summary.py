"""All that a report says about a query, as values; nothing is drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scvec.annotation.query import USUAL_ERROR
from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.atlas import Atlas
from scvec.core.progress import shown
from scvec.core.types import Floats, Ints, Progress, Strings
from scvec.errors import InputError
from scvec.evaluation.author_labels import Given, labels_of
from scvec.evaluation.result import Evaluation, evaluate
from scvec.explain import Attribution
from scvec.explain.attribution import attributions_in, groups_of
from scvec.naming import Names
from scvec.ontology.matching import NO_MAP
from scvec.report.findings.doubtful_calls import Doubts, doubts_in
from scvec.report.findings.map import CellMap, cell_map
from scvec.report.findings.marker_genes import Markers, markers_in
from scvec.report.findings.suggested_names import UnknownGroup, unknown_groups

N_SPEAKING, N_MARKERS = 20, 3
"""Genes that speak most for a label, and the most specific of these, which the table of markers shows."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What a report says. Make it with `overview`.

    Attributes
    ----------
    name
        The query's file name.
    calls
        The calls.
    cell_map
        A map of its cells and the reference's.
    doubts
        The doubtful calls, and the reasons.
    genes
        For each label, before rejection: the genes that make the calls; None if the atlas's vectors are not made of
        expression.
    doubted_genes
        For each group of doubtful calls: the genes for and against the label; None if no call is doubtful, or `genes`
        is None.
    markers
        How the labels' cells express the genes that speak most for them, or, without `genes`, those that the
        reference's cells of the label express most beyond others.
    truth, evaluation
        (n,) the author's labels, "" for a cell without one, and how the calls compare; None without such labels.
    command, made_on
        The command that makes the report again, and the day it was made; "" if not known.
    names, unknown
        Names of groups of unknown cells, None if none were given; and these groups.
    """

    name: str
    calls: Annotation
    cell_map: CellMap
    doubts: Doubts
    genes: Attribution | None
    doubted_genes: Attribution | None
    markers: Markers
    truth: Strings | None = None
    evaluation: Evaluation | None = None
    command: str = ""
    made_on: str = ""
    names: Names | None = None
    unknown: tuple[UnknownGroup, ...] = ()


def overview(
    calls: Annotation,
    *,
    labels: Given | None = None,
    label_map: Mapping[str, str] = NO_MAP,
    names: Names | None = None,
    error: float | None = None,
    random_state: int = 0,
    command: str = "",
    made_on: str = "",
    progress: Progress | None = None,
) -> Overview:
    """Collect what a report says about a query: a map, doubtful calls, the genes behind the calls.

    Parameters
    ----------
    calls
        The calls; their query is read again, once.
    labels, label_map
        The author's labels, and the atlas's label for an author's label: see `scvec.evaluate`.
    names
        Names of groups of unknown cells: ``scvec.name(calls)``; None: no names.
    error
        The accepted share of wrong calls, which decides what is doubtful; None: the query's `max_error`, or 0.05.
    random_state
        Seed of the map.
    command, made_on
        The command that made the report, and the day, to be shown.
    progress
        Shows how many cells are done.

    Raises
    ------
    InputError
        If no cell has expression on the atlas's genes, the query was changed since it was annotated, there is no such
        column, or `names` are of other cells.
    """
    progress, atlas = shown(progress), calls.query.atlas
    if error is None:
        error = calls.provenance.get("max_error") or USUAL_ERROR
    here = calls.reason != NO_EXPRESSION
    if not here.any():
        raise InputError("no cell has expression on the atlas's genes", fix="check the names of the genes")
    by_label = np.where(here, calls.label_before_rejection, "").astype(object)
    with calls.query.opened() as cells:
        found = doubts_in(cells, calls, atlas, error, progress, random_state)
        truth = evaluation = genes = doubted = None
        if labels is not None:
            unlabelled = calls.query.read.unlabelled
            read = cells.file.labels_where_any
            truth = labels_of(
                calls, read(labels, "labels", unlabelled) if isinstance(labels, str) else labels, "labels"
            )
            evaluation = evaluate(calls, truth, label_map=label_map)
        if atlas.recipe.has_genes:
            genes = attributions_in(cells, calls, groups_of(calls, (), by_label.tolist()), None, progress)
            if found.groups:
                doubted = attributions_in(cells, calls, groups_of(calls, (), found.group.tolist()), None, progress)
        chosen = _typical(atlas, sorted(set(by_label[here].tolist()))) if genes is None else _speaking(genes)
        expressed = markers_in(cells, by_label, atlas.embedding.gene_ids[chosen], atlas.gene_symbols[chosen], progress)
    unknown = () if names is None else unknown_groups(calls, found.group, names)
    with progress("mapping the cells", 1) as advance:
        places = cell_map(calls, atlas, random_state=random_state)
        advance(1)
    return Overview(
        calls.query.name,
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
        names,
        unknown,
    )


def _speaking(genes: Attribution) -> Ints:
    """Return positions of the genes whose presence speaks most for each label, without repeats."""
    return _highest(np.where(genes.excess > 0, genes.contributions, -np.inf))


def _typical(atlas: Atlas, labels: Sequence[str]) -> Ints:
    """Return positions of the genes that the reference's cells of each label express most beyond other labels'."""
    profiles, names = atlas.profiles.labels, atlas.label_names.tolist()
    rows = [row for row in map(names.index, labels) if row < len(profiles)]
    return _highest(profiles[rows] - profiles.mean(axis=0)) if rows else np.arange(1)


def _highest(values: Floats) -> Ints:
    """Return the columns with the highest values above 0 of each row, without repeats."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :N_SPEAKING]
    kept = [gene for group, row in enumerate(order.tolist()) for gene in row if values[group, gene] > 0]
    return np.array(list(dict.fromkeys(kept)), np.int64)
