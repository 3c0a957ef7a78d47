"""How neighbours vote, and what their votes come to."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from scvec.core.types import Doubles, Floats, Ints, Neighbors
from scvec.errors import InputError, unknown

Weights: TypeAlias = Literal["inverse", "softmax"]

EPSILON = 1e-3
"""Added to distances, so that a neighbour at distance zero counts much and not infinitely."""

TIE = 1e-9
"""Vote shares closer than this are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voting:
    """How many neighbours vote, and what the vote of each weighs.

    Attributes
    ----------
    k
        Neighbours that vote.
    weights
        ``"inverse"``: 1 / (distance + 0.001) (Dudani 1976, "The distance-weighted k-nearest-neighbor rule");
        ``"softmax"``: exp(-distance / `temperature`).
    temperature
        Of softmax weights, in units of the cosine distance: the lower, the more the nearest decide.
    frequency
        Exponent, 0 to 1. A vote is divided by the number of searched cells of its label to this power: at 0 common
        labels have the advantage of their number, at 1 they have none.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    k: int = 15
    weights: Weights = "softmax"
    temperature: float = 0.02
    frequency: float = 0.5

    def __post_init__(self) -> None:
        if self.k < 1 or self.k != int(self.k):
            raise InputError(f"k = {self.k!r}", "a whole number above 0", "give another --k")
        if self.weights not in get_args(Weights):
            raise unknown("weights", self.weights, get_args(Weights))
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature = {self.temperature!r}", "a number above 0", "give another --temperature")
        if not 0 <= self.frequency <= 1:
            raise InputError(f"frequency = {self.frequency!r}", "a number from 0 to 1", "give another --frequency")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)


DEFAULT = Voting()


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


def vote(neighbors: Neighbors, codes: Ints, counts: Ints, voting: Voting = DEFAULT) -> Votes:
    """Weigh each neighbour as `voting` says, and share the votes among the labels.

    Parameters
    ----------
    neighbors
        Of n cells.
    codes
        (n, k) code of each neighbour's label; ignored where the neighbour's id is -1.
    counts
        (L,) how many searched cells there are of each label.
    voting
        What a vote weighs.
    """
    n_cells, k = codes.shape
    weights = np.where(neighbors.ids >= 0, _weights(neighbors, voting) / _handicap(codes, counts, voting), 0.0)
    totals = np.zeros((n_cells, len(counts)))
    first_rank = np.full((n_cells, len(counts)), k)
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


def _weights(neighbors: Neighbors, voting: Voting) -> Doubles:
    """Return (n, k) weights by distance; of no meaning where there is no neighbour."""
    distances = neighbors.distances.astype(np.float64)
    if voting.weights == "inverse":
        return 1.0 / (distances + EPSILON)
    # Of each cell's weights only the ratios matter: counted from its nearest neighbour, not all of them can vanish.
    nearest = np.where(neighbors.ids[:, :1] >= 0, distances[:, :1], 0.0)
    return np.exp((nearest - distances) / voting.temperature)


def _handicap(codes: Ints, counts: Ints, voting: Voting) -> Doubles:
    """Return (n, k) what the votes are divided by, for the frequency of their labels."""
    return np.asarray(np.maximum(counts, 1) ** voting.frequency, np.float64)[codes]
