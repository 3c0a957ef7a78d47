"""How neighbours vote, as a frozen value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from scvec.errors import must_be, unknown

Weights: TypeAlias = Literal["inverse", "softmax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voting:
    """How many neighbours vote, and the weight of each vote.

    Attributes
    ----------
    k
        Number of neighbours that vote.
    weights
        ``"inverse"``: 1 / (distance + 0.001) (Dudani 1976, "The distance-weighted k-nearest-neighbor rule");
        ``"softmax"``: exp(-distance / `temperature`).
    temperature
        Softmax temperature, in units of the cosine distance; lower values favour the nearest neighbours.
    frequency
        Correction for label frequency, 0 (none) to 1 (full): a vote is divided by the number of searched cells of its
        label to this power.

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
            raise must_be("k", "a whole number above 0", self.k)
        if self.weights not in get_args(Weights):
            raise unknown("weighting", self.weights, get_args(Weights))
        if not 0 < self.temperature < math.inf:
            raise must_be("temperature", "a number above 0", self.temperature)
        if not 0 <= self.frequency <= 1:
            raise must_be("frequency", "a number from 0 to 1", self.frequency)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)


DEFAULT = Voting()
