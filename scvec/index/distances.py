"""True distances of candidates, from stored vectors read in place."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from scvec.core.jit import over_rows
from scvec.core.types import Doubles, Floats, Ints, freeze

Stored: TypeAlias = np.ndarray[Any, np.dtype[np.float32]] | np.ndarray[Any, np.dtype[np.float16]]

QUERIES = 256
"""Most queries in a part of the work."""


def pair_distances(queries: Floats, stored: Stored, positions: Ints) -> Doubles:
    """Return (n, k) cosine distances of queries to their stored rows.

    They are summed in float64, one pair at a time: the same bits whatever the batch. No row is copied.

    Parameters
    ----------
    queries
        (n, d) unit vectors.
    stored
        (N, d) unit vectors, float32 or float16; an array or a memory map.
    positions
        (n, k) positions in `stored`; -1 for none.

    Returns
    -------
    distances
        1 - cos, at least 0; infinity where the position is -1.

    Raises
    ------
    IndexError
        If a position is outside `stored`.
    ValueError
        If the shapes do not fit, or `stored` has another type.
    """
    if queries.ndim != 2 or stored.ndim != 2 or queries.shape[1] != stored.shape[1] or len(positions) != len(queries):
        raise ValueError(f"queries {queries.shape}, stored vectors {stored.shape}, positions {positions.shape}")
    if positions.size and (positions.max() >= len(stored) or positions.min() < -1):
        raise IndexError(f"positions {positions.min()} to {positions.max()} of {len(stored)} stored vectors")
    if stored.dtype not in (np.float32, np.float16):
        raise ValueError(f"stored vectors of {stored.dtype}: expected float32 or float16")
    from scvec.index import compiled

    rows: Any = stored.view(np.ndarray)
    if stored.dtype == np.float16:
        rows = rows.view(np.uint16)
    given = (
        freeze(np.ascontiguousarray(queries, np.float32)),
        freeze(rows),
        freeze(np.ascontiguousarray(positions, np.int64)),
    )
    distances = np.empty((len(positions), positions.shape[1]), np.float64)
    over_rows(lambda lo, hi: compiled.gather(*given, distances, lo, hi), len(queries), QUERIES)
    return distances
