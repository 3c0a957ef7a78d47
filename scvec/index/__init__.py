"""Indexes of cell vectors: built from a spec, measured against exact search, kept as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scvec.index.among import Among, narrowed
from scvec.index.base import Index, Searched, nearest, pair_distances, recall, search
from scvec.index.exact import Exact
from scvec.spec import IndexSpec
from scvec.types import Floats, Ints

__all__ = [
    "Among",
    "Index",
    "Searched",
    "build",
    "load",
    "measure",
    "narrowed",
    "nearest",
    "pair_distances",
    "recall",
    "search",
]

N_RECALL_QUERIES = 500


def build(factory: str, ids: Ints, vectors: Floats) -> Index:
    """Build an index of (n, d) vectors of length one; raise `InputError` if `factory` means nothing or does not fit."""
    if factory == Exact.factory:
        return Exact(ids, vectors)
    from scvec.index.faiss import Faiss

    return Faiss.build(factory, ids, vectors)


def load(factory: str, path: Path) -> Index:
    """Read an index that `Index.save` wrote."""
    if factory == Exact.factory:
        return Exact.load(path)
    from scvec.index.faiss import Faiss

    return Faiss.load(factory, path)


def measure(index: Index, ids: Ints, vectors: Floats, spec: IndexSpec) -> dict[str, Any]:
    """Return recall at k of `index` against exact search, with how it was measured.

    The queries are a seeded sample of the indexed cells; each leaves itself out of its own answer.
    """
    chosen = np.sort(np.random.default_rng(spec.random_state).permutation(len(ids))[:N_RECALL_QUERIES])
    order = np.argsort(ids)

    def vectors_of(wanted: Ints) -> Floats:
        return vectors[order[np.searchsorted(ids, wanted, sorter=order)]]

    k = spec.k + 1
    found, truth = (search(one, vectors_of, vectors[chosen], k) for one in (index, Exact(ids, vectors)))
    left = [_without(one.ids, one.distances, ids[chosen], spec.k) for one in (found, truth)]
    return {"recall": round(recall(*left), 6), "k": spec.k, "queries": len(chosen), "against": "exact"}


def _without(ids: Ints, distances: Floats, own: Ints, k: int) -> Any:
    others = np.where(ids == own[:, None], -1, ids)
    return nearest(others, np.where(others < 0, np.inf, distances).astype(np.float64), k)
