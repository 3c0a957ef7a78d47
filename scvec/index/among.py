"""Search among some rows of an index: those that a filter leaves, and no others."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from scvec.index.base import Index, Vectors
from scvec.index.exact import Exact
from scvec.types import Floats, Ints

MIN_ROWS, MIN_SHARE = 10_000, 0.1
"""Fewer rows, or a smaller share of all, are searched exactly: little work, where approximate search loses some."""


class Among:
    """An index narrowed to some of its rows; the others are not searched, so that k of these are found.

    Exact search of the rows takes over where the index cannot be told to leave rows out, where few rows are left, and
    for each query that the index finds too few rows for: a graph leads to cells that are like the query, and where none
    of those may be found it does not lead on to those that may.

    Parameters
    ----------
    index
        The index of all rows.
    rows
        (m,) ids of those to search, each once.
    vectors
        Gives the stored vectors.
    """

    def __init__(self, index: Index, rows: Ints, vectors: Vectors) -> None:
        self._index, self._rows, self._vectors = index, rows, vectors
        self.is_refused = not index.selects
        self._is_exact = self.is_refused or len(rows) < max(MIN_ROWS, MIN_SHARE * len(index))

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def _exact(self) -> Exact:
        return Exact(self._rows, self._vectors(self._rows))

    def candidates(self, queries: Floats, k: int) -> Ints:
        """Return (n, k) row ids, the nearest as far as it knows, in any order; -1 where there are fewer."""
        if self._is_exact:
            return self._exact.candidates(queries, k)
        k = min(k, len(self))
        found = self._index.candidates(queries, k, self._rows)
        short = (found < 0).any(axis=1)
        if short.any():
            found[short] = self._exact.candidates(queries[short], k)
        return found


def narrowed(index: Index, rows: Ints, vectors: Vectors) -> Index | Among:
    """Return `index` itself if `rows` are all of it, else the index among them."""
    return index if len(rows) == len(index) else Among(index, np.asarray(rows, np.int64), vectors)
