"""Exact search by brute force: the oracle that every other back-end is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from scvec.types import Floats, Ints

Doubles: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

BLOCK_BYTES = 256 * 2**20


class Exact:
    """All distances, in float64; ties at the k-th place go to the lowest id.

    Parameters
    ----------
    ids
        (n,) row ids.
    vectors
        (n, d) of length one.
    """

    factory = "exact"
    selects = True

    def __init__(self, ids: Ints, vectors: Floats) -> None:
        order = np.argsort(ids, kind="stable")
        self._ids, self._vectors = ids[order], vectors[order].astype(np.float64)
        self.parameters: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) ids of the nearest, nearest first; of the rows in `among`, where it is given."""
        ids, vectors = self._ids, self._vectors
        if among is not None:
            chosen = np.isin(ids, among)
            ids, vectors = ids[chosen], vectors[chosen]
        k = min(k, len(ids))
        step = max(1, BLOCK_BYTES // (8 * max(1, len(ids))))
        blocks = [
            _nearest(ids, vectors, queries[i : i + step].astype(np.float64), k) for i in range(0, len(queries), step)
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, k), np.int64)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        from safetensors.numpy import save_file

        save_file({"ids": self._ids, "vectors": self._vectors.astype(np.float32)}, path)

    @classmethod
    def load(cls, path: Path) -> Exact:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(path)
        return cls(arrays["ids"], arrays["vectors"])


def _nearest(ids: Ints, vectors: Doubles, queries: Doubles, k: int) -> Ints:
    # Rounded, so that equal vectors tie although BLAS sums them in another order.
    distances = np.round(1.0 - queries @ vectors.T, 12)
    if k == len(ids):
        return ids[np.argsort(distances, axis=1, kind="stable")]
    kth = np.partition(distances, k - 1, axis=1)[:, k - 1]
    rows = []
    for row, limit in zip(distances, kth, strict=True):
        near = np.flatnonzero(row <= limit)
        rows.append(near[np.argsort(row[near], kind="stable")][:k])
    return ids[np.array(rows, np.int64).reshape(len(rows), k)]
