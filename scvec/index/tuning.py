"""How thorough a search must be for the recall asked for, measured against exact search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from scvec.core.types import Doubles, Floats, Ints, Neighbors
from scvec.index.base import EFFORT, LISTS, OVERFETCH, Index, nearest, recall
from scvec.index.load import exact
from scvec.index.make import EXACT
from scvec.index.spec import IndexSpec

N_QUERIES = 500
OVERFETCHES = (32, 64, 128, 256, 512)
"""Candidates beyond k that are tried."""

LEAST_EFFORT, MOST_EFFORT = 64, 4096
"""Of a graph: how many candidates are kept while it is walked."""

FINENESS = 8
"""The effort chosen is at most such a part of it above the least that does."""

NEIGHBORS_SEEN = 8
"""Of each candidate that a graph is walked from, about so many are new."""

RANDOM_ACCESS = 4
"""A byte of a vector that is fetched by itself costs as much as so many of codes that are read in a row."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What an index is to be searched with, and what it then finds.

    Attributes
    ----------
    parameters
        For `Index.using` and `open_parts`.
    recall
        The share of the true neighbours found.
    k
        At how many neighbours.
    queries
        Of how many cells they are the mean.
    """

    parameters: MappingProxyType[str, int]
    recall: float
    k: int
    queries: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        measured = {"recall": round(self.recall, 6), "k": self.k, "queries": self.queries, "against": "exact"}
        return {"search": dict(self.parameters), **measured}


def sample(rows: Ints, random_state: int, n: int = N_QUERIES) -> Ints:
    """Return a seeded sample of row ids, ascending: cells to ask an index for."""
    return np.sort(np.random.default_rng(random_state).permutation(rows)[:n])


def tune(index: Index, queries: Floats, own_rows: Ints, spec: IndexSpec, device: str = "cpu") -> Tuned:
    """Choose the cheapest way to search that finds the recall asked for; if none does, the most thorough one.

    The cost is counted in bytes read, and not timed, so that the same cells lead to the same choice.

    Parameters
    ----------
    index
        All cells.
    queries, own_rows
        (n, d) vectors of cells of the index and (n,) their row ids, see `sample`: each leaves itself out of its answer.
    spec
        The recall asked for, and at how many neighbours.
    device
        Where the exact search is made that it is held against.
    """
    if index.factory == EXACT:
        return Tuned(MappingProxyType({}), 1.0, spec.k, len(queries))
    ids = exact(index.stored, device).candidates(queries, spec.k + 1)
    truth = _without(ids, index.distances(queries, ids), own_rows, spec.k)

    @cache
    def recalls(effort: int) -> dict[int, float]:
        return dict(_recalls(index, effort, queries, own_rows, truth))

    best: tuple[float, int, int] | None = None
    for over in reversed(OVERFETCHES):  # with the most candidates the least effort does, which bounds the others
        effort = _least_effort(index, over, spec, recalls, best[0] if best else np.inf)
        if effort is not None:
            best = _cost(index, spec.k, effort, over), effort, over
    _, effort, over = best or (0.0, _efforts(index)[-1], OVERFETCHES[-1])
    parameters = MappingProxyType(_parameters(index, effort) | {OVERFETCH: over})
    return Tuned(parameters, recalls(effort).get(over, 0.0), spec.k, len(queries))


def _least_effort(
    index: Index, over: int, spec: IndexSpec, recalls: Callable[[int], Mapping[int, float]], bound: float
) -> int | None:
    """Return the least effort that finds enough at a lower cost than `bound`: by doubling, then between the two."""

    def is_enough(effort: int) -> bool:
        return recalls(effort).get(over, 0.0) >= spec.recall

    below = 0
    for effort in _efforts(index):
        if _cost(index, spec.k, effort, over) >= bound:
            return None
        if is_enough(effort):
            break
        below = effort
    else:
        return None
    while effort - below > max(1, effort // FINENESS):
        middle = (below + effort) // 2
        below, effort = (below, middle) if is_enough(middle) else (middle, effort)
    return effort


def _efforts(index: Index) -> list[int]:
    """Return how thoroughly it can be searched, doubling; 0 where it has nothing to set."""
    least, most = 0, 0
    if LISTS in index.parameters:
        least, most = 1, index.lists or 1
    elif EFFORT in index.parameters:
        least, most = LEAST_EFFORT, MOST_EFFORT
    else:
        return [0]
    return [*(least << i for i in range((most // least).bit_length()) if least << i < most), most]


def _parameters(index: Index, effort: int) -> dict[str, int]:
    return {key: effort for key in (LISTS, EFFORT) if key in index.parameters}


def _cost(index: Index, k: int, effort: int, over: int) -> float:
    """Return about how many bytes a query reads: codes in a row, and vectors each by itself."""
    vector = index.stored.dimension * index.stored.itemsize
    read = RANDOM_ACCESS * vector * (k + over)
    if LISTS in index.parameters:
        return read + effort * (index.code_bytes * len(index) / (index.lists or 1) + vector)
    if EFFORT in index.parameters:
        return read + effort * NEIGHBORS_SEEN * RANDOM_ACCESS * index.code_bytes
    return read + index.code_bytes * len(index)


def _recalls(index: Index, effort: int, queries: Floats, own: Ints, truth: Neighbors) -> Iterator[tuple[int, float]]:
    """Yield overfetches, and the recall with each.

    Candidates of lists and of graphs come nearest first, by the index's own distances, so that one search answers for
    all; other kinds are searched for each, as they may look farther where they are asked for more.
    """
    k = truth.ids.shape[1]
    widths = {over: min(len(index), k + 1 + over) for over in OVERFETCHES}
    used = index.using(_parameters(index, effort))
    # More candidates than its effort would make a graph's search more thorough than it will be.
    most = min(max(widths.values()), effort) if EFFORT in index.parameters else max(widths.values())
    once = used.candidates(queries, most) if _parameters(index, effort) else None
    for over, width in widths.items():
        if width > most:
            return
        ids = used.candidates(queries, width) if once is None else once[:, :width]
        yield over, recall(_without(ids, index.distances(queries, ids), own, k), truth)


def _without(ids: Ints, distances: Doubles, own: Ints, k: int) -> Neighbors:
    others = np.where(ids == own[:, None], -1, ids)
    return nearest(others, np.where(others < 0, np.inf, distances), k)
