"""A linear probe: the logits of a logistic regression, as dimensions of a cell vector."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import logsumexp

from scvec.core.types import Doubles, Floats, Ints
from scvec.core.vectors import unit_rows
from scvec.embed.sample import Sample

SCALE = 30.0
"""Length of a cell in the regression, whose weights have scikit-learn's default penalty."""

ITERATIONS, TOLERANCE = 200, 1e-4
"""The regression stops after so many iterations, or where no slope is larger: scikit-learn's tolerance."""


BLOCK = 2048
"""Genes that are multiplied at once."""

MOST = 2000
"""From more cells than this, the regression is fitted on genes: cells squared cost more."""

RIDGE = 1e-4
"""Added to the squared length of a cell, so that cells that are alike, and rounding, leave the products definite."""


def in_span(sample: Sample) -> bool:
    """Whether a regression on the cells' cosines is cheaper than one on their genes; of two labels, it never is."""
    n, g = sample.logged.shape
    return n <= min(g, MOST) and len(np.unique(sample.codes)) > 2


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

    def by_genes(coordinates: Doubles) -> Doubles:
        return np.asarray(cells.T @ solve_triangular(root, coordinates, lower=True, trans="T"), np.float64)

    present, codes = np.unique(sample.codes, return_inverse=True)
    found = _softmax((root * SCALE).astype(np.float32), codes, by_genes)
    weights, intercept = np.zeros((cells.shape[1], sample.n_labels)), np.zeros(sample.n_labels)
    weights[:, present], intercept[present] = by_genes(found[:-1]), found[-1]
    return (weights * SCALE).astype(np.float32), intercept.astype(np.float32)


def _softmax(cells: Floats, codes: Ints, by_genes: Callable[[Doubles], Doubles]) -> Doubles:
    """Return (n + 1, L) coordinates of the weights, and the intercepts, as scikit-learn's regression on genes has them.

    Its loss, penalty and solver, from the same start. It stops where scikit-learn does on genes, by the largest slope
    of a gene, which `by_genes` finds from the coordinates: its own class would look at these, and go on for longer.
    """
    n, n_labels, rows = len(codes), int(codes.max()) + 1, np.arange(len(codes))
    share = 1.0 / (n_labels * np.bincount(codes)[codes])  # of each cell in the loss: all labels count alike
    slopes = np.zeros((n + 1, n_labels))

    def loss(flat: Any) -> tuple[float, Any]:
        weights = flat.reshape(n + 1, n_labels)
        logits = (cells @ weights[:-1].astype(np.float32) + weights[-1]).astype(np.float64)
        logits -= logsumexp(logits, axis=1, keepdims=True)
        total = -float(share @ logits[rows, codes]) + float((weights[:-1] ** 2).sum()) / (2 * n)
        off = np.exp(logits)
        off[rows, codes] -= 1.0
        off *= share[:, None]
        slopes[:-1] = cells.T @ off.astype(np.float32) + weights[:-1] / n
        slopes[-1] = off.sum(axis=0)
        return total, slopes.ravel().copy()

    def stop(_weights: Any) -> None:
        if max(np.abs(slopes[-1]).max(), np.abs(by_genes(slopes[:-1])).max()) <= TOLERANCE:
            raise StopIteration

    options = {"maxiter": ITERATIONS, "maxls": 50, "gtol": 0.0, "ftol": 64 * np.finfo(float).eps}
    solve: Any = minimize  # the stubs' callbacks have other types
    found = solve(loss, np.zeros(slopes.size), jac=True, method="L-BFGS-B", callback=stop, options=options)
    return np.asarray(found.x, np.float64).reshape(n + 1, n_labels)


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
