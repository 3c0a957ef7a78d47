"""How thorough a search must be for the requested recall, measured against exact search."""

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
"""Numbers of candidates beyond k to try."""

LEAST_EFFORT, MOST_EFFORT = 64, 4096
"""Bounds of the candidates kept during the search of a graph."""

FINENESS = 8
"""The search stops once the effort is known to within one part in this many."""

NEIGHBORS_SEEN = 8
"""Each candidate of a graph leads to about this many new ones."""

RANDOM_ACCESS = 4
"""A byte of a randomly fetched vector costs as much as this many bytes of codes read in sequence."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Search parameters of an index, and the recall with them.

    Attributes
    ----------
    parameters
        For `Index.using` and `open_parts`.
    recall
        The share of the true neighbours found.
    k
        The number of neighbours that it was measured at.
    queries
        The number of cells that it is the mean of.
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
    """Return a seeded sample of row ids, ascending: the queries of `tune`."""
    return np.sort(np.random.default_rng(random_state).permutation(rows)[:n])


def tune(index: Index, queries: Floats, own_rows: Ints, spec: IndexSpec, device: str = "cpu") -> Tuned:
    """Choose the cheapest search parameters that reach the requested recall; if none do, the most thorough ones.

    The cost is counted in bytes read, not timed, so that the same cells lead to the same choice.

    Parameters
    ----------
    index
        The index of all cells.
    queries, own_rows
        (n, d) vectors of cells of the index and (n,) their row ids, see `sample`; each is left out of its own answer.
    spec
        The requested recall, and the number of neighbours.
    device
        Where the exact search for comparison runs.
    """
    if index.factory == EXACT:
        return Tuned(MappingProxyType({}), 1.0, spec.k, len(queries))
    ids = exact(index.stored, device).candidates(queries, spec.k + 1)
    truth = _without(ids, index.distances(queries, ids), own_rows, spec.k)

    @cache
    def recalls(effort: int) -> dict[int, float]:
        return dict(_recalls(index, effort, queries, own_rows, truth))

    best: tuple[float, int, int] | None = None
    for over in reversed(OVERFETCHES):  # the most candidates need the least effort, which bounds the others
        effort = _least_effort(index, over, spec, recalls, best[0] if best else np.inf)
        if effort is not None:
            best = _cost(index, spec.k, effort, over), effort, over
    _, effort, over = best or (0.0, _efforts(index)[-1], OVERFETCHES[-1])
    parameters = MappingProxyType(_parameters(index, effort) | {OVERFETCH: over})
    return Tuned(parameters, recalls(effort).get(over, 0.0), spec.k, len(queries))


def _least_effort(
    index: Index, over: int, spec: IndexSpec, recalls: Callable[[int], Mapping[int, float]], bound: float
) -> int | None:
    """Return the least effort that finds enough at a lower cost than `bound`: by doubling, then by bisection."""

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
    """Return the efforts to try, doubling; [0] if there is nothing to set."""
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
    """Return about how many bytes a query reads: codes in sequence, and vectors one by one."""
    vector = index.stored.dimension * index.stored.itemsize
    read = RANDOM_ACCESS * vector * (k + over)
    if LISTS in index.parameters:
        return read + effort * (index.code_bytes * len(index) / (index.lists or 1) + vector)
    if EFFORT in index.parameters:
        return read + effort * NEIGHBORS_SEEN * RANDOM_ACCESS * index.code_bytes
    return read + index.code_bytes * len(index)


def _recalls(index: Index, effort: int, queries: Floats, own: Ints, truth: Neighbors) -> Iterator[tuple[int, float]]:
    """Yield each overfetch with its recall.

    Candidates of lists and graphs come nearest first, by the index's own distances, so that one search serves all
    overfetches. Other kinds are searched for each, as they may look farther when asked for more.
    """
    k = truth.ids.shape[1]
    widths = {over: min(len(index), k + 1 + over) for over in OVERFETCHES}
    used = index.using(_parameters(index, effort))
    # More candidates than the effort would make the search of a graph more thorough than it will be.
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
