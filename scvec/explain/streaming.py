"""Sums over groups of a file's cells, batch by batch: what they express, and what each gene contributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.atlas import Atlas
from scvec.atlas.query_cells import OpenCells
from scvec.core.types import Doubles, Floats, Ints, Progress
from scvec.core.vectors import unit_rows
from scvec.embed.projection import Mask
from scvec.errors import InputError

TINY = 1e-300
"""The smallest share whose logarithm is taken."""

ROUNDING = 1e-12
"""A variance below this share of the squared mean is rounding error, and taken as 0."""


def require_genes(atlas: Atlas) -> None:
    """Raise `InputError` if genes have no part in the vectors of an atlas."""
    if atlas.recipe.weights == "sentence":
        raise InputError(
            f"atlas {atlas.name!r} makes one text of each cell: no gene has a share of its own in the vector",
            "an atlas whose vectors are sums over genes",
            "build one with another recipe, such as genept-w",
        )
    if atlas.recipe.weights == "given":
        raise InputError(
            f"atlas {atlas.name!r} takes its cell vectors from obsm[{atlas.recipe.name!r}]: no gene has a part in them",
            "an atlas whose vectors are made of expression",
            "build one without `use_rep`",
        )


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the cells of two groups, for g genes; of log-normalised expression except `linear`.

    Attributes
    ----------
    n_cells
        (2,) number of cells in each group.
    sums, squares
        (2, g) sums of the values and of their squares.
    expressing
        (2, g) number of cells that express the gene.
    linear
        (2, g) sums of the values before the logarithm.
    """

    n_cells: Ints
    sums: Doubles
    squares: Doubles
    expressing: Doubles
    linear: Doubles

    @classmethod
    def none(cls, n_genes: int) -> Moments:
        """Return the sums of no cells."""
        return cls(np.zeros(2, np.int64), *(np.zeros((2, n_genes)) for _ in range(4)))

    def add(self, known: sp.csr_matrix[np.float32], codes: Ints) -> Moments:
        """Return the sums with (n, g) log-normalised cells added; `codes` is (n,), the group 0 or 1, -1 for none."""
        here = np.flatnonzero(codes >= 0)
        ones = np.ones(len(here))
        groups = sp.csr_matrix((ones, (codes[here], here)), shape=(2, len(codes)))
        values = known.astype(np.float64)

        def summed(data: Doubles) -> Doubles:
            made = sp.csr_matrix((data, values.indices, values.indptr), shape=values.shape)
            return np.asarray((groups @ made).todense(), np.float64)

        return Moments(
            self.n_cells + np.bincount(codes[here], minlength=2),
            self.sums + summed(values.data),
            self.squares + summed(values.data**2),
            self.expressing + summed((values.data > 0).astype(np.float64)),
            self.linear + summed(np.expm1(values.data)),
        )

    @property
    def means(self) -> Doubles:
        """(2, g) means of log-normalised expression."""
        return np.asarray(self.sums / self.n_cells[:, None])

    @property
    def shares(self) -> Doubles:
        """(2, g) shares of the cells that express the gene."""
        return np.asarray(self.expressing / self.n_cells[:, None])

    @property
    def log2_fold_change(self) -> Doubles:
        """(g,) log2 of the ratio of (mean + 1), first group over second, of expression before the logarithm."""
        first, second = np.log2(self.linear / self.n_cells[:, None] + 1)
        return np.asarray(first - second)

    def welch(self) -> tuple[Doubles, Doubles]:
        """Return (g,) Welch's t, positive where the first group has more, and (g,) its two-sided p-value.

        Where neither group varies, there is nothing to test: t is 0 and p is 1.
        """
        from scipy.stats import ttest_ind_from_stats

        n, means = self.n_cells[:, None], self.means
        variances = np.maximum(self.squares - n * means**2, 0) / (n - 1)
        variances[variances < ROUNDING * means**2] = 0
        deviations = np.sqrt(variances)
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second = ((means[i], deviations[i], int(self.n_cells[i])) for i in (0, 1))
            t, p = ttest_ind_from_stats(*first, *second, equal_var=False)
        tested = variances.any(axis=0)
        return np.where(tested, t, 0.0), np.where(tested, p, 1.0)


@dataclass(frozen=True, slots=True)
class GroupedCells:
    """The cells of some groups, to be read batch by batch.

    Attributes
    ----------
    cells
        The cells, on the genes of an atlas.
    codes
        (n,) the group of each cell, by number; -1 for none.
    """

    cells: OpenCells
    codes: Ints

    @property
    def atlas(self) -> Atlas:
        """The atlas on whose genes they are taken."""
        return self.cells.query.atlas

    @property
    def measured(self) -> Mask:
        """(g,) True for the genes that the cells' matrix has."""
        return self.cells.measured

    def batches(self, title: str, progress: Progress) -> Iterator[tuple[Ints, sp.csr_matrix[np.float32]]]:
        """Yield the positions of cells in the file, and their expression on the atlas's genes."""
        for first, _, known in self.cells.batches(title, progress):
            rows = np.flatnonzero(self.codes[first : first + known.shape[0]] >= 0)
            if len(rows):
                yield first + rows, known[rows]


def compared(cells: GroupedCells, progress: Progress) -> tuple[Moments, Floats]:
    """Return what groups 0 and 1 express, and (d,) the unit vector from 1 to 0; sets `codes` of empty cells to -1."""
    embedding = cells.atlas.embedding
    moments, sums = Moments.none(len(cells.measured)), np.zeros((2, embedding.dimension))
    for rows, known in cells.batches("comparing expression", progress):
        vectors, empty = cells.cells.vectors(rows, known)
        cells.codes[rows[empty]] = -1
        codes = cells.codes[rows]
        np.add.at(sums, codes[~empty], vectors[~empty])
        moments = moments.add(known, codes)
    first, second = sums / np.maximum(moments.n_cells, 1)[:, None]
    way = first - second
    return moments, np.asarray(way / (np.linalg.norm(way) or 1.0), np.float32)


@dataclass(frozen=True, slots=True)
class Contributed:
    """Means over the cells of each of G groups, for g genes.

    Attributes
    ----------
    genes, excess
        (G, g) what each gene contributes to the similarity with the group's direction, and how much of it there is
        above what it is counted from.
    total, baseline
        (G,) the similarity, and the part of it that no gene contributes.
    """

    genes: Doubles
    excess: Doubles
    total: Doubles
    baseline: Doubles


def contributed(cells: GroupedCells, towards: Floats, title: str, progress: Progress) -> Contributed:
    """Return what genes contribute to the similarity of each group's cells with (G, d) a direction for each group."""
    n_groups, n_genes = len(towards), len(cells.measured)
    genes, excess = np.zeros((n_groups, n_genes)), np.zeros((n_groups, n_genes))
    total, baseline = np.zeros(n_groups), np.zeros(n_groups)
    for rows, known in cells.batches(title, progress):
        codes = cells.codes[rows]
        made = cells.atlas.embedding.contributions(known, cells.measured, towards[codes])
        genes += made.of_groups(codes, n_groups)
        excess += made.excess_of_groups(codes, n_groups)
        total += np.bincount(codes, made.total, n_groups)
        baseline += np.bincount(codes, made.baseline, n_groups)
    size = np.bincount(cells.codes[cells.codes >= 0], minlength=n_groups)
    return Contributed(genes / size[:, None], excess / size[:, None], total / size, baseline / size)


def seen(
    cells: GroupedCells, view: str, label: Ints, against: Ints, progress: Progress
) -> tuple[Contributed, Doubles, Doubles]:
    """Return what genes add to the lead of a label over another by a further view, and the logarithms of both shares.

    Parameters
    ----------
    cells
        The cells of G groups.
    view
        The name of the view.
    label, against
        (G,) codes of the labels, for each group.
    """
    atlas = cells.atlas
    found = atlas.views.of[view] if atlas.views is not None else None
    if found is None:
        raise KeyError(view)
    n_groups, n_genes = len(label), len(cells.measured)
    genes, excess, logs = np.zeros((n_groups, n_genes)), np.zeros((n_groups, n_genes)), np.zeros((2, n_groups))
    size = np.bincount(cells.codes[cells.codes >= 0], minlength=n_groups)
    usual = atlas.profiles.labels.mean(axis=0)
    for rows, known in cells.batches("explaining", progress):
        codes = cells.codes[rows]
        member = sp.csr_matrix((np.ones(len(rows)), (codes, np.arange(len(rows)))), shape=(n_groups, len(rows)))
        genes += (member @ found.contributions(known, label[codes], against[codes])).toarray()
        excess += (member @ unit_rows(known)).toarray()
        shares = np.log(np.maximum(found.shares(found.project(known)), TINY))
        each = np.arange(len(rows))
        for i, codes_of in enumerate((label, against)):
            logs[i] += np.bincount(codes, shares[each, codes_of[codes]], n_groups)
    genes, logs, excess = genes / size[:, None], logs / size, excess / size[:, None] - usual
    total = logs[0] - logs[1]
    return Contributed(genes, excess, total, total - genes.sum(axis=1)), logs[0], logs[1]
