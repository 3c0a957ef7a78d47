"""The view of ranks: a regression on the ranks of genes that tell pairs of labels apart.

Ranks within a cell do not change with depth, and little with platform. The cosine of two cells' centred ranks is
Spearman's correlation, by which SingleR calls (Aran et al. 2019); here the labels are told apart by a linear head. It
starts from the correlation with each label's mean ranks, and is held to it: where a label has one cell, or a mean
profile, that is all there is to learn; where it has hundreds, they decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Floats, Ints
from scvec.views.markers import pairwise_genes
from scvec.views.regression import fit_softmax, shares_of
from scvec.views.sparse import dense_ranks, places, projected, ranked
from scvec.views.view import Arrays, Cells, Labelled

EACH, MOST = 30, 1500
"""Genes for each ordered pair of labels, and in all."""

MOST_CELLS = 5000
"""Cells on which the regression is fitted."""

ITERATIONS = 100
"""Steps of the regression, at most: more change no call."""

SCALE = 30.0
"""Length of a cell in the regression, whose weights have scikit-learn's default penalty: it multiplies correlations."""


@dataclass(frozen=True, slots=True)
class RankView:
    """Maps the ranks of a cell's genes to logits of the labels.

    Attributes
    ----------
    genes
        (m,) ascending positions of the genes that are ranked.
    slopes
        (m, L) weights of the unit ranks.
    intercept
        (L,) intercepts.
    """

    genes: Ints
    slopes: Floats
    intercept: Floats
    name: ClassVar[str] = "rank"

    def project(self, known: Cells) -> Floats:
        """Return (n, L) logits; see `scvec.views.view.View`."""
        amounts, ground = ranked(known, self.genes)
        ranks = sp.csr_matrix((amounts, known.indices, known.indptr), shape=known.shape)
        none = np.zeros(self.slopes.shape[1], np.float32)
        logits = projected(ranks, self.genes, self.slopes, none).astype(np.float64)
        logits += ground[:, None] * self.slopes.sum(axis=0, dtype=np.float64) + self.intercept
        return logits.astype(np.float32)

    def shares(self, points: Floats) -> Doubles:
        """Return (n, L) shares of the labels by the logits."""
        return shares_of(points.astype(np.float64))

    def contributions(self, known: Cells, code: Ints, other: Ints) -> Cells:
        """Return (n, g) by how much each gene speaks for a label against another; see `scvec.views.view.View`.

        A gene that is not expressed speaks too, by its low rank. The sum over all genes, plus the difference of the
        intercepts, is the difference of the logits.
        """
        amounts, ground = ranked(known, self.genes)
        place = places(self.genes, known.shape[1])
        owner = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
        differences = (self.slopes.T[code] - self.slopes.T[other]).astype(np.float64)
        dense = ground[:, None] * differences
        known_here = place[known.indices] >= 0
        rows, columns = owner[known_here], place[known.indices][known_here]
        dense[rows, columns] += amounts[known_here] * differences[rows, columns]
        n, m = dense.shape
        indices, indptr = np.tile(self.genes, n), np.arange(0, n * m + 1, m)
        return sp.csr_matrix((dense.astype(np.float32).ravel(), indices, indptr), shape=known.shape)

    def arrays(self) -> Arrays:
        """Return what is saved."""
        return {"genes": self.genes, "slopes": self.slopes, "intercept": self.intercept}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return the view of which `arrays` was saved."""
        return cls(arrays["genes"], arrays["slopes"], arrays["intercept"])


def fit_rank(cells: Labelled, random_state: int) -> RankView:
    """Fit a view of ranks; of many cells, on some of each label.

    Parameters
    ----------
    cells
        The labelled cells.
    random_state
        Seed of the choice of cells.
    """
    cells = cells.balanced(MOST_CELLS, random_state)
    genes = pairwise_genes(cells, EACH, MOST)
    ranks = dense_ranks(cells.logged, genes) * np.float32(SCALE)
    towards = _mean_ranks(ranks, cells.codes, cells.n_labels)
    found = fit_softmax(ranks, cells.codes, cells.n_labels, iterations=ITERATIONS, towards=towards)
    return RankView(genes, found.slopes * np.float32(SCALE), found.intercept)


def _mean_ranks(ranks: Floats, codes: Ints, n_labels: int) -> Floats:
    """Return (m, L) each label's mean of (n, m) centred ranks, of length one; zeros for a label without cells."""
    means = np.zeros((n_labels, ranks.shape[1]))
    np.add.at(means, codes, ranks)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray((means / np.where(lengths > 0, lengths, 1.0)).T, np.float32)
