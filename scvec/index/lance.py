"""Search in an index that Lance keeps in a table, without fetching the whole of it."""

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
"""Fewest cells of an inverted list: Lance makes fewer lists of fewer. Most cells of a graph: all are searched."""

CODE_DIMENSIONS = 4
"""At least this many dimensions share a byte of a product quantizer."""

USUAL = {OVERFETCH: 32, LISTS: 8, EFFORT: 128}
"""Defaults of an index that is not tuned."""


class Nearest(Protocol):
    """`scvec.store.Snapshot.nearest`, of one version of a table."""

    def __call__(self, queries: Floats, k: int, *, nprobes: int, ef: int | None, condition: str | None) -> Ints:
        """Return (n, k) row ids, -1 where there are fewer."""
        ...


class Taken:
    """The vectors of a table's rows: indexed like an array, fetched when indexed.

    Parameters
    ----------
    take
        Returns the vectors at positions in the table.
    places
        (n,) position of each vector in the table.
    dimension, itemsize
        Length of a vector, and bytes of a number.
    """

    def __init__(self, take: Callable[[Ints], Floats], places: Ints, dimension: int, itemsize: int) -> None:
        self._take, self._places, self.shape, self.itemsize = take, places, (len(places), dimension), itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any) -> Floats:
        return self._take(self._places[which])


class Lance(OverStored):
    """An index of Lance's own; the distances of its candidates are computed from vectors fetched from the table.

    Rows added after it was built are searched one by one.

    Parameters
    ----------
    factory
        `PREFIX` and one of `KINDS`.
    stored
        Rows, and their vectors as `Taken`.
    nearest
        Searches the table.
    lists
        The number of inverted lists or graphs.
    parameters
        Search parameters; `USUAL` for those that are missing.
    notes
        Notes for the user.
    """

    selects = True
    min_share = 0.0

    def __init__(
        self,
        factory: str,
        stored: Stored,
        nearest: Nearest,
        lists: int,
        parameters: Mapping[str, int],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.factory, self.stored, self._nearest, self._lists, self.notes = factory, stored, nearest, lists, notes
        key = EFFORT if self._is_graph else LISTS
        self.parameters: Mapping[str, int] = {one: int(parameters.get(one, USUAL[one])) for one in (OVERFETCH, key)}

    @property
    def _is_graph(self) -> bool:
        return "HNSW" in self.factory

    @property
    def lists(self) -> int | None:
        """The number of inverted lists; None for graphs."""
        return None if self._is_graph else self._lists

    @property
    def code_bytes(self) -> int:
        """Bytes that it reads per cell to estimate its distance."""
        dimension = self.stored.dimension
        return {"IVF_FLAT": dimension * self.stored.itemsize, "IVF_PQ": codes(dimension)}.get(
            self.factory.removeprefix(PREFIX), dimension
        )

    def using(self, parameters: Mapping[str, int]) -> Lance:
        """Return the same index with other search parameters."""
        return Lance(self.factory, self.stored, self._nearest, self._lists, parameters, self.notes)

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) ids of the nearest it finds; -1 where it finds fewer; only rows in `among`, if given."""
        if not len(queries):
            return np.zeros((0, k), np.int64)
        ef = max(k, self.parameters[EFFORT]) if self._is_graph else None
        condition = None if among is None else _condition(among, self.rows)
        nprobes = self.parameters.get(LISTS, self._lists)
        return self._nearest(queries, k, nprobes=nprobes, ef=ef, condition=condition)


def is_lance(factory: str) -> bool:
    """Return whether an index is Lance's; raise `InputError` if Lance does not have its kind."""
    if factory.startswith(PREFIX) and factory.removeprefix(PREFIX) not in KINDS:
        raise InputError(
            f"index {factory!r}", f"one of {', '.join(PREFIX + one for one in KINDS)}", "choose one of these"
        )
    return factory.startswith(PREFIX)


def shape(factory: str, n: int, lists: int) -> int:
    """Return the number of lists or graphs for `n` cells, given the `lists` that a FAISS index would have."""
    return max(1, n // CELLS_PER_GRAPH if "HNSW" in factory else min(lists, n // CELLS_PER_LIST))


def codes(dimension: int) -> int:
    """Return the bytes of a product quantizer's code: the greatest divisor of the dimension up to a quarter of it."""
    return next(one for one in range(max(1, dimension // CODE_DIMENSIONS), 0, -1) if dimension % one == 0)


def _condition(among: Ints, rows: Ints) -> str:
    """Return rows as a condition that lists them or the other rows, whichever are fewer."""
    others = np.setdiff1d(rows, among, assume_unique=True)
    named, word = (others, "NOT IN") if len(others) < len(among) else (among, "IN")
    return f"row {word} ({', '.join(map(str, named.tolist()))})"
