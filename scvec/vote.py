"""From neighbours to labels: a distance-weighted vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scvec.types import Floats, Ints, Neighbors

EPSILON = 1e-3
"""Added to distances, so that a neighbour at distance zero counts much and not infinitely."""

TIE = 1e-9
"""Vote shares closer than this are equal."""


@dataclass(frozen=True, slots=True)
class Votes:
    """The outcome for n cells.

    Attributes
    ----------
    winner
        (n,) code of the label with most votes; of equal ones, the one whose nearest neighbour is nearest; -1 for a
        cell without neighbours.
    shares
        (n, L) each label's share, rows summing to 1; zeros for a cell without neighbours.
    """

    winner: Ints
    shares: Floats


def vote(neighbors: Neighbors, codes: Ints, n_labels: int) -> Votes:
    """Weigh each neighbour by 1 / (distance + `EPSILON`), and share the votes among the labels.

    Source: Dudani 1976, "The distance-weighted k-nearest-neighbor rule".

    Parameters
    ----------
    neighbors
        Of n cells.
    codes
        (n, k) code of each neighbour's label; ignored where the neighbour's id is -1.
    n_labels
        L, how many codes there are.
    """
    n_cells, k = codes.shape
    weights = np.where(neighbors.ids >= 0, 1.0 / (neighbors.distances.astype(np.float64) + EPSILON), 0.0)
    totals = np.zeros((n_cells, n_labels))
    first_rank = np.full((n_cells, n_labels), k)
    cells = np.arange(n_cells)
    for rank in range(k - 1, -1, -1):  # nearest last, so that its rank stays
        here = neighbors.ids[:, rank] >= 0
        np.add.at(totals, (cells[here], codes[here, rank]), weights[here, rank])
        first_rank[cells[here], codes[here, rank]] = rank
    whole = totals.sum(axis=1, keepdims=True)
    shares = totals / np.where(whole > 0, whole, 1.0)
    best: np.ndarray[Any, Any] = shares >= shares.max(axis=1, keepdims=True) - TIE
    winner = np.where(best, first_rank, k + 1).argmin(axis=1).astype(np.int64)
    winner[whole[:, 0] == 0] = -1
    return Votes(winner, shares.astype(np.float32))
