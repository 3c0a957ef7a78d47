"""Search among some rows of an index: those that a filter or a removal leaves, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from scvec.core.types import Doubles, Floats, Ints
from scvec.index.base import Index
from scvec.index.exact import Exact

MIN_ROWS = 10_000
"""Fewer rows are searched exactly: little work, where approximate search loses some."""

FEW_GONE = 0.9
"""Where an index cannot leave rows out, but at least this share of them is wanted, more candidates are asked for."""

SPARE = 8
"""Candidates asked for beyond those that are expected to be left, there."""


class Among:
    """An index narrowed to some of its rows; the others are not searched, so that k of these are found.

    Exact search of the rows takes over where few rows are left, where many are gone from an index that cannot be told
    to leave them out, and for each query that the index finds too few rows for: a graph leads to cells that are like
    the query, and where none of those may be found it does not lead on to those that may.

    Parameters
    ----------
    index
        The index of all rows.
    rows
        (m,) ids of those to search, ascending.
    """

    def __init__(self, index: Index, rows: Ints) -> None:
        self._index, self._rows = index, rows
        share = len(rows) / max(1, len(index))
        self._sifts = not index.selects and share >= FEW_GONE
        self.is_refused = not index.selects and not self._sifts
        self._is_exact = self.is_refused or len(rows) < max(MIN_ROWS, index.min_share * len(index))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def parameters(self) -> Mapping[str, int]:
        """What the index searches with."""
        return self._index.parameters

    @cached_property
    def _exact(self) -> Exact:
        return Exact(self._index.stored)

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows; inf where the id is -1."""
        return self._index.distances(queries, ids)

    def candidates(self, queries: Floats, k: int) -> Ints:
        """Return (n, k) row ids, the nearest as far as it knows, in any order; -1 where there are fewer."""
        k = min(k, len(self))
        if self._is_exact:
            return self._exact.candidates(queries, k, self._rows)
        found = self._sifted(queries, k) if self._sifts else self._index.candidates(queries, k, self._rows)
        short = (found < 0).any(axis=1)
        if short.any():
            found[short] = self._exact.candidates(queries[short], k, self._rows)
        return found

    def _sifted(self, queries: Floats, k: int) -> Ints:
        """Return the first k candidates of all rows that are wanted."""
        more = min(len(self._index), k * len(self._index) // len(self) + SPARE)
        found = self._index.candidates(queries, more)
        place = np.minimum(np.searchsorted(self._rows, found), len(self._rows) - 1)
        found = np.where(self._rows[place] == found, found, -1)
        return np.take_along_axis(found, np.argsort(found < 0, axis=1, kind="stable")[:, :k], 1)


def narrowed(index: Index, rows: Ints) -> Index | Among:
    """Return `index` itself if `rows` are all of it, else the index among them."""
    return index if len(rows) == len(index) else Among(index, np.sort(np.asarray(rows, np.int64)))
