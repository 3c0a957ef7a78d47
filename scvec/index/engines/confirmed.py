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
    error, no other vector can be among its nearest, and their distances are computed in float64; a query with more ties
    is searched as `Exact` does.

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
        ordered = -np.sort(-scores, axis=1)
        found = nearest(self.stored.ids(best), self.stored.at(queries, best), k).ids.copy()
        unclear = (ordered[:, -1] >= ordered[:, k - 1] - 2 * MARGIN) & (n > k + SPARE)
        unclear |= (found < 0).any(axis=1)
        if unclear.any():
            found[unclear] = super()._nearest(queries[unclear], k, positions)
        return found
