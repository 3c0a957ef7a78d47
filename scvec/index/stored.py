"""The vectors of an index: row ids and vectors in parts, memory-mapped or in memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Doubles, Floats, Ints
from scvec.errors import MismatchError
from scvec.index.distances import pair_distances

HELD_BYTES = 256 * 2**20
"""Bytes of a mapped file that may stay in this process's memory after all of it was read."""

Part: TypeAlias = tuple[Ints, Any]
"""(n,) row ids, ascending, and (n, d) unit vectors, float32 or float16: an array, or something indexed like one."""


class Stored:
    """Row ids and vectors of an index's cells. Positions count through the parts, in their order.

    Parameters
    ----------
    parts
        At least one part.

    Raises
    ------
    MismatchError
        If a row is in two parts.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._vectors = [vectors for _, vectors in parts]
        self.starts: Ints = np.cumsum([0, *(len(rows) for rows, _ in parts)])
        self._ids = parts[0][0] if len(parts) == 1 else np.concatenate([rows for rows, _ in parts])
        # Parts in ascending order, as one build makes them, need no sorting.
        self._order = None if (np.diff(self._ids) > 0).all() else np.argsort(self._ids, kind="stable")
        same = self.rows[1:] == self.rows[:-1]
        if same.any():
            raise MismatchError(
                f"row {self.rows[1:][same][0]} is in two parts of an index", "each row in one part", "rebuild the index"
            )

    def __len__(self) -> int:
        return len(self._ids)

    @classmethod
    def of(cls, ids: Ints, vectors: Floats) -> Stored:
        """Return (n,) ids, in any order, and their (n, d) vectors as one part in memory."""
        order = np.argsort(ids, kind="stable")
        return cls([(np.asarray(ids, np.int64)[order], np.ascontiguousarray(vectors[order]))])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._vectors[0].shape[1])

    @property
    def itemsize(self) -> int:
        """Bytes of a number in a vector."""
        return int(self._vectors[0].itemsize)

    @cached_property
    def rows(self) -> Ints:
        """(n,) ids, ascending."""
        return self._ids if self._order is None else self._ids[self._order]

    @cached_property
    def _is_dense(self) -> bool:
        return len(self) > 0 and int(self.rows[-1] - self.rows[0]) + 1 == len(self)

    def ids(self, positions: Ints) -> Ints:
        """Return the row ids at positions; -1 for -1."""
        return np.where(positions < 0, -1, self._ids[np.maximum(positions, 0)])

    def positions(self, ids: Ints) -> Ints:
        """Return the positions of rows; -1 for -1.

        Raises
        ------
        MismatchError
            If a row is missing.
        """
        places = ids - self.rows[0] if self._is_dense else np.searchsorted(self.rows, ids)
        places = np.clip(places, 0, len(self) - 1)
        missing = (ids >= 0) & (self.rows[places] != ids)
        if missing.any():
            raise MismatchError(
                f"row {ids[missing][0]} is not in the index", "rows that it was built from", "rebuild the index"
            )
        return np.where(ids < 0, -1, places if self._order is None else self._order[places])

    def vectors(self, ids: Ints) -> Floats:
        """Return (m, d) the vectors of rows, float32."""
        positions = self.positions(ids)
        found = np.empty((len(ids), self.dimension), np.float32)
        for start, vectors in zip(self.starts, self._vectors, strict=False):
            here = (positions >= start) & (positions < start + len(vectors))
            found[here] = vectors[positions[here] - start]
        return found

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows, in float64; inf where the id is -1."""
        return self.at(queries, self.positions(ids))

    def at(self, queries: Floats, positions: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to the vectors at (n, k) positions; inf where that is -1."""
        if len(self._vectors) == 1:
            return _pairs(queries, self._vectors[0], positions)
        found = np.full(positions.shape, np.inf)
        for start, vectors in zip(self.starts, self._vectors, strict=False):
            here = (positions >= start) & (positions < start + len(vectors))
            touched = np.flatnonzero(here.any(axis=1))
            local = np.where(here[touched], positions[touched] - start, -1)
            found[touched] = np.minimum(found[touched], _pairs(queries[touched], vectors, local))
        return found

    def pieces(self, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the vectors as they are stored, at most `size` at a time, with the position of the first."""
        for start, vectors in zip(self.starts.tolist(), self._vectors, strict=False):
            for first in range(0, len(vectors), size):
                yield start + first, vectors[first : first + size]
                _release(vectors)

    def blocks(self, size: int, among: Ints | None = None) -> Iterator[tuple[Ints, Floats]]:
        """Yield positions and vectors as float32, at most `size` at a time; only of ascending `among`, if given."""
        for start, vectors in zip(self.starts, self._vectors, strict=False):
            if among is None:
                for first in range(0, len(vectors), size):
                    block = vectors[first : first + size]
                    yield start + np.arange(first, first + len(block)), np.asarray(block, np.float32)
                    _release(vectors)
            else:
                local = among[slice(*np.searchsorted(among, (start, start + len(vectors))))] - start
                for first in range(0, len(local), size):
                    chosen = local[first : first + size]
                    yield start + chosen, np.asarray(vectors[chosen], np.float32)


class OverStored:
    """What every back-end takes from its `stored` rows and vectors."""

    stored: Stored

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def rows(self) -> Ints:
        """(n,) its row ids, ascending."""
        return self.stored.rows

    def vectors(self, ids: Ints) -> Floats:
        """Return (m, d) the vectors of rows."""
        return self.stored.vectors(ids)

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows; inf where the id is -1."""
        return self.stored.distances(queries, ids)


def _release(vectors: Any) -> None:
    """Release the pages of a large map that was read through; the system may keep them cached."""
    base: Any = vectors
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and vectors.nbytes > HELD_BYTES and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _pairs(queries: Floats, vectors: Any, positions: Ints) -> Doubles:
    """Return distances to vectors, read in place if mapped; vectors that must be fetched are fetched once."""
    if isinstance(vectors, np.ndarray):
        return pair_distances(queries, vectors, positions)
    wanted, place = np.unique(positions, return_inverse=True)
    n_none = int((wanted < 0).sum())  # -1, the first
    return pair_distances(queries, vectors[wanted[n_none:]], place.reshape(positions.shape) - n_none)
