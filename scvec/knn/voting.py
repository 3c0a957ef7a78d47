"""From neighbours to labels, by a weighted vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scvec.core.types import Doubles, Floats, Ints, Neighbors
from scvec.knn.options import DEFAULT, Voting

EPSILON = 1e-3
"""Added to distances, so that a neighbour at distance zero has a large but finite weight."""

TIE = 1e-9
"""Vote shares closer than this are equal."""


@dataclass(frozen=True, slots=True)
class Votes:
    """The outcome of the vote for n cells.

    Attributes
    ----------
    winner
        (n,) code of the label with most votes; of tied labels, the one with the nearest neighbour; -1 for a cell
        without neighbours.
    shares
        (n, L) each label's share of the votes, rows summing to 1; zeros for a cell without neighbours.
    """

    winner: Ints
    shares: Floats


def vote(neighbors: Neighbors, codes: Ints, counts: Ints, voting: Voting = DEFAULT) -> Votes:
    """Weight each neighbour as `voting` says, and add up the votes of each label.

    Parameters
    ----------
    neighbors
        The k nearest reference cells of n cells.
    codes
        (n, k) code of each neighbour's label; ignored where the neighbour's id is -1.
    counts
        (L,) the number of searched cells of each label.
    voting
        The weight of a vote.
    """
    n_cells, k = codes.shape
    weights = np.where(neighbors.ids >= 0, _weights(neighbors, voting) / _handicap(codes, counts, voting), 0.0)
    totals = np.zeros((n_cells, len(counts)))
    first_rank = np.full((n_cells, len(counts)), k)
    cells = np.arange(n_cells)
    for rank in range(k - 1, -1, -1):  # the nearest last, so that its rank is kept
        here = neighbors.ids[:, rank] >= 0
        np.add.at(totals, (cells[here], codes[here, rank]), weights[here, rank])
        first_rank[cells[here], codes[here, rank]] = rank
    whole = totals.sum(axis=1, keepdims=True)
    shares = totals / np.where(whole > 0, whole, 1.0)
    best: np.ndarray[Any, Any] = shares >= shares.max(axis=1, keepdims=True) - TIE
    winner = np.where(best, first_rank, k + 1).argmin(axis=1).astype(np.int64)
    winner[whole[:, 0] == 0] = -1
    return Votes(winner, shares.astype(np.float32))


def by_shares(shares: Floats) -> Votes:
    """Return the outcome of shares that sum to 1, or are all zero; of tied labels the first wins."""
    winner = shares.argmax(axis=1).astype(np.int64)
    winner[~shares.any(axis=1)] = -1
    return Votes(winner, shares)


def _weights(neighbors: Neighbors, voting: Voting) -> Doubles:
    """Return (n, k) weights by distance; undefined where there is no neighbour."""
    distances = neighbors.distances.astype(np.float64)
    if voting.weights == "inverse":
        return 1.0 / (distances + EPSILON)
    # Only the ratios of a cell's weights matter. Relative to its nearest neighbour, not all of them can underflow.
    nearest = np.where(neighbors.ids[:, :1] >= 0, distances[:, :1], 0.0)
    return np.exp((nearest - distances) / voting.temperature)


def _handicap(codes: Ints, counts: Ints, voting: Voting) -> Doubles:
    """Return (n, k) the divisors that correct votes for the frequency of their labels."""
    return np.asarray(np.maximum(counts, 1) ** voting.frequency, np.float64)[codes]
