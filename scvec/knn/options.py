"""How neighbours vote: a frozen value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from scvec.errors import InputError, unknown

Weights: TypeAlias = Literal["inverse", "softmax"]


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
