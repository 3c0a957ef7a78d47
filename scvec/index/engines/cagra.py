"""Search in a CAGRA graph: made on a GPU when the atlas is opened, whatever index the atlas has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from scvec.core.types import Floats, Ints
from scvec.index.base import EFFORT, OVERFETCH
from scvec.index.exact import Exact
from scvec.index.stored import OverStored, Stored

USUAL = {OVERFETCH: 32, EFFORT: 128}
"""Candidates beyond k, and candidates kept during the search."""

MOST_EFFORT, STEP = 512, 32
"""A search keeps at most so many candidates, in steps of 32; for more neighbours, all cells are compared on the CPU."""

MIN_SHARE = 0.1
"""The least share of rows worth a search in the graph, which leads through all."""


class Graph(Protocol):
    """A graph of vectors on a GPU."""

    @property
    def filters(self) -> bool:
        """Whether `search` takes `positions`."""
        ...

    def search(self, queries: Floats, k: int, effort: int, positions: Ints | None = None) -> Ints:
        """Return (n, k) positions of the nearest that it finds, keeping `effort` candidates; only of `positions`.

        A position outside of the vectors stands for none.
        """
        ...


class Cagra(OverStored):
    """Proposes the neighbours that a graph leads to.

    Source: Ootomo et al. 2024, "CAGRA: Highly Parallel Graph Construction and Approximate Nearest Neighbor Search for
    GPUs" (arXiv 2308.15136).

    Parameters
    ----------
    stored
        Rows and vectors.
    graph
        The graph of these vectors, in their order.
    parameters
        Search parameters; `USUAL` for those that are missing.
    """

    factory = "CAGRA"
    min_share = MIN_SHARE
    lists = None
    notes: tuple[str, ...] = ()

    def __init__(self, stored: Stored, graph: Graph, parameters: Mapping[str, int] | None = None) -> None:
        self.stored, self._graph = stored, graph
        asked = parameters or {}
        self.parameters: Mapping[str, int] = {key: int(asked.get(key, value)) for key, value in USUAL.items()}

    @property
    def selects(self) -> bool:
        """Whether `candidates` takes `among`."""
        return self._graph.filters

    @property
    def code_bytes(self) -> int:
        """Bytes that it reads per cell to estimate its distance."""
        return self.stored.dimension * self.stored.itemsize

    def using(self, parameters: Mapping[str, int]) -> Cagra:
        """Return the same graph with other search parameters."""
        return Cagra(self.stored, self._graph, parameters)

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) ids of the nearest it finds; -1 where it finds fewer; only rows in `among`, if given."""
        k = min(k, len(self) if among is None else len(among))
        if not len(queries) or not k:
            return np.zeros((len(queries), k), np.int64)
        if k > MOST_EFFORT:
            return Exact(self.stored).candidates(queries, k, among)
        effort = -(-min(MOST_EFFORT, max(k, self.parameters[EFFORT])) // STEP) * STEP
        positions = None if among is None else np.sort(self.stored.positions(among))
        found = self._graph.search(queries, k, effort, positions)
        return self.stored.ids(_once(np.where((found < 0) | (found >= len(self)), -1, found)))


def _once(positions: Ints) -> Ints:
    """Return positions with -1 for all but one of those that are twice in a row: no cell may vote twice."""
    order = np.argsort(positions, axis=1, kind="stable")
    ordered = np.take_along_axis(positions, order, 1)
    again = np.zeros_like(ordered, bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    found = positions.copy()
    np.put_along_axis(found, order, np.where(again, -1, ordered), 1)
    return found
