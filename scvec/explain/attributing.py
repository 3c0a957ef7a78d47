"""From calls to the genes that make them, in one pass over the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.atlas.query_cells import log_normalised, match_to_atlas, placed
from scvec.core.types import UNKNOWN, Doubles, Floats, Ints, Progress, Strings, silent
from scvec.errors import InputError, MismatchError, unknown
from scvec.explain.attribution import Attribution
from scvec.ingest.cells import open_cells
from scvec.ingest.cells.options import Reading

EMPTY = "empty"
"""Why nothing is said of a cell that has no expression on the atlas's genes."""

STRAY = 0.01
"""Of a group's votes, a share below this is a few cells': it makes no runner-up."""

CLOSE = 1e-3
"""What contributions miss of the difference of similarities, if a file's values are those that were annotated."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Of G groups: which label is compared with which, in which direction that is, and how similar the cells are."""

    label: Ints
    against: Ints
    towards: Floats
    similarity: Doubles
    similarity_against: Doubles


def attributions(
    calls: Annotation,
    query: str | Path,
    atlas: Atlas,
    *,
    cells: Sequence[str] = (),
    groups: Sequence[str] = (),
    group_key: str | None = None,
    against: str | None = None,
    reading: Reading | None = None,
    progress: Progress = silent,
) -> Attribution:
    """Say which genes bring cells nearer to the label they are called than to the runner-up.

    A cell's vector is a linear map of its genes' expression, scaled to length one. Without a head, its similarity with
    a label is a sum over the genes. With one, the genes that differ from the labels' mean cell are followed along the
    straight way from it (integrated gradients, Sundararajan et al. 2017, arXiv 1703.01365).

    Memory goes by groups: 24 bytes for each of the atlas's genes and each group.

    Parameters
    ----------
    calls
        The calls for the query.
    query, reading
        The file that was annotated, and how it was read, where `scvec.annotate` was told how.
    atlas
        The one that it was annotated by.
    cells
        Names of single cells, to be explained one by one.
    groups, group_key
        What is explained instead: (n,) a group for each cell, "" for none; or a column of the query's ``obs``. Without
        any of the three, the groups are the labels called, and a cell called `scvec.UNKNOWN` is in none.
    against
        The label to compare with. None, and for the groups of that label itself: that with the second most of the
        group's votes, or, where it has less than a hundredth of them, the most similar other one.

    Raises
    ------
    InputError
        If a cell, a column or a label is not there, the query's cells or their values are not those of `calls`, no cell
        is left, or the atlas has fewer than two labels.
    MismatchError
        If `calls` are not by this version of the atlas.
    """
    _check_calls(calls, atlas)
    reading = reading or Reading()
    if sum((bool(cells), len(groups) > 0, group_key is not None)) > 1:
        raise InputError("more than one of cells, groups and a group's column", "one of them", "leave the others out")
    with open_cells(query, reading.obs) as file:
        if file.obs_names.tolist() != calls.obs_names.tolist():
            raise InputError(f"{query} has other cells than the calls", "the cells that were annotated", "annotate it")
        if group_key is not None:
            groups = file.labels(group_key, "--group").tolist()
        names, codes = _grouped(calls, cells, groups)
        asked = _asked(calls, atlas, codes, len(names), against)
        size = np.bincount(codes[codes >= 0], minlength=len(names))
        with file.matrix(reading.layer, reading.scale) as matrix:
            match, _ = match_to_atlas(matrix, atlas, reading.gene_key, reading.taxon)
            columns, has, share = placed(match, atlas)
            shape = (len(names), len(has))
            contributions, excess = np.zeros(shape), np.zeros(shape)
            baseline, total = np.zeros(len(names)), np.zeros(len(names))
            for first, _, known in log_normalised(matrix, columns, share, atlas, "explaining", progress):
                group = codes[first : first + known.shape[0]]
                rows = np.flatnonzero(group >= 0)
                if len(rows) == 0:
                    continue
                group = group[rows]
                made = atlas.embedding.contributions(known[rows], has, asked.towards[group])
                contributions += made.of_groups(group, len(names))
                excess += made.excess_of_groups(group, len(names))
                baseline += np.bincount(group, made.baseline, len(names))
                total += np.bincount(group, made.total, len(names))
            if not np.allclose(total / size, asked.similarity - asked.similarity_against, atol=CLOSE, rtol=0):
                seen = f"{query} has other values than those that were called"
                raise InputError(seen, "the file, the matrix and the genes that were annotated", "annotate it again")
            var_names = _names_in(matrix.var.names(), columns)
    return Attribution(
        groups=names,
        n_cells=size,
        label=atlas.label_names[asked.label],
        against=atlas.label_names[asked.against],
        similarity=asked.similarity,
        similarity_against=asked.similarity_against,
        baseline=baseline / size,
        gene_ids=atlas.embedding.gene_ids,
        symbols=atlas.gene_symbols,
        var_names=var_names,
        contributions=np.asarray(contributions / size[:, None], np.float32),
        excess=np.asarray(excess / size[:, None], np.float32),
    )


def check_asked(
    query: str | Path, atlas: Atlas, cells: Sequence[str], group_key: str | None, against: str | None, reading: Reading
) -> None:
    """Raise what `attributions` would of what is asked for, before any call is made."""
    if cells and group_key is not None:
        raise InputError("cells and a group's column", "one of the two", "leave one out")
    _check_against(atlas, against, atlas.label_means)
    with open_cells(query, reading.obs) as file:
        if group_key is not None:
            file.labels(group_key, "--group")
        there = set(file.obs_names.tolist()) if cells else set()
        for name in cells:
            if name not in there:
                raise unknown("cell", name, file.obs_names.tolist(), query)


def _check_calls(calls: Annotation, atlas: Atlas) -> None:
    made = calls.provenance.get("atlas", {})
    if (made.get("name"), made.get("version")) != (atlas.name, atlas.manifest["version"]):
        raise MismatchError(
            f"calls by atlas {made.get('name')}, version {made.get('version')}",
            f"by {atlas.name}, version {atlas.manifest['version']}",
            "annotate the query with it",
        )


def _check_against(atlas: Atlas, against: str | None, means: Floats) -> None:
    there = atlas.label_names[means.any(axis=1)].tolist()
    if len(there) < 2:
        raise InputError(f"atlas {atlas.name} has one label", "two, to compare them", "an atlas with more labels")
    if against is not None and against not in there:
        raise unknown("label to compare with", against, there, f"atlas {atlas.name}")


def _asked(calls: Annotation, atlas: Atlas, codes: Ints, n_groups: int, against: str | None) -> _Asked:
    """Return what is compared with what."""
    means, labels = atlas.label_means, atlas.label_names.tolist()
    _check_against(atlas, against, means)
    cells = np.flatnonzero(codes >= 0)
    votes, mean = np.zeros((n_groups, len(labels))), np.zeros((n_groups, means.shape[1]))
    np.add.at(votes, codes[cells], calls.scores[cells])
    np.add.at(mean, codes[cells], calls.vectors[cells])
    similarity = mean / np.bincount(codes[cells], minlength=n_groups)[:, None] @ means.T
    votes[votes < STRAY * votes.sum(axis=1, keepdims=True)] = 0
    # Votes come first, and where there are none, similarity; a label that has lost its cells comes last.
    rank = np.lexsort((-np.where(means.any(axis=1), similarity, -np.inf), -votes), axis=1)
    label, other = rank[:, 0], rank[:, 1]
    if against is not None:
        asked = labels.index(against)
        other = np.where(label == asked, other, asked)
    each = np.arange(n_groups)
    return _Asked(label, other, means[label] - means[other], similarity[each, label], similarity[each, other])


def _grouped(calls: Annotation, cells: Sequence[str], groups: Sequence[str]) -> tuple[Strings, Ints]:
    """Return the names of the groups that have cells with expression, and (n,) which a cell is in; -1 for none."""
    of = np.array(groups if len(groups) else calls.label, dtype=object)
    if len(of) != len(calls):
        raise InputError(f"groups of {len(of):,} cells", f"one for each of the {len(calls):,}", "give them all")
    if cells:
        place = {name: i for i, name in enumerate(calls.obs_names.tolist())}
        of = np.full(len(calls), "", dtype=object)
        for name in cells:
            if name not in place:
                raise unknown("cell", name, calls.obs_names.tolist(), "the query")
            if calls.reason[place[name]] == EMPTY:
                raise InputError(f"cell {name} has no expression on the atlas's genes", "one with some", "leave it out")
            of[place[name]] = name
    none = {""} if cells or len(groups) else {"", UNKNOWN}
    here = (calls.reason != EMPTY) & ~np.isin(of.astype(str), list(none))
    if not here.any():
        seen = "no cell to explain: all are unknown, empty or in no group"
        raise InputError(seen, "cells with a label", "name cells, or groups of them")
    names = list(dict.fromkeys(cells)) or sorted(set(of[here].tolist()))
    code = {name: i for i, name in enumerate(names)}
    return np.array(names, object), np.array([code[one] if yes else -1 for one, yes in zip(of, here, strict=True)])


def _names_in(var_names: Strings, columns: sp.csr_matrix[np.float32]) -> Strings:
    """Return (g,) what a query calls an atlas's genes, "" for one that it does not measure.

    Of several columns of one gene, the first; `columns` is (n_vars, g), 1 where a column is of a gene.
    """
    rows, genes = columns.nonzero()
    names = np.full(columns.shape[1], "", dtype=object)
    names[genes[::-1]] = var_names[rows[::-1]]
    return names
