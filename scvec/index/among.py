"""Search restricted to some rows of an index: those that a filter or a removal leaves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from scvec.core.types import Doubles, Floats, Ints
from scvec.index.base import Index
from scvec.index.exact import Exact

MIN_ROWS = 10_000
"""Fewer rows than this are searched exactly: it is little work, and approximate search would lose some."""

FEW_GONE = 0.9
"""An index that cannot leave rows out is asked for more candidates, if at least this share of the rows is wanted."""

SPARE = 8
"""Extra candidates in that case, beyond the number that is expected to be left."""


class Among:
    """An index narrowed to some of its rows; only these are searched, so that k of them are found.

    The rows are searched exactly where few are left, where many are gone from an index that cannot leave rows out, and
    for each query that the index finds too few rows for: a graph leads to cells like the query, and if all of these
    are left out, it may not lead on to others.

    Parameters
    ----------
    index
        The index of all rows.
    rows
        (m,) ids of the rows to search, ascending.
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
        """The search parameters of the index."""
        return self._index.parameters

    @cached_property
    def _exact(self) -> Exact:
        return Exact(self._index.stored)

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows; inf where the id is -1."""
        return self._index.distances(queries, ids)

    def candidates(self, queries: Floats, k: int) -> Ints:
        """Return (n, k) row ids of the apparently nearest, in any order; -1 where there are fewer."""
        k = min(k, len(self))
        if self._is_exact:
            return self._exact.candidates(queries, k, self._rows)
        found = self._sifted(queries, k) if self._sifts else self._index.candidates(queries, k, self._rows)
        short = (found < 0).any(axis=1)
        if short.any():
            found[short] = self._exact.candidates(queries[short], k, self._rows)
        return found

    def _sifted(self, queries: Floats, k: int) -> Ints:
        """Return the first k wanted rows among more candidates of the whole index."""
        more = min(len(self._index), k * len(self._index) // len(self) + SPARE)
        found = self._index.candidates(queries, more)
        place = np.minimum(np.searchsorted(self._rows, found), len(self._rows) - 1)
        found = np.where(self._rows[place] == found, found, -1)
        return np.take_along_axis(found, np.argsort(found < 0, axis=1, kind="stable")[:, :k], 1)


def narrowed(index: Index, rows: Ints) -> Index | Among:
    """Return `index` itself if `rows` are all of its rows, else the index narrowed to them."""
    return index if len(rows) == len(index) else Among(index, np.sort(np.asarray(rows, np.int64)))
