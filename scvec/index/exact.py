"""Exact search by brute force: the oracle for every other back-end."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

import numpy as np

from scvec.core.types import Floats, Ints
from scvec.index.base import nearest
from scvec.index.stored import OverStored, Stored

QUERIES, BLOCK = 1024, 8192
"""Queries and vectors in one matrix product: 32 MB of scores."""

MARGIN = 1e-5
"""The float32 product of two unit vectors is nearer than this to its true value."""

MANY = 4
"""Where more than this many times k of a block are nearer than the k-th nearest so far, the block's k-th is found."""


class Exact(OverStored):
    """Compares all vectors; ties at the k-th place go to the lowest id.

    Float32 products, block by block, show which vectors may be among the nearest, with a margin for rounding; their
    distances are then computed in float64. Memory does not grow with the number of vectors.

    Parameters
    ----------
    stored
        Rows and their vectors.
    """

    factory = "exact"
    selects = True
    min_share = 0.0
    lists = None
    notes: tuple[str, ...] = ()
    parameters: Mapping[str, int] = MappingProxyType({})

    def __init__(self, stored: Stored) -> None:
        self.stored = stored

    @property
    def code_bytes(self) -> int:
        """Bytes that it reads per cell to estimate its distance."""
        return self.stored.dimension * self.stored.itemsize

    def using(self, parameters: Mapping[str, int]) -> Self:
        """Return itself: it has no parameters."""
        del parameters
        return self

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) ids of the nearest, nearest first; of the rows in `among`, if given."""
        positions = None if among is None else np.sort(self.stored.positions(among))
        k = min(k, len(self) if positions is None else len(positions))
        found = np.full((len(queries), k), -1, np.int64)
        step = self._at_once
        for start in range(0, len(queries) if k else 0, step):
            some = np.ascontiguousarray(queries[start : start + step], np.float32)
            found[start : start + step] = self._nearest(some, k, positions)
        return found

    @property
    def _at_once(self) -> int:
        """Most queries of one `_nearest`."""
        return QUERIES

    def _nearest(self, queries: Floats, k: int, positions: Ints | None) -> Ints:
        """Return (n, k) ids of the nearest, among ascending `positions`; None: all."""
        best, far = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf, np.float32)
        for block, vectors in self.stored.blocks(BLOCK, positions):
            self._better(queries, block, queries @ vectors.T, best, far)
        return best

    def _better(self, queries: Floats, block: Ints, scores: Floats, best: Ints, far: Floats) -> None:
        """Put the nearer ones of a block into `best`, the ids, and `far`, their distances."""
        k = best.shape[1]
        floor = 1.0 - far[:, -1] - MARGIN
        full = (scores >= floor[:, None]).sum(axis=1) > MANY * k
        if full.any() and len(block) > k:
            kth = np.partition(scores[full], len(block) - k, axis=1)[:, len(block) - k]
            # Stored lengths are not quite 1: products above it are ties, at distance 0.
            floor[full] = np.maximum(floor[full], np.minimum(kth, 1.0) - 2 * MARGIN)
        query, column = np.nonzero(scores >= floor[:, None])
        if not len(query):
            return
        touched, place = np.unique(query, return_inverse=True)
        rank = np.arange(len(query)) - np.searchsorted(query, touched)[place]
        # As many columns as the query with the most candidates needs.
        positions = np.full((len(touched), int(rank.max()) + 1), -1, np.int64)
        positions[place, rank] = block[column]
        distances = self.stored.at(queries[touched], positions).astype(np.float32)
        ids = self.stored.ids(positions)
        near = nearest(np.hstack([best[touched], ids]), np.hstack([far[touched], distances]), k)
        best[touched], far[touched] = near.ids, near.distances
