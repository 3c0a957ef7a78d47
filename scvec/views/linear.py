"""The view of all genes: a linear head on cells scaled to unit length.

A recipe may name it. The default does not: beside the others it changes little (``benchmarks/results/views.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Floats, Ints
from scvec.core.vectors import unit_rows
from scvec.views.markers import usable
from scvec.views.regression import fit_softmax, shares_of
from scvec.views.sparse import projected
from scvec.views.view import Arrays, Cells, Labelled

SCALE = 10.0
"""Length of a cell in the regression, whose weights have scikit-learn's default penalty."""

ITERATIONS = 100
"""Steps of the regression, at most."""


@dataclass(frozen=True, slots=True)
class LinearView:
    """Maps a cell of unit length to logits of the labels.

    Attributes
    ----------
    genes
        (m,) ascending positions of the genes.
    slopes
        (m, L) weights.
    intercept
        (L,) intercepts.
    """

    genes: Ints
    slopes: Floats
    intercept: Floats
    name: ClassVar[str] = "linear"

    def project(self, known: Cells) -> Floats:
        """Return (n, L) logits; see `scvec.views.view.View`."""
        return projected(unit_rows(known), self.genes, self.slopes, self.intercept)

    def shares(self, points: Floats) -> Doubles:
        """Return (n, L) shares of the labels by the logits."""
        return shares_of(points.astype(np.float64))

    def contributions(self, known: Cells, code: Ints, other: Ints) -> Cells:
        """Return (n, g) by how much each gene speaks for a label against another; see `scvec.views.view.View`."""
        cells = unit_rows(known)
        weights = np.zeros((known.shape[1], self.slopes.shape[1]), np.float32)
        weights[self.genes] = self.slopes
        owner = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
        towards = weights[known.indices, code[owner]] - weights[known.indices, other[owner]]
        return sp.csr_matrix((cells.data * towards, known.indices, known.indptr), shape=known.shape)

    def arrays(self) -> Arrays:
        """Return what is saved."""
        return {"genes": self.genes, "slopes": self.slopes, "intercept": self.intercept}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return the view of which `arrays` was saved."""
        return cls(arrays["genes"], arrays["slopes"], arrays["intercept"])


def fit_linear(cells: Labelled, random_state: int) -> LinearView:
    """Fit a view of all measured genes. Nothing is drawn: `random_state` is unused."""
    del random_state
    genes = np.flatnonzero(usable(cells))
    genes = genes if len(genes) else np.flatnonzero(cells.measured)
    points = sp.csr_matrix(unit_rows(cells.logged)[:, genes] * np.float32(SCALE))
    found = fit_softmax(points, cells.codes, cells.n_labels, iterations=ITERATIONS)
    return LinearView(genes.astype(np.int64), found.slopes * np.float32(SCALE), found.intercept)
