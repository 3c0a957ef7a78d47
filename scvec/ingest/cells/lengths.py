"""The scale of values without a unit in a cell, as of FPKM and TPM of some genes: found in pairs of cells.

A value is the gene's number of reads, times a factor of the cell, divided by the gene's length. Between two cells the
lengths cancel: genes with as many reads in both have one ratio, genes with twice as many in one of them twice or half
of that. This is so under one scale alone, if a gene has the same length in all cells (effective lengths differ).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.core.types import freeze
from scvec.ingest.cells.kinds import LINEAR, SQRT
from scvec.ingest.cells.scale import limits

Floats64: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]

MOST_PAIRS = 40
"""Pairs of cells that are compared."""

SHARED = 10
"""Genes that two cells must both express."""

KNOWN = 1e-4
"""Relative error from which a ratio says nothing."""

SURE, HITS = 20.0, 10
"""Log odds against so many ratios being twice or half the commonest one by chance, with which they are believed."""


def by_lengths(cells: sp.csr_matrix[np.float32]) -> int | None:
    """Return the scale under which genes of pairs of cells have one ratio, twice and half of it; None if none has."""
    if cells.shape[0] < 2 or not len(cells.data):
        return None
    cells = sp.csr_matrix(cells[np.unique(np.linspace(0, cells.shape[0] - 1, MOST_PAIRS + 1).astype(np.int64))])
    cells.sort_indices()
    pairs = list(_pairs(cells))
    best, most = None, SURE
    for kind in range(LINEAR, SQRT + 1):
        if pairs and cells.data.max() <= limits()[kind]:
            odds = _odds(*_undone(cells.data, kind), pairs)
            best, most = (kind, odds) if odds > most else (best, most)
    return best


def _pairs(cells: sp.csr_matrix[np.float32]) -> Iterator[tuple[Places, Places]]:
    """Yield the places, in `data`, of the values of the genes that two cells both have."""
    for a, b in pairwise(range(cells.shape[0])):
        first, second = cells.indptr[a], cells.indptr[b]
        ours, theirs = cells.indices[first:second], cells.indices[second : cells.indptr[b + 1]]
        _, one, other = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
        if len(one) >= SHARED:
            yield one + first, other + second


def _undone(data: NDArray[np.float32], kind: int) -> tuple[Floats64, Floats64]:
    """Return the logarithms of linear values, and their errors."""
    from scvec.ingest.cells import compiled

    u, errors = np.empty(len(data)), np.empty(len(data))
    compiled.undone_to(kind, freeze(data), u, errors)
    with np.errstate(divide="ignore"):
        return np.log(u), errors


def _odds(logs: Floats64, errors: Floats64, pairs: list[tuple[Places, Places]]) -> float:
    """Return log odds (of a Poisson) against ratios that are twice or half the commonest of their pair by chance."""
    hits, halves, expected = 0, 0, 0.0
    for one, other in pairs:
        within = errors[one] + errors[other]
        ratios, within = (logs[one] - logs[other])[within < KNOWN], within[within < KNOWN]
        if len(ratios) < SHARED:
            continue
        ordered = np.sort(ratios)
        typical = float(np.median(within))
        n_near = np.searchsorted(ordered, ordered + 2 * typical, "right") - np.arange(len(ordered))
        commonest = float(ordered[n_near.argmax()]) + typical
        off, within = np.abs(ratios - commonest), within + 2 * typical
        hits += int((np.abs(off - np.log(2)) <= within).sum())
        halves += int((np.abs(off - np.log(2) / 2) <= within).sum())
        low, high = np.quantile(ordered, [0.1, 0.9])
        expected += float(4 * within.sum()) / max(high - low, 1e-9)
    # No ratio of counts is the square root of two, but twice as many reads are that in square roots of a scale.
    if hits < HITS or hits <= expected or halves > hits / 2:
        return 0.0
    return float(hits * np.log(hits / max(expected, 1e-9)) - hits + expected)
