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

LEAST = 1e-6
"""Added to the share of each gene in a label, so that no gene is impossible."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """What single cells of each label look like, of which mixtures are made.

    Attributes
    ----------
    genes
        (m,) ascending positions of the genes that are read.
    labels
        (L, m) each label's mean share of each gene, of square roots; rows of `codes`.
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
        logged = sp.csr_matrix(sample.logged[kept])
        nobody = np.zeros(len(kept), np.int64)
        genes = telling_genes(Labelled(logged, own, len(codes), nobody, measured), GENES)
        member = sp.csr_matrix((np.ones(len(own)), (own, np.arange(len(own)))), (len(codes), len(own)))
        sums = (member @ _roots(logged.expm1(), genes)).toarray() + LEAST
        return cls(genes, np.asarray(sums / sums.sum(axis=1, keepdims=True), np.float64), codes)

    def scores(self, linear: sp.csr_matrix[np.float32]) -> tuple[Doubles, Ints]:
        """Return by how much a mixture of two labels explains cells better than one label does.

        Parameters
        ----------
        linear
            (n, g) cells: any values in proportion to counts.

        Returns
        -------
        scores
            (n,) the gain in log-likelihood for each unit of expression, in square roots, that the best mixture of a
            cell's nearest label with another has over that label. It does not depend on the number of counts. NaN for a
            cell without these genes.
        others
            (n,) the code of the other label; -1 if there is none.
        """
        roots = _roots(linear, self.genes)
        single = roots @ np.log(self.labels).T
        first, scores = single.argmax(axis=1), np.full(len(single), np.nan)
        others = np.full(len(single), -1)
        filled = np.diff(roots.indptr) > 0
        for label in np.unique(first[filled]):
            cells = np.flatnonzero(filled & (first == label))
            gains = self._gains(sp.csr_matrix(roots[cells]), int(label)) - single[cells, label, None]
            scores[cells] = gains.max(axis=1)
            others[cells] = self.codes[gains.argmax(axis=1)]
        return scores, np.where(np.isfinite(scores), others, -1)

    def _gains(self, roots: sp.csr_matrix[np.float64], label: int) -> Doubles:
        """Return (n, L) the log-likelihood of the best mixture of a label with each other; -inf for itself."""
        best = np.full((roots.shape[0], len(self.labels)), -np.inf)
        for share in SHARES:
            mixed = share * self.labels[label] + (1 - share) * self.labels
            best = np.maximum(best, roots @ np.log(mixed).T)
        best[:, label] = -np.inf
        return np.asarray(best, np.float64)


def _roots(linear: sp.csr_matrix[np.float32], genes: Ints) -> sp.csr_matrix[np.float64]:
    """Return (n, m) square roots of cells on some genes, as shares of each cell: a few strong genes then decide less."""
    roots = sp.csr_matrix(linear[:, genes], dtype=np.float64).sqrt()
    totals = np.asarray(roots.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags_array(np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)) @ roots)
