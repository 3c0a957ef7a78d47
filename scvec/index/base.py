"""What an index is, and how its answers are made exact in distance and order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Doubles, Floats, Ints, Neighbors
from scvec.index.stored import Stored

OVERFETCH, LISTS, EFFORT = "overfetch", "nprobe", "efSearch"
"""Parameters of an index: candidates asked for beyond k, before distances are recomputed; inverted lists visited;
candidates kept while a graph is walked."""


class Searched(Protocol):
    """Whatever names candidates, and knows the distances to them."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """What it searches with."""
        ...

    def __len__(self) -> int: ...

    def candidates(self, queries: Floats, k: int) -> Ints:
        """Return (n, k) row ids, the nearest as far as it knows, in any order; -1 where there are fewer."""
        ...

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows, from their vectors; inf where the id is -1."""
        ...


class Index(Protocol):
    """Finds candidates by cosine distance among vectors of length one."""

    @property
    def factory(self) -> str:
        """What it was made by."""
        ...

    @property
    def parameters(self) -> Mapping[str, int]:
        """What it searches with: `OVERFETCH`, and how thoroughly."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of where it searches, for the answer."""
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
        """Whether `candidates` can be told the rows to search among."""
        ...

    @property
    def min_share(self) -> float:
        """The least share of the rows that searching among these is worth; of fewer, exact search is the faster."""
        ...

    @property
    def lists(self) -> int | None:
        """How many inverted lists it has; None: it has none."""
        ...

    @property
    def code_bytes(self) -> int:
        """Bytes that it reads of a cell to judge its distance."""
        ...

    def __len__(self) -> int: ...

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) row ids, the nearest as far as it knows, in any order; -1 where there are fewer.

        Where ids are given in `among`, ascending, only these rows are searched.
        """
        ...

    def vectors(self, ids: Ints) -> Floats:
        """Return (m, d) the vectors of rows."""
        ...

    def distances(self, queries: Floats, ids: Ints) -> Doubles:
        """Return (n, k) distances of (n, d) queries to (n, k) rows, from their vectors; inf where the id is -1."""
        ...

    def using(self, parameters: Mapping[str, int]) -> Index:
        """Return the same index, searching with these."""
        ...


def search(index: Searched, queries: Floats, k: int) -> Neighbors:
    """Return the k nearest of the candidates of `index`, by distances recomputed from the stored vectors.

    Recomputing in float64, one pair at a time, makes the answer the same whatever the batch size, and puts ties in the
    order of their ids.

    Parameters
    ----------
    index
        Any back-end, whole or narrowed to some rows.
    queries
        (n, d) of length one.
    k
        Neighbours wanted.
    """
    ids = index.candidates(queries, min(k + index.parameters.get(OVERFETCH, 0), max(1, len(index))))
    return nearest(ids, index.distances(queries, ids), k)


def nearest(ids: Ints, distances: NDArray[Any], k: int) -> Neighbors:
    """Return the k first of each row by (distance as float32, id), padded with (-1, inf)."""
    rounded = distances.astype(np.float32)
    short = max(0, k - ids.shape[1])
    if short:
        ids = np.pad(ids, ((0, 0), (0, short)), constant_values=-1)
        rounded = np.pad(rounded, ((0, 0), (0, short)), constant_values=np.inf)
    if k < ids.shape[1]:
        first = np.argpartition(rounded, k - 1, axis=1)[:, :k]
        last = np.take_along_axis(rounded, first, 1).max(axis=1, keepdims=True, initial=-np.inf)
        # Where others are as near as the k-th, the ids of all of them decide.
        tied = (rounded <= last).sum(axis=1) > k
        first[tied] = np.lexsort((ids[tied], rounded[tied]), axis=1)[:, :k]
        ids, rounded = np.take_along_axis(ids, first, 1), np.take_along_axis(rounded, first, 1)
    order = np.lexsort((ids, rounded), axis=1)
    return Neighbors(np.take_along_axis(ids, order, 1), np.take_along_axis(rounded, order, 1))


def recall(found: Neighbors, truth: Neighbors) -> float:
    """Return the mean share of true neighbours found.

    A neighbour counts as found if its recomputed distance is no farther than the k-th true one, so that equally near
    cells are equally good: the definition of ann-benchmarks (Aumüller et al. 2020).
    """
    wanted = np.isfinite(truth.distances).sum(axis=1)
    farthest = np.where(np.isfinite(truth.distances), truth.distances, -np.inf).max(axis=1, keepdims=True)
    good = (found.distances <= farthest + 1e-6).sum(axis=1)
    return float(np.mean(np.minimum(good, wanted) / np.maximum(wanted, 1)))
