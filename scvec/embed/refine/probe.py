"""A linear probe: the logits of a logistic regression, as dimensions of a cell vector."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import solve_triangular

from scvec.core.types import Doubles, Floats
from scvec.core.vectors import unit_rows
from scvec.embed.sample import Sample

SCALE = 30.0
"""Length of a cell in the regression, whose weights have scikit-learn's default penalty."""

ITERATIONS = 200


BLOCK = 2048
"""Genes that are multiplied at once."""

MOST = 3000
"""From more cells than this, the regression is fitted on genes: cells squared cost more."""

RIDGE = 1e-4
"""Added to the squared length of a cell, so that cells that are alike, and rounding, leave the products definite."""


def in_span(sample: Sample) -> bool:
    """Whether a regression on the cells' cosines is cheaper than one on their genes."""
    n, g = sample.logged.shape
    return n <= min(g, MOST)


def cosines_of(sample: Sample) -> Floats:
    """Return (n, n) the cosines of the cells."""
    cells, n = sp.csc_matrix(unit_rows(sample.logged)), len(sample)
    cosines = np.zeros((n, n), np.float32)
    for first in range(0, cells.shape[1], BLOCK):
        block = cells[:, first : first + BLOCK].toarray()
        cosines += block @ block.T
    return cosines


def probe(sample: Sample, random_state: int, cosines: Floats | None = None) -> tuple[Floats, Floats]:
    """Fit a class-balanced multinomial logistic regression on cells scaled to unit length.

    Weights that minimise a loss with a penalty on their length are sums of cells (the representer theorem, Kimeldorf
    and Wahba 1970). So the regression is fitted in the space that n cells span, on n coordinates of each in place of
    its g genes. The coordinates are the genes rotated, so that the solver takes the same steps.

    Parameters
    ----------
    sample
        The cells.
    random_state
        Random seed.
    cosines
        (n, n) from `cosines_of`, where the caller has them.

    Returns
    -------
    weights
        (g, L) weights for cells of unit length; zeros for a label without cells.
    intercept
        (L,) intercepts; zero for a label without cells.
    """
    cells = unit_rows(sample.logged)
    if not in_span(sample):
        slopes, intercept = _regression(cells * np.float32(SCALE), sample, random_state)
        return (slopes * SCALE).astype(np.float32), intercept.astype(np.float32)
    products = np.array(cosines_of(sample) if cosines is None else cosines, np.float64)
    root = np.linalg.cholesky(products + RIDGE * np.eye(len(products)))
    coordinates, intercept = _regression((root * SCALE).astype(np.float32), sample, random_state)
    slopes = np.asarray(cells.T @ solve_triangular(root, coordinates, lower=True, trans="T"), np.float64)
    return (slopes * SCALE).astype(np.float32), intercept.astype(np.float32)


def _regression(cells: Any, sample: Sample, random_state: int) -> tuple[Doubles, Doubles]:
    """Return the weights of the columns of `cells` for each label, and the intercepts."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(class_weight="balanced", max_iter=ITERATIONS, random_state=random_state)
    with warnings.catch_warnings():
        # It stops before the last digits, on which no call depends.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(cells, sample.codes)
    weights, intercept = np.zeros((cells.shape[1], sample.n_labels)), np.zeros(sample.n_labels)
    # For two labels, scikit-learn keeps only the weights of the second.
    two = len(model.classes_) == 2
    weights[:, model.classes_] = np.concatenate([-model.coef_, model.coef_]).T if two else model.coef_.T
    intercept[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) if two else model.intercept_
    return weights, intercept
