"""Sums over two groups of a file's cells, batch by batch: what they express, and what each gene contributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.atlas import Atlas
from scvec.atlas.query_cells import log_normalised
from scvec.core.types import Doubles, Floats, Ints, Progress
from scvec.embed.projection import Mask
from scvec.ingest.cells import Matrix

ROUNDING = 1e-12
"""A variance below this share of the squared mean is rounding error, and taken as 0."""


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
class TwoGroups:
    """The cells of both groups, to be read batch by batch; `codes` is (n,), 0 for A, 1 for B and -1 for others."""

    matrix: Matrix
    atlas: Atlas
    columns: sp.csr_matrix[np.float32]
    measured: Mask
    share: float | None
    codes: Ints

    def batches(self, title: str, progress: Progress) -> Iterator[tuple[Ints, sp.csr_matrix[np.float32]]]:
        """Yield the positions of cells in the file, and their expression on the atlas's genes."""
        for first, _, known in log_normalised(self.matrix, self.columns, self.share, self.atlas, title, progress):
            rows = np.flatnonzero(self.codes[first : first + known.shape[0]] >= 0)
            if len(rows):
                yield first + rows, known[rows]


def compared(cells: TwoGroups, progress: Progress) -> tuple[Moments, Floats]:
    """Return what the groups express, and (d,) the unit vector from B to A; sets `codes` of empty cells to -1."""
    embedding = cells.atlas.embedding
    moments, sums = Moments.none(len(cells.measured)), np.zeros((2, embedding.dimension))
    for rows, known in cells.batches("comparing expression", progress):
        vectors, empty = embedding.vectors(known, cells.measured, cells.atlas.device)
        cells.codes[rows[empty]] = -1
        codes = cells.codes[rows]
        np.add.at(sums, codes[~empty], vectors[~empty])
        moments = moments.add(known, codes)
    first, second = sums / np.maximum(moments.n_cells, 1)[:, None]
    way = first - second
    return moments, np.asarray(way / (np.linalg.norm(way) or 1.0), np.float32)


def attributed(cells: TwoGroups, towards: Floats, progress: Progress) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return each group's means: of genes' contributions and amounts, (2, g); of similarity and baseline, (2,)."""
    n_genes = len(cells.measured)
    added, amounts = np.zeros((2, n_genes)), np.zeros((2, n_genes))
    along, baseline = np.zeros(2), np.zeros(2)
    for rows, known in cells.batches("attributing", progress):
        codes = cells.codes[rows]
        made = cells.atlas.embedding.contributions(known, cells.measured, np.tile(towards, (len(rows), 1)))
        added += made.of_groups(codes, 2)
        amounts += made.excess_of_groups(codes, 2)
        along += np.bincount(codes, made.total, 2)
        baseline += np.bincount(codes, made.baseline, 2)
    size = np.bincount(cells.codes[cells.codes >= 0], minlength=2)
    return added / size[:, None], amounts / size[:, None], along / size, baseline / size
