"""Which genes make a call: what each adds to the similarity with the called label, compared with the runner-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.atlas import Atlas
from scvec.atlas.query_cells import OpenCells
from scvec.core.html import table
from scvec.core.progress import shown
from scvec.core.tabular import Tabular
from scvec.core.text import counted
from scvec.core.types import UNKNOWN, Doubles, Floats, Ints, Progress, Strings
from scvec.errors import InputError, must_be, unknown
from scvec.explain.streaming import GroupedCells, contributed, require_genes, seen
from scvec.ingest.cells import Cells, open_cells
from scvec.ingest.cells.options import ReadOptions
from scvec.views import NEIGHBORS

if TYPE_CHECKING:
    import polars as pl
    from anndata import AnnData

STRAY = 0.01
"""A share of a group's votes below this comes from a few cells, and makes no runner-up."""

N_SHOWN = 5
"""Genes of a group that a notebook shows."""


@dataclass(frozen=True, slots=True)
class Attribution(Tabular):
    """What genes contribute to the calls of G groups of cells, or of single cells.

    The similarity of a cell with a label is the mean cosine with the label's cells in the atlas; by a further view, the
    logarithm of the label's share. Contributions of all g genes and `baseline` add up to `similarity` -
    `similarity_against`, to rounding.

    Attributes
    ----------
    groups
        (G,) names of the groups, or of the single cells.
    n_cells
        (G,) number of cells of each; cells that express none of the atlas's genes are left out.
    label, against
        (G,) the label that is explained, the one with most of the cells' votes; and the label it is compared with.
    similarity, similarity_against
        (G,) means over the cells.
    baseline
        (G,) the part of the difference that no gene contributes: the difference for a cell that expresses all genes as
        the labels' mean does; 0 for a recipe without a head.
    gene_ids, symbols, var_names
        (g,) the atlas's genes; "" where one has no symbol, or the query does not measure it.
    contributions
        (G, g) means over the cells.
    excess
        (G, g) means over the cells of how much of a gene there is above its reference level (for a head, that of the
        labels' mean cell; else 0), in units of the cell's length or sum.
    view
        The view of the cells that is explained: ``"neighbors"``, or a further one of the atlas.
    decided
        By view, (G,) means over the cells of `Annotation.leads`: the view with most decided the calls.
    """

    groups: Strings
    n_cells: Ints
    label: Strings
    against: Strings
    similarity: Doubles
    similarity_against: Doubles
    baseline: Doubles
    gene_ids: Ints
    symbols: Strings
    var_names: Strings
    contributions: Floats
    excess: Floats
    view: str = NEIGHBORS
    decided: Mapping[str, Doubles] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        cells = counted(int(self.n_cells.sum()), "cell")
        return f"Attribution: {counted(len(self), 'group')} of {cells}, {counted(len(self.gene_ids), 'gene')}"

    def _repr_html_(self) -> str:
        best = np.argsort(-self.contributions, axis=1, kind="stable")[:, :N_SHOWN]
        rows = [
            (str(name), int(n), str(label), str(against), ", ".join(self.symbols[genes].tolist()))
            for name, n, label, against, genes in zip(
                self.groups, self.n_cells, self.label, self.against, best, strict=True
            )
        ]
        return table(repr(self), ("group", "cells", "label", "against", "genes for the label"), rows)

    def to_polars(self, n_genes: int = 20) -> pl.DataFrame:
        """Return the genes that contribute most for and against each call, at most 2 `n_genes` rows for each group.

        ``expressed`` is ``"above"`` or ``"below"`` the gene's reference level: a gene that a cell lacks can speak for
        its label too.

        Raises
        ------
        InputError
            If `n_genes` is below 1.
        """
        import polars as pl

        if n_genes < 1:
            raise must_be("n_genes", "at least 1", n_genes)
        groups, genes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for i, values in enumerate(self.contributions):
            order = np.argsort(-values, kind="stable")
            ends = np.concatenate([order[:n_genes], order[-n_genes:]]) if 2 * n_genes < len(order) else order
            genes.append(ends[values[ends] != 0])
            groups.append(np.full(len(genes[-1]), i))
        group, gene = np.concatenate(groups), np.concatenate(genes)
        return pl.DataFrame(
            {
                "group": self.groups[group].tolist(),
                "label": self.label[group].tolist(),
                "against": self.against[group].tolist(),
                "gene_id": self.gene_ids[gene],
                "symbol": self.symbols[gene].tolist(),
                "contribution": self.contributions[group, gene],
                "expressed": np.where(self.excess[group, gene] > 0, "above", "below").tolist(),
            },
            schema_overrides=dict.fromkeys(("group", "label", "against", "symbol", "expressed"), pl.String),
        )

    def to_dict(self, n_genes: int = 20) -> list[dict[str, Any]]:
        """Return each group with the genes of `to_polars`, as JSON types."""
        import polars as pl

        frame = self.to_polars(n_genes)
        return [
            {
                "group": str(name),
                "n_cells": int(self.n_cells[i]),
                "label": str(self.label[i]),
                "against": str(self.against[i]),
                "similarity": round(float(self.similarity[i]), 6),
                "similarity_against": round(float(self.similarity_against[i]), 6),
                "baseline": round(float(self.baseline[i]), 6),
                "view": self.view,
                "decided": {name: round(float(one[i]), 4) for name, one in self.decided.items()},
                "genes": frame.filter(pl.col("group") == name).drop("group", "label", "against").to_dicts(),
            }
            for i, name in enumerate(self.groups.tolist())
        ]

    def to_adata(self, adata: AnnData, groupby: str = "scvec", n_genes: int = 100) -> AnnData:
        """Return a copy of `adata` with ``uns["scvec_genes"]``, in the format of scanpy's ranked genes.

        ``sc.pl.rank_genes_groups_dotplot(adata, key="scvec_genes")`` and similar functions plot them. Genes that speak
        for a group's label come first, by contribution; those that `adata` does not name are left out.

        Parameters
        ----------
        adata
            The query; not changed.
        groupby
            The column of ``obs`` whose groups were explained.
        n_genes
            Number of genes for each group.

        Raises
        ------
        InputError
            If `adata` has no such column, or the column lacks a group that was explained.
        """
        if groupby not in adata.obs:
            raise unknown("column for `groupby`", groupby, adata.obs.columns.tolist(), "obs")
        missing = sorted(set(self.groups.tolist()) - set(adata.obs[groupby].astype(str)))
        if missing:
            raise InputError(f"obs[{groupby!r}] has no group {missing[0]}", "the explained groups", "give their column")
        here = np.flatnonzero(np.isin(self.var_names.astype(str), adata.var_names.astype(str)))
        order = here[np.argsort(-self.contributions[:, here], axis=1, kind="stable")[:, :n_genes]]
        names = [str(one) for one in self.groups]
        result = adata.copy()
        result.uns["scvec_genes"] = {
            # "logreg" is what tells scanpy that scores come without p-values.
            "params": {"groupby": groupby, "reference": "rest", "method": "logreg", "use_raw": False, "layer": None},
            "names": _record({name: self.var_names[one] for name, one in zip(names, order, strict=True)}),
            "scores": _record({name: self.contributions[i, order[i]] for i, name in enumerate(names)}),
        }
        return result


def _record(columns: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    """Return an array with a field for each column."""
    made = np.empty(len(next(iter(columns.values()))), [(name, one.dtype) for name, one in columns.items()])
    for name, one in columns.items():
        made[name] = one
    return made.view(np.recarray)


@dataclass(frozen=True, slots=True)
class _Compared:
    """For G groups: the two labels to compare, the direction between them, and the cells' similarity with each."""

    label: Ints
    against: Ints
    towards: Floats
    similarity: Doubles
    similarity_against: Doubles


def attributions(
    calls: Annotation,
    *,
    cells: Sequence[str] = (),
    groups: Sequence[str] = (),
    group_key: str | None = None,
    against: str | None = None,
    view: str = NEIGHBORS,
    progress: Progress | None = None,
) -> Attribution:
    """Say which genes bring cells nearer to the label they are called than to the runner-up.

    A cell's vector is a linear map of its genes' expression, scaled to unit length. Without a head, its similarity with
    a label is a sum over the genes. With a head, gradients are integrated along the straight line from the labels' mean
    cell to the cell (integrated gradients, Sundararajan et al. 2017, arXiv 1703.01365). The further views of an atlas
    are linear: of these, contributions are exact.

    Memory grows with the groups: 24 bytes for each of the atlas's genes and each group.

    Parameters
    ----------
    calls
        The calls; their query is read again.
    cells
        Names of single cells to explain one by one.
    groups, group_key
        Groups to explain instead: (n,) the group of each cell, "" for none; or a column of the query's ``obs``. Without
        any of the three, the groups are the called labels, and a cell called `scvec.UNKNOWN` is in none.
    against
        The label to compare with. None, and for groups of that label itself: the label with the second most of the
        group's votes, or, if that has less than a hundredth of them, the most similar other label.
    view
        The view to explain: ``"neighbors"``, or a further one of the atlas, ``"rank"`` or ``"corrected"``, as it sees
        each cell alone. See `Annotation.leads` for which of them decided.
    progress
        Shows how many cells are done.

    Raises
    ------
    InputError
        If a cell, a column or a label is not there, the query was changed since it was annotated, no cell is left, or
        the atlas has fewer than two labels.
    """
    if sum((bool(cells), len(groups) > 0, group_key is not None)) > 1:
        raise InputError("`cells`, `groups` and `group_key` exclude each other", fix="give one of them")
    require_genes(calls.query.atlas)
    _check_against(calls.query.atlas, against, calls.query.atlas.label_means)
    _check_view(calls.query.atlas, view)
    with calls.query.opened() as opened:
        if group_key is not None:
            groups = opened.file.groups(group_key, "group_key").tolist()
        return attributions_in(opened, calls, groups_of(calls, cells, groups), against, shown(progress), view)


def attributions_in(
    opened: OpenCells,
    calls: Annotation,
    grouped: tuple[Strings, Ints],
    against: str | None,
    progress: Progress,
    view: str = NEIGHBORS,
) -> Attribution:
    """Return the attributions of groups of the cells of an open query: names and (n,) codes from `groups_of`."""
    atlas, (names, codes) = calls.query.atlas, grouped
    pairs = _compared(calls, atlas, codes, len(names), against)
    cells, similarity, similarity_against = GroupedCells(opened, codes), pairs.similarity, pairs.similarity_against
    if view == NEIGHBORS:
        made = contributed(cells, pairs.towards, "explaining", progress)
    else:
        _check_fitted(atlas, view, np.union1d(pairs.label, pairs.against))
        made, similarity, similarity_against = seen(cells, view, pairs.label, pairs.against, progress)
    here = codes >= 0
    size = np.bincount(codes[here], minlength=len(names))
    return Attribution(
        groups=names,
        n_cells=size,
        label=atlas.label_names[pairs.label],
        against=atlas.label_names[pairs.against],
        similarity=similarity,
        similarity_against=similarity_against,
        baseline=made.baseline,
        gene_ids=atlas.embedding.gene_ids,
        symbols=atlas.gene_symbols,
        var_names=_names_in(opened.matrix.var.names(), opened.columns),
        contributions=np.asarray(made.genes, np.float32),
        excess=np.asarray(made.excess, np.float32),
        view=view,
        decided={
            name: np.bincount(codes[codes >= 0], one[codes >= 0], len(names)) / size
            for name, one in calls.leads.items()
        },
    )


def _check_view(atlas: Atlas, view: str) -> None:
    there = [NEIGHBORS, *(atlas.views.of if atlas.views is not None else ())]
    if view not in there:
        raise unknown("view", view, there, f"atlas {atlas.name}")


def _check_fitted(atlas: Atlas, view: str, codes: Ints) -> None:
    """Raise `InputError` if a view has not seen one of these labels, as it came after the atlas was fitted."""
    fitted = len(atlas.manifest["labels"])
    if (codes >= fitted).any():
        later = atlas.label_names[codes[codes >= fitted][0]]
        raise InputError(
            f"view {view!r} does not know label {later!r}, which came after atlas {atlas.name} was fitted",
            "labels that were there before",
            f"give `cells` or `groups` of other labels, or explain `view` {NEIGHBORS!r}",
        )


def check_asked(
    query: Cells,
    atlas: Atlas,
    cells: Sequence[str],
    group_key: str | None,
    against: str | None,
    read: ReadOptions,
    view: str = NEIGHBORS,
) -> None:
    """Raise the errors of `attributions` about its arguments, before any call is made."""
    if cells and group_key is not None:
        raise InputError("`cells` and `group_key` exclude each other", fix="leave one out")
    require_genes(atlas)
    _check_against(atlas, against, atlas.label_means)
    _check_view(atlas, view)
    with open_cells(query, read.obs, read.selection) as file:
        if group_key is not None:
            file.existing(group_key, "group_key")
        there = set(file.obs_names.tolist()) if cells else set()
        for name in cells:
            if name not in there:
                raise unknown("cell", name, file.obs_names.tolist(), query)


def _check_against(atlas: Atlas, against: str | None, means: Floats) -> None:
    there = atlas.label_names[means.any(axis=1)].tolist()
    if len(there) < 2:
        raise InputError(
            f"atlas {atlas.name} has one label", "two or more, to compare them", "use an atlas with more labels"
        )
    if against is not None and against not in there:
        raise unknown("label for `against`", against, there, f"atlas {atlas.name}")


def _compared(calls: Annotation, atlas: Atlas, codes: Ints, n_groups: int, against: str | None) -> _Compared:
    """Return the labels to compare, for each group."""
    means, labels = atlas.label_means, atlas.label_names.tolist()
    _check_against(atlas, against, means)
    cells = np.flatnonzero(codes >= 0)
    votes, mean = np.zeros((n_groups, len(labels))), np.zeros((n_groups, means.shape[1]))
    np.add.at(votes, codes[cells], calls.scores[cells])
    np.add.at(mean, codes[cells], calls.vectors[cells])
    similarity = mean / np.bincount(codes[cells], minlength=n_groups)[:, None] @ means.T
    votes[votes < STRAY * votes.sum(axis=1, keepdims=True)] = 0
    # By votes, and without votes by similarity; a label that has no cells left comes last.
    rank = np.lexsort((-np.where(means.any(axis=1), similarity, -np.inf), -votes), axis=1)
    label, other = rank[:, 0], rank[:, 1]
    if against is not None:
        fixed = labels.index(against)
        other = np.where(label == fixed, other, fixed)
    each = np.arange(n_groups)
    return _Compared(label, other, means[label] - means[other], similarity[each, label], similarity[each, other])


def groups_of(calls: Annotation, cells: Sequence[str], groups: Sequence[str]) -> tuple[Strings, Ints]:
    """Return the names of the groups with cells that express genes, and (n,) the group of each cell; -1 for none."""
    of = np.array(groups if len(groups) else calls.label, dtype=object)
    if len(of) != len(calls):
        raise InputError(f"`groups` has {len(of):,} values", f"one for each of the {len(calls):,} cells", "give all")
    if cells:
        place = {name: i for i, name in enumerate(calls.obs_names.tolist())}
        of = np.full(len(calls), "", dtype=object)
        for name in cells:
            if name not in place:
                raise unknown("cell", name, calls.obs_names.tolist(), "the query")
            if calls.reason[place[name]] == NO_EXPRESSION:
                raise InputError(f"cell {name} has no expression on the atlas's genes", fix="leave it out")
            of[place[name]] = name
    none = {""} if cells or len(groups) else {"", UNKNOWN}
    here = (calls.reason != NO_EXPRESSION) & ~np.isin(of.astype(str), list(none))
    if not here.any():
        seen = "no cell to explain: all are unknown, without expression, or in no group"
        raise InputError(seen, fix="give `cells`, or `groups` of cells that have a label")
    names = list(dict.fromkeys(cells)) or sorted(set(of[here].tolist()))
    code = {name: i for i, name in enumerate(names)}
    return np.array(names, object), np.array([code[one] if yes else -1 for one, yes in zip(of, here, strict=True)])


def _names_in(var_names: Strings, columns: sp.csr_matrix[np.float32]) -> Strings:
    """Return (g,) the query's names of an atlas's genes, "" for a gene that it does not measure.

    Of several columns of one gene, the one that counts most is named, or the first of those; `columns` is (n_vars, g)
    from `aligner`.
    """
    pairs = columns.tocoo()
    order = np.lexsort((pairs.row, -pairs.data))[::-1]
    names = np.full(columns.shape[1], "", dtype=object)
    names[pairs.col[order]] = var_names[pairs.row[order]]
    return names
