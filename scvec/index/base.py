"""What an index is, and how its answers are made exact in distance and order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scvec.types import Floats, Ints, Neighbors

OVERFETCH = 32
"""Candidates asked of an approximate index beyond k, before distances are recomputed."""

Vectors = Callable[[Ints], Floats]
"""Gives the stored vectors of row ids."""


class Searched(Protocol):
    """Whatever names candidates."""

    def __len__(self) -> int: ...

    def candidates(self, queries: Floats, k: int) -> Ints:
        """Return (n, k) row ids, the nearest as far as it knows, in any order; -1 where there are fewer."""
        ...


class Index(Searched, Protocol):
    """Finds candidates by cosine distance among vectors of length one.

    Attributes
    ----------
    factory
        What it was made by.
    parameters
        What it searches with.
    """

    factory: str
    parameters: dict[str, Any]

    @property
    def selects(self) -> bool:
        """Whether `candidates` can be told the rows to search among."""
        ...

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) row ids, the nearest as far as it knows, in any order; -1 where there are fewer.

        Where ids are given in `among`, only these rows are searched.
        """
        ...

    def save(self, path: Path) -> None:
        """Write it as one file."""
        ...


def search(index: Searched, vectors: Vectors, queries: Floats, k: int) -> Neighbors:
    """Return the k nearest of the candidates of `index`, by distances recomputed from the stored vectors.

    Recomputing in float64, one pair at a time, makes the answer the same whatever the batch size, and puts ties in the
    order of their ids.

    Parameters
    ----------
    index
        Any back-end, whole or narrowed to some rows.
    vectors
        Gives the stored vectors.
    queries
        (n, d) of length one.
    k
        Neighbours wanted.
    """
    ids = index.candidates(queries, min(k + OVERFETCH, max(1, len(index))))
    found = ids >= 0
    unique, inverse = np.unique(ids[found], return_inverse=True)
    distances = np.full(ids.shape, np.inf)
    stored = vectors(unique)
    query_of = np.nonzero(found)[0]
    distances[found] = pair_distances(queries[query_of], stored[inverse]) if len(unique) else ()
    return nearest(ids, distances, k)


def pair_distances(left: Floats, right: Floats) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return (n,) 1 - cos of each pair of rows of length one, never below 0."""
    dots = np.concatenate(
        [
            np.einsum("nd,nd->n", left[i : i + 65_536].astype(np.float64), right[i : i + 65_536].astype(np.float64))
            for i in range(0, len(left), 65_536)
        ]
        or [np.zeros(0)]
    )
    return np.maximum(0.0, 1.0 - dots)


def nearest(ids: Ints, distances: np.ndarray[Any, np.dtype[np.float64]], k: int) -> Neighbors:
    """Return the k first of each row by (distance as float32, id), padded with (-1, inf)."""
    rounded = distances.astype(np.float32)
    width = max(k, ids.shape[1])
    padded_ids = np.full((len(ids), width), -1, np.int64)
    padded = np.full((len(ids), width), np.inf, np.float32)
    padded_ids[:, : ids.shape[1]], padded[:, : ids.shape[1]] = ids, rounded
    order = np.lexsort((padded_ids, padded), axis=1)[:, :k]
    return Neighbors(np.take_along_axis(padded_ids, order, 1), np.take_along_axis(padded, order, 1))


def recall(found: Neighbors, truth: Neighbors) -> float:
    """Return the mean share of true neighbours found.

    A neighbour counts as found if its recomputed distance is no farther than the k-th true one, so that equally near
    cells are equally good: the definition of ann-benchmarks (Aumüller et al. 2020).
    """
    wanted = np.isfinite(truth.distances).sum(axis=1)
    farthest = np.where(np.isfinite(truth.distances), truth.distances, -np.inf).max(axis=1, keepdims=True)
    good = (found.distances <= farthest + 1e-6).sum(axis=1)
    return float(np.mean(np.minimum(good, wanted) / np.maximum(wanted, 1)))
