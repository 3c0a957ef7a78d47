"""Several rankings of the same things become one."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Bools, Doubles

Ranks: TypeAlias = Doubles

CONSTANT = 60
"""The higher, the less the first ranks count; the value of Cormack et al. 2009."""


def ranks(scores: NDArray[Any], found: Bools | None = None) -> Ranks:
    """Return (n,) ranks from 1 for (n,) scores, the highest first; equal scores share the best of their ranks.

    What is not `found` has the rank infinity.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, bool)
    shared = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0)) + 1
    made = np.empty(len(scores), np.float64)
    made[order] = shared
    if found is not None:
        made[~found] = np.inf
    return made


def fused(*rankings: Ranks) -> Ranks:
    """Return (n,) scores by reciprocal rank fusion, the sum of 1 / (60 + rank) over (n,) rankings.

    Source: Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods".
    """
    total = np.zeros(len(rankings[0]), np.float64)
    for one in rankings:
        total += 1 / (CONSTANT + one)
    return total
