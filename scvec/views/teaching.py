"""One round of self-training: the surest cells of a query teach a head on the query's own cells."""

from __future__ import annotations

import numpy as np

from scvec.core.types import Bools, Floats
from scvec.views.regression import fit_softmax, shares_of

SURER, LEAST_CELLS = 0.5, 3
"""This share of a called label's trusted cells teaches, the surest; at least so many cells."""

ITERATIONS = 60
"""Steps of the regression, at most."""

LEAST = 0.01
"""Added to a share before its logarithm is taken."""

PENALTY = 0.1
"""Of the regression, as 1 / C of scikit-learn: weak, so that a programme that only the query has can be learned."""

MOST_CELLS = 5000
"""So many cells teach, at most."""


BLOCK = 16_384
"""So many cells are taught at a time."""


def teachers(shares: Floats, trusted: Bools) -> Bools:
    """Return (n,) which cells teach: of each called label the surest half, by the margin of the first call."""
    calls, margins, chosen = shares.argmax(axis=1), _margins(shares), np.zeros(len(shares), bool)
    called = np.unique(calls[trusted])
    for label in called:
        own = np.flatnonzero(trusted & (calls == label))
        n = min(max(LEAST_CELLS, int(len(own) * SURER)), max(LEAST_CELLS, MOST_CELLS // len(called)))
        if len(own) <= n:
            chosen[own] = True
        else:  # cells of equal margin teach together, so that no order decides
            chosen[own[margins[own] >= np.sort(margins[own])[-n]]] = True
    return chosen


def _margins(shares: Floats) -> Floats:
    """Return (n,) by how much the largest share of a cell is above the next."""
    margins = np.zeros(len(shares), np.float32)
    for start in range(0, len(shares), BLOCK):
        some = shares[start : start + BLOCK]
        two = np.partition(some, -2, axis=1)[:, -2:] if some.shape[1] > 1 else np.pad(some, ((0, 0), (1, 0)))
        margins[start : start + BLOCK] = two[:, 1] - two[:, 0]
    return margins


def taught(shares: Floats, points: Floats, trusted: Bools) -> Floats:
    """Return (n, L) shares after one round of self-training; those of cells that are not trusted stay as they are.

    Parameters
    ----------
    shares
        (n, L) joined shares.
    points
        (n, d) components of the cells.
    trusted
        (n,) cells that may teach, and be taught: not those that may be new to the reference.
    """
    chosen, calls = np.flatnonzero(teachers(shares, trusted)), shares.argmax(axis=1)
    # In an order of their own: sums are rounded by the order of their parts.
    chosen = chosen[np.lexsort((calls[chosen], *points[chosen].T))]
    if len(np.unique(calls[chosen])) < 2:
        return shares
    # All cells count alike: the query has its own frequencies, and a rare label's cells are the least sure.
    head = fit_softmax(points[chosen], calls[chosen], shares.shape[1], PENALTY, ITERATIONS, balanced=False)
    found = shares.copy()
    for start in range(0, len(shares), BLOCK):
        some = start + np.flatnonzero(trusted[start : start + BLOCK])
        logs = np.log(shares[some].astype(np.float64) + LEAST) + np.log(head.shares(points[some]) + LEAST)
        found[some] = shares_of(0.5 * logs)
    return found
