"""What an index is, and how the distances and the order of its answers are made exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Doubles, Floats, Ints, Neighbors
from scvec.index.stored import Stored

OVERFETCH = "overfetch"
"""Search parameter: candidates beyond k, whose distances are recomputed."""

LISTS = "nprobe"
"""Search parameter: inverted lists to visit."""

EFFORT = "efSearch"
"""Search parameter: candidates kept during the search of a graph."""


class Searched(Protocol):
    """Anything that finds candidates and knows their distances."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """Its search parameters."""
        ...

    def __len__(self) -> int: ...

    def candidates(self, queries: Floats, k: int) -> Ints:
        """Return (n, k) row ids of the apparently nearest, in any order; -1 where there are fewer."""
        ...

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows, from their vectors; inf where the id is -1."""
        ...


class Index(Protocol):
    """Finds candidates by cosine distance among unit vectors."""

    @property
    def factory(self) -> str:
        """The factory string that it was made from."""
        ...

    @property
    def parameters(self) -> Mapping[str, int]:
        """Its search parameters: `OVERFETCH`, and how thorough the search is."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on where it searches."""
        ...

    @property
    def stored(self) -> Stored:
        """Its rows and their vectors."""
        ...

    @property
    def rows(self) -> Ints:
        """(n,) its row ids, ascending."""
        ...

    @property
    def selects(self) -> bool:
        """Whether `candidates` takes `among`."""
        ...

    @property
    def min_share(self) -> float:
        """The least share of the rows that it pays to search with the index; below it, exact search is faster."""
        ...

    @property
    def lists(self) -> int | None:
        """The number of inverted lists; None without lists."""
        ...

    @property
    def code_bytes(self) -> int:
        """Bytes that it reads per cell to estimate its distance."""
        ...

    def __len__(self) -> int: ...

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) row ids of the apparently nearest, in any order; -1 where there are fewer.

        If `among` gives ids, ascending, only these rows are searched.
        """
        ...

    def vectors(self, ids: Ints) -> Floats:
        """Return (m, d) the vectors of rows."""
        ...

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows, from their vectors; inf where the id is -1."""
        ...

    def using(self, parameters: Mapping[str, int]) -> Index:
        """Return the same index with other search parameters."""
        ...


def search(index: Searched, queries: Floats, k: int) -> Neighbors:
    """Return the k nearest candidates of `index`, by distances recomputed from the stored vectors.

    They are recomputed in float64, one pair at a time, so that the answer does not depend on the batch size; ties come
    in the order of their ids.

    Parameters
    ----------
    index
        Any back-end, whole or narrowed to some rows.
    queries
        (n, d) unit vectors.
    k
        Number of neighbours.
    """
    ids = index.candidates(queries, min(k + index.parameters.get(OVERFETCH, 0), max(1, len(index))))
    return nearest(ids, index.distances(queries, ids), k)


def nearest(ids: Ints, distances: NDArray[Any], k: int) -> Neighbors:
    """Return the first k of each row by (distance as float32, id), padded with (-1, inf)."""
    rounded = distances.astype(np.float32)
    short = max(0, k - ids.shape[1])
    if short:
        ids = np.pad(ids, ((0, 0), (0, short)), constant_values=-1)
        rounded = np.pad(rounded, ((0, 0), (0, short)), constant_values=np.inf)
    if k < ids.shape[1]:
        first = np.argpartition(rounded, k - 1, axis=1)[:, :k]
        last = np.take_along_axis(rounded, first, 1).max(axis=1, keepdims=True, initial=-np.inf)
        # Where others are as near as the k-th, the ids of all of these decide.
        tied = (rounded <= last).sum(axis=1) > k
        first[tied] = np.lexsort((ids[tied], rounded[tied]), axis=1)[:, :k]
        ids, rounded = np.take_along_axis(ids, first, 1), np.take_along_axis(rounded, first, 1)
    order = np.lexsort((ids, rounded), axis=1)
    return Neighbors(np.take_along_axis(ids, order, 1), np.take_along_axis(rounded, order, 1))


def recall(found: Neighbors, truth: Neighbors) -> float:
    """Return the mean share of true neighbours found.

    A neighbour counts as found if its recomputed distance is at most that of the k-th true one, so that equally near
    cells are equally good: the definition of ann-benchmarks (Aumüller et al. 2020).
    """
    wanted = np.isfinite(truth.distances).sum(axis=1)
    farthest = np.where(np.isfinite(truth.distances), truth.distances, -np.inf).max(axis=1, keepdims=True)
    good = (found.distances <= farthest + 1e-6).sum(axis=1)
    return float(np.mean(np.minimum(good, wanted) / np.maximum(wanted, 1)))
