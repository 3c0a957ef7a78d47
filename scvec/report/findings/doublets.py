"""Whether a cell looks like two: a mixture of two labels of the reference explains it better than one of them.

Doublets are imitated by mixtures of two types, as Scrublet does (Wolock et al., Cell Systems 2019). Here the types are
known, so that means of labels are mixed, and a likelihood decides; two cells of one label are not told from one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools, Doubles, Ints
from scvec.embed.sample import Sample
from scvec.views import Labelled
from scvec.views.markers import telling_genes

GENES = 2000
"""About so many genes that tell labels apart are read."""

SHARES = (0.3, 0.5, 0.7)
"""Shares of the first label that are tried in a mixture."""

LEAST = 3e-6
"""Added to the share of each gene in a label, so that no gene is impossible."""

POWER = 0.25
"""Expression is raised to this power, so that a few strong genes, which vary most, do not decide alone."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """What single cells of each label look like, of which mixtures are made.

    Attributes
    ----------
    genes
        (m,) ascending positions of the genes that are read.
    labels
        (L, m) mean share of each gene in the cells of each label, of damped expression; rows sum to one.
    codes
        (L,) the labels, as codes of the sample.
    """

    genes: Ints
    labels: Doubles
    codes: Ints

    @classmethod
    def of(cls, sample: Sample, measured: Bools, fewest: int) -> Mixing:
        """Return what a reference's cells look like on the measured genes, (g,) True.

        Labels with less than `fewest` cells are left out: their means are unreliable.
        """
        many = np.bincount(sample.codes, minlength=sample.n_labels) >= fewest
        kept = np.flatnonzero(many[sample.codes])
        codes, own = np.unique(sample.codes[kept], return_inverse=True)
        logged, one_donor = sp.csr_matrix(sample.logged[kept]), np.zeros(len(kept), np.int64)
        if not len(kept):
            return cls(np.zeros(0, np.int64), np.zeros((0, 0)), codes)
        genes = telling_genes(Labelled(logged, own, len(codes), one_donor, measured), GENES)
        member = sp.csr_matrix((np.ones(len(own)), (own, np.arange(len(own)))), (len(codes), len(own)))
        sums = (member @ _damped(logged.expm1(), genes)[0]).toarray()
        shares = sums / np.maximum(sums.sum(axis=1, keepdims=True), LEAST) + LEAST
        return cls(genes, np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float64), codes)

    def scores(self, linear: sp.csr_matrix[np.float32]) -> tuple[Doubles, Ints]:
        """Return by how much a mixture of two labels explains cells better than one label does.

        Parameters
        ----------
        linear
            (n, g) cells: any values in proportion to counts.

        Returns
        -------
        scores
            (n,) the gain in log-likelihood that the best mixture of a cell's nearest label with another has over that
            label, as if each gene that the cell expresses were one draw. NaN for a cell without these genes, or if
            there are fewer than two labels.
        pairs
            (n, 2) codes of the two labels, the nearest first; -1 if there are none.
        """
        shares, n_genes = _damped(linear, self.genes)
        scores, pairs = np.full(len(n_genes), np.nan), np.full((len(n_genes), 2), -1)
        if len(self.codes) < 2:
            return scores, pairs
        single = shares @ np.log(self.labels).T
        first = single.argmax(axis=1)
        for label in np.unique(first[n_genes > 0]):
            cells = np.flatnonzero((n_genes > 0) & (first == label))
            gains = self._mixed(sp.csr_matrix(shares[cells]), int(label)) - single[cells, label, None]
            scores[cells] = gains.max(axis=1) * n_genes[cells]
            pairs[cells] = np.column_stack([np.full(len(cells), self.codes[label]), self.codes[gains.argmax(axis=1)]])
        return scores, pairs

    def _mixed(self, shares: sp.csr_matrix[np.float64], label: int) -> Doubles:
        """Return (n, L) the log-likelihood of the best mixture of a label with each other; -inf for itself."""
        best = np.full((shares.shape[0], len(self.labels)), -np.inf)
        for share in SHARES:
            mixed = share * self.labels[label] + (1 - share) * self.labels
            best = np.maximum(best, shares @ np.log(mixed).T)
        best[:, label] = -np.inf
        return np.asarray(best, np.float64)


def _damped(linear: sp.csr_matrix[np.float32], genes: Ints) -> tuple[sp.csr_matrix[np.float64], Ints]:
    """Return (n, m) shares of some genes in damped expression, which sum to one, and how many each cell expresses."""
    kept = sp.csr_matrix(linear[:, genes]).astype(np.float64)
    kept.eliminate_zeros()
    kept.data = np.power(kept.data, POWER)
    totals = np.asarray(kept.sum(axis=1)).ravel()
    scale = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
    n_genes: Ints = np.diff(kept.indptr).astype(np.int64)
    kept.data *= np.repeat(scale, n_genes)
    return kept, n_genes
