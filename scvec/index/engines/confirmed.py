"""Exact search by products that another library computes, in float32: the CPU confirms the answer."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from scvec.core.types import Floats, Ints
from scvec.index.base import nearest
from scvec.index.exact import MARGIN, Exact
from scvec.index.stored import Stored

SPARE = 32
"""Candidates kept beyond k, for the rounding of float32 products and for ties."""


class Greatest(Protocol):
    """Finds the greatest products."""

    def __call__(self, queries: Floats, width: int, positions: Ints | None) -> tuple[Floats, Ints]:
        """Return (n, width) products and positions of the vectors, in any order; only of `positions`, if given."""
        ...


class Confirmed(Exact):
    """The answers of `Exact`, from the greatest products that another library finds among all vectors.

    If the least of the k + `SPARE` greatest products of a query lies below the k-th by more than twice the rounding
    error, no other vector can be among its nearest, and their distances are computed in float64. A query with more
    ties, or with a product that is off by more than that error (as TF32's are), is searched as `Exact` does.

    Parameters
    ----------
    stored
        Rows and their vectors.
    greatest
        Finds the greatest float32 products among these vectors.
    """

    def __init__(self, stored: Stored, greatest: Greatest) -> None:
        super().__init__(stored)
        self._greatest = greatest

    def _nearest(self, queries: Floats, k: int, positions: Ints | None) -> Ints:
        n = len(self) if positions is None else len(positions)
        scores, best = self._greatest(queries, min(n, k + SPARE), positions)
        distances = self.stored.at(queries, best)
        found = nearest(self.stored.ids(best), distances, k).ids.copy()
        # Stored lengths are not quite 1; a distance is 0 at least, and those at 0 are ties.
        products = np.minimum(scores, 1.0)
        ordered = -np.sort(-products, axis=1)
        unclear = (ordered[:, -1] >= ordered[:, k - 1] - 2 * MARGIN) & (n > k + SPARE)
        unclear |= (np.abs(products - (1.0 - distances)) > MARGIN).any(axis=1) | (found < 0).any(axis=1)
        if unclear.any():
            found[unclear] = super()._nearest(queries[unclear], k, positions)
        return found
