"""By how much a cell's counts exceed what its label expresses, in units of what chance explains.

`Profiles.odd` measures the same in units of the cell's length, in which a few strong genes decide. Here a gene counts
by how unlikely its counts are: one that no cell of the label has counts much, one that varies among cells of one label
counts little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.jit import over_rows
from scvec.core.types import Doubles, Floats, Ints, freeze
from scvec.embed.kernel import ROWS, add_rows, parts
from scvec.embed.projection import Mask
from scvec.embed.sample import Sample

N_GENES = 20
"""Genes that are summed: those whose counts exceed the label's the most."""

FLOOR = 0.1
"""Added to counts before their ratio is taken: a single count of a gene that the label lacks does not surprise."""

PRIOR = 3.0
"""A label's shares are taken together with so many cells of the mean of all."""

DEEP = 0.95

LEAST_DISPERSION, MOST_DISPERSION = 0.1, 20.0


@dataclass(frozen=True, slots=True)
class Surplus:
    """What share of a cell's counts each label has of each gene, and how far counts vary among cells of one label.

    Attributes
    ----------
    shares
        (L, g) the mean share of each gene in the counts of a label's cells.
    dispersion
        (g,) the variance of counts within labels beyond a Poisson's, by the square of their mean.
    depth
        The number of counts that `DEEP` of the cells have at most; deeper cells, as other platforms have them, are
        taken as if they had so many.
    """

    shares: Floats
    dispersion: Floats
    depth: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", freeze(self.shares))
        object.__setattr__(self, "dispersion", freeze(self.dispersion))

    @classmethod
    def of(cls, sample: Sample) -> Surplus:
        """Return what the labels of a sample express."""
        counts, depths = counts_of(sample.logged)
        shares = _shares(counts, depths, sample.codes, sample.n_labels)
        return cls(shares, _dispersion(counts, depths, sample, shares), float(np.quantile(depths, DEEP)))

    def __call__(self, known: sp.csr_matrix[np.float32], measured: Mask, codes: Ints) -> Floats:
        """Return by how much cells exceed the labels that they are called.

        Parameters
        ----------
        known
            (n, g) log-normalised cells.
        measured
            (g,) True for the genes that their matrix has.
        codes
            (n,) the label of each cell; -1 for none.

        Returns
        -------
        surplus
            (n,) the sum over the `N_GENES` genes with the largest surplus, of the deviance of their counts from the
            label's by the spread of the gene; 0 for a cell without a label.
        """
        from scvec.embed import compiled

        _, genes, indptr = parts(known)
        data, amounts, depths = _linear(known)
        depths = np.minimum(depths, self.depth)
        kept = self.shares * measured
        shares = (kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)
        called, found = freeze(np.asarray(codes, np.int64)), np.zeros(len(codes))

        def rows(lo: int, hi: int) -> None:
            compiled.surplus(
                data, genes, indptr, amounts, depths, shares, self.dispersion, called, FLOOR, N_GENES, found, lo, hi
            )

        over_rows(rows, len(codes), ROWS)
        return found.astype(np.float32)


def _linear(known: sp.csr_matrix[np.float32]) -> tuple[Floats, Doubles, Doubles]:
    """Return cells' linear values, (n,) their sums, and how many counts these are if the smallest value is one."""
    from scvec.embed import compiled

    logged, _, indptr = parts(known)
    n = known.shape[0]
    values, sums, least = np.expm1(logged), np.empty(n), np.empty(n)

    def rows(lo: int, hi: int) -> None:
        compiled.sums_and_least(values, indptr, sums, least, lo, hi)

    over_rows(rows, n, ROWS)
    return freeze(values), sums, sums / np.maximum(least, 1e-9)


def counts_of(known: sp.csr_matrix[np.float32]) -> tuple[sp.csr_matrix[np.float32], Doubles]:
    """Return the counts of log-normalised cells, and their (n,) totals: the smallest value of a cell is one count."""
    values, sums, depths = _linear(known)
    data = (values * np.repeat(depths / sums, np.diff(known.indptr))).astype(np.float32)
    return sp.csr_matrix((data, known.indices, known.indptr), shape=known.shape), depths


def _shares(counts: sp.csr_matrix[np.float32], depths: Doubles, codes: Ints, n_labels: int) -> Floats:
    sums = add_rows(counts, 1 / np.maximum(depths, 1e-9), codes, n_labels)
    sizes = np.bincount(codes, minlength=n_labels)[:, None]
    mean = sums.sum(axis=0) / len(codes)
    return np.asarray((sums + PRIOR * mean) / (sizes + PRIOR), np.float32)


def _dispersion(counts: sp.csr_matrix[np.float32], depths: Doubles, sample: Sample, shares: Floats) -> Floats:
    """Return (g,) the dispersion by the method of moments, given the means of each cell's label."""
    one, n_labels = np.ones(len(depths)), sample.n_labels
    squares = sp.csr_matrix((counts.data**2, counts.indices, counts.indptr), shape=counts.shape)
    square = add_rows(squares, one, sample.codes, n_labels)
    crossed = add_rows(counts, depths, sample.codes, n_labels) * shares
    expected = np.bincount(sample.codes, depths**2, n_labels)[:, None] * shares.astype(np.float64) ** 2
    poisson = np.bincount(sample.codes, depths, n_labels)[:, None] * shares
    beyond = (square - 2 * crossed + expected - poisson).sum(axis=0)
    found = beyond / np.maximum(expected.sum(axis=0), 1e-9)
    return np.asarray(np.clip(found, LEAST_DISPERSION, MOST_DISPERSION), np.float32)
