"""A softmax regression, fitted on coordinates of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from scvec.core.jit import over_rows
from scvec.core.types import Doubles, Floats, Ints

ITERATIONS, TOLERANCE = 200, 1e-4
"""The regression stops after so many iterations, or where no slope is larger."""

ROWS = 1024
"""Rows that a thread takes at once."""

ABSENT = -1e4
"""Intercept of a label without cells: its share is zero."""


@dataclass(frozen=True, slots=True)
class Softmax:
    """A softmax regression.

    Attributes
    ----------
    slopes
        (d, L) weights of the coordinates.
    intercept
        (L,) intercepts; `ABSENT` for a label without cells.
    """

    slopes: Floats
    intercept: Floats

    def logits(self, points: Floats) -> Doubles:
        """Return (n, L) logits of (n, d) points; a row's do not depend on the other rows."""
        from scvec.views import compiled

        out = np.empty((len(points), len(self.intercept)))
        parts = np.ascontiguousarray(points, np.float32), np.ascontiguousarray(self.slopes, np.float64), self.intercept

        def rows(lo: int, hi: int) -> None:  # BLAS would round a row by the number of rows
            compiled.multiply_rows(*parts, out, lo, hi)

        over_rows(rows, len(points), ROWS)
        return out

    def shares(self, points: Floats) -> Doubles:
        """Return (n, L) shares of (n, d) points, which sum to one."""
        return shares_of(self.logits(points))


def shares_of(logits: Doubles) -> Doubles:
    """Return (n, L) shares that sum to one, by (n, L) logits."""
    return np.asarray(softmax(logits, axis=1), np.float64)


def fit_softmax(
    points: Floats | sp.csr_matrix[np.float32],
    codes: Ints,
    n_labels: int,
    penalty: float = 1.0,
    iterations: int = ITERATIONS,
    *,
    balanced: bool = True,
    towards: Floats | None = None,
) -> Softmax:
    """Fit a softmax regression, by the loss of scikit-learn's logistic regression.

    Parameters
    ----------
    points
        (n, d) coordinates of the cells, dense or sparse.
    codes
        (n,) the label of each.
    n_labels
        L, the number of labels.
    penalty
        1 / C of scikit-learn.
    iterations
        The maximum number of steps of L-BFGS.
    balanced
        Whether all labels count alike, or all cells do.
    towards
        (d, L) weights from which the regression starts, and to which the penalty holds it; None for zeros.
    """
    present, own = np.unique(codes, return_inverse=True)
    (n, d), n_present, rows = points.shape, len(present), np.arange(len(codes))
    counts = np.bincount(own)[own] if balanced else np.full(n, n / n_present)
    share = 1.0 / (n_present * counts)  # of each cell in the loss
    start = np.zeros((d + 1, n_present))
    if towards is not None:
        start[:-1] = towards[:, present]

    def loss(flat: Any) -> tuple[float, Any]:
        weights = flat.reshape(d + 1, n_present)
        logits = (points @ weights[:-1].astype(np.float32) + weights[-1]).astype(np.float64)
        logits -= logsumexp(logits, axis=1, keepdims=True)
        apart = weights[:-1] - start[:-1]
        total = -float(share @ logits[rows, own]) + penalty * float((apart**2).sum()) / (2 * n)
        off = np.exp(logits)
        off[rows, own] -= 1.0
        off *= share[:, None]
        slopes = np.empty((d + 1, n_present))
        slopes[:-1] = points.T @ off.astype(np.float32) + penalty * apart / n
        slopes[-1] = off.sum(axis=0)
        return total, slopes.ravel()

    options = {"maxiter": iterations, "gtol": TOLERANCE, "ftol": 64 * np.finfo(float).eps}
    solve: Any = minimize  # the stubs' methods have other types
    found = solve(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    weights = np.asarray(found.x).reshape(d + 1, n_present)
    slopes, intercept = np.zeros((d, n_labels), np.float32), np.full(n_labels, ABSENT, np.float32)
    slopes[:, present], intercept[present] = weights[:-1], weights[-1]
    return Softmax(slopes, intercept)
