"""The view of components: a linear head on the principal components of genes that tell labels apart.

The components are what the correction of a query moves (`scvec.views.shift`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh

from scvec.core.types import Doubles, Floats, Ints
from scvec.views.markers import telling_genes
from scvec.views.regression import Softmax, fit_softmax
from scvec.views.sparse import places, projected
from scvec.views.view import Arrays, Cells, Labelled

GENES = 2000
"""About so many genes, the same number for each label."""

COMPONENTS = 100
"""Principal components that are kept, at most."""

FLOOR = 0.15
"""Added to a gene's standard deviation by which it is divided, so that genes of rare cells do not drown the others."""


@dataclass(frozen=True, slots=True)
class CorrectedView:
    """Maps the expression of telling genes to principal components, and these to shares of the labels.

    Attributes
    ----------
    genes
        (m,) ascending positions of the telling genes.
    weights
        (m, d) of a linear map of log-normalised expression to components, in units of their mean spread.
    mean
        (m,) mean expression of the reference's cells, whose components are zero.
    slopes, intercept
        (d, L) and (L,) of the head.
    centres
        (L, d) the mean of each label's cells; zeros for a label without cells.
    sizes
        (L,) the numbers of cells that it is the mean of.
    """

    genes: Ints
    weights: Floats
    mean: Floats
    slopes: Floats
    intercept: Floats
    centres: Floats
    sizes: Ints
    name: ClassVar[str] = "corrected"

    def project(self, known: Cells) -> Floats:
        """Return (n, d) components; see `scvec.views.view.View`."""
        return projected(known, self.genes, self.weights, -self.mean @ self.weights)

    def shares(self, points: Floats) -> Doubles:
        """Return (n, L) shares of the labels; see `scvec.views.view.View`."""
        return Softmax(self.slopes, self.intercept).shares(points)

    def contributions(self, known: Cells, code: Ints, other: Ints) -> Cells:
        """Return (n, g) by how much each gene speaks for a label against another; see `scvec.views.view.View`.

        Expression is compared with the mean cell of the reference, whose components are zero. The sum over all genes,
        plus the difference of the intercepts, is the difference of the logits.
        """
        towards = self.slopes.T[code] - self.slopes.T[other]
        n, m = known.shape[0], len(self.genes)
        place, owner = places(self.genes, known.shape[1]), np.repeat(np.arange(n), np.diff(known.indptr))
        here = place[known.indices] >= 0
        dense = np.tile(-self.mean, (n, 1))
        dense[owner[here], place[known.indices][here]] += known.data[here]
        dense *= towards @ self.weights.T
        indices, indptr = np.tile(self.genes, n), np.arange(0, n * m + 1, m)
        return sp.csr_matrix((dense.ravel(), indices, indptr), shape=known.shape)

    def arrays(self) -> Arrays:
        """Return what is saved."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return the view of which `arrays` was saved."""
        return cls(**{name: arrays[name] for name in ARRAYS})


ARRAYS = ("genes", "weights", "mean", "slopes", "intercept", "centres", "sizes")


def fit_corrected(cells: Labelled, random_state: int) -> CorrectedView:
    """Fit a view of components.

    Parameters
    ----------
    cells
        The labelled cells.
    random_state
        Unused: nothing is drawn.
    """
    del random_state
    genes = telling_genes(cells, GENES)
    dense = np.asarray(cells.logged[:, genes].toarray(), np.float32)
    mean, spread = dense.mean(axis=0, dtype=np.float64), dense.std(axis=0, dtype=np.float64)
    scale = 1.0 / (spread + FLOOR)
    dense -= mean.astype(np.float32)
    dense *= scale.astype(np.float32)
    axes = principal_axes(dense, COMPONENTS)
    points = dense @ axes
    unit = 1.0 / max(float(points.std(axis=0).mean()), 1e-6)
    points *= np.float32(unit)
    head = fit_softmax(points, cells.codes, cells.n_labels)
    sizes = np.bincount(cells.codes, minlength=cells.n_labels)
    centres = np.zeros((cells.n_labels, points.shape[1]))
    np.add.at(centres, cells.codes, points)
    centres /= np.maximum(sizes, 1)[:, None]
    weights = (axes * (scale * unit)[:, None]).astype(np.float32)
    return CorrectedView(
        genes, weights, mean.astype(np.float32), head.slopes, head.intercept, centres.astype(np.float32), sizes
    )


def principal_axes(centred: Floats, n: int) -> Floats:
    """Return (m, d) the first principal axes of (n, m) centred cells; the largest weight of each is positive."""
    cells, genes = centred.shape
    d = max(1, min(n, cells - 1, genes))
    if genes <= cells:
        products = (centred.T @ centred).astype(np.float64)
        axes = eigh(products, subset_by_index=[genes - d, genes - 1])[1][:, ::-1].astype(np.float32)
    else:
        products = (centred @ centred.T).astype(np.float64)
        powers, rows = eigh(products, subset_by_index=[cells - d, cells - 1])
        rows = rows[:, ::-1] / np.sqrt(np.maximum(powers[::-1], 1e-9))
        axes = centred.T @ rows.astype(np.float32)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return np.asarray(axes * np.where(signs == 0, 1, signs), np.float32)
