"""Search in the index that Lance keeps in a table, which nothing needs to be fetched whole for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from scvec.core.types import Floats, Ints
from scvec.errors import InputError
from scvec.index.base import EFFORT, LISTS, OVERFETCH
from scvec.index.stored import OverStored, Stored

PREFIX = "lance:"
KINDS = ("IVF_FLAT", "IVF_PQ", "IVF_HNSW_SQ")

CELLS_PER_LIST, CELLS_PER_GRAPH = 256, 2**20
"""Fewest cells of an inverted list, of fewer Lance makes fewer lists; most of a graph, of which all are walked."""

CODE_DIMENSIONS = 4
"""At least so many dimensions share a byte of a product quantizer."""

USUAL = {OVERFETCH: 32, LISTS: 8, EFFORT: 128}
"""Where search is not tuned."""


class Nearest(Protocol):
    """`scvec.store.Snapshot.nearest`, of one version of a table."""

    def __call__(self, queries: Floats, k: int, *, nprobes: int, ef: int | None, condition: str | None) -> Ints:
        """Return (n, k) row ids, -1 where there are fewer."""
        ...


class Taken:
    """The vectors of a table's rows, indexed as an array is and fetched at that moment.

    Parameters
    ----------
    take
        Returns the vectors at positions of the table.
    places
        (n,) position in the table of each vector.
    dimension, itemsize
        Of a vector, and bytes of its numbers.
    """

    def __init__(self, take: Callable[[Ints], Floats], places: Ints, dimension: int, itemsize: int) -> None:
        self._take, self._places, self.shape, self.itemsize = take, places, (len(places), dimension), itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any) -> Floats:
        return self._take(self._places[which])


class Lance(OverStored):
    """An index of Lance's own, whose candidates' distances are taken from vectors that are fetched from the table.

    Rows that came after it was made are searched one by one.

    Parameters
    ----------
    factory
        `PREFIX` and one of `KINDS`.
    stored
        Rows, and their vectors as they are `Taken`.
    nearest
        The search.
    lists
        How many inverted lists or graphs it has.
    parameters
        What to search with; what is not said is as usual.
    """

    selects = True
    min_share = 0.0
    notes: tuple[str, ...] = ()

    def __init__(
        self, factory: str, stored: Stored, nearest: Nearest, lists: int, parameters: Mapping[str, int]
    ) -> None:
        self.factory, self.stored, self._nearest, self._lists = factory, stored, nearest, lists
        key = EFFORT if self._is_graph else LISTS
        self.parameters: Mapping[str, int] = {one: int(parameters.get(one, USUAL[one])) for one in (OVERFETCH, key)}

    @property
    def _is_graph(self) -> bool:
        return "HNSW" in self.factory

    @property
    def lists(self) -> int | None:
        """How many inverted lists it has; None for graphs."""
        return None if self._is_graph else self._lists

    @property
    def code_bytes(self) -> int:
        """Bytes that it reads of a cell to judge its distance."""
        dimension = self.stored.dimension
        return {"IVF_FLAT": dimension * self.stored.itemsize, "IVF_PQ": codes(dimension)}.get(
            self.factory.removeprefix(PREFIX), dimension
        )

    def using(self, parameters: Mapping[str, int]) -> Lance:
        """Return the same index, searching with these."""
        return Lance(self.factory, self.stored, self._nearest, self._lists, parameters)

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) ids of the nearest it finds; -1 where it finds fewer; only of `among`, where it is given."""
        if not len(queries):
            return np.zeros((0, k), np.int64)
        ef = max(k, self.parameters[EFFORT]) if self._is_graph else None
        condition = None if among is None else _condition(among, self.rows)
        nprobes = self.parameters.get(LISTS, self._lists)
        return self._nearest(queries, k, nprobes=nprobes, ef=ef, condition=condition)


def is_lance(factory: str) -> bool:
    """Return whether an index is Lance's; raise `InputError` if it is a kind that Lance has not."""
    if factory.startswith(PREFIX) and factory.removeprefix(PREFIX) not in KINDS:
        raise InputError(
            f"index {factory!r}", f"one of {', '.join(PREFIX + one for one in KINDS)}", "name one of these"
        )
    return factory.startswith(PREFIX)


def shape(factory: str, n: int, lists: int) -> int:
    """Return how many lists or graphs an index of `n` cells is to have, of so many `lists` that FAISS would have."""
    return max(1, n // CELLS_PER_GRAPH if "HNSW" in factory else min(lists, n // CELLS_PER_LIST))


def codes(dimension: int) -> int:
    """Return the bytes of a product quantizer's code: as many as divide the dimensions, and no more than a fourth."""
    return next(one for one in range(max(1, dimension // CODE_DIMENSIONS), 0, -1) if dimension % one == 0)


def _condition(among: Ints, rows: Ints) -> str:
    """Return rows as a condition, by naming those that are fewer: they, or the others."""
    others = np.setdiff1d(rows, among, assume_unique=True)
    named, word = (others, "NOT IN") if len(others) < len(among) else (among, "IN")
    return f"row {word} ({', '.join(map(str, named.tolist()))})"
