"""Sparse cells read on some genes: as a dense matrix, as ranks, or projected."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scvec.core.jit import over_rows
from scvec.core.types import Doubles, Floats, Ints
from scvec.views.view import Cells

ROWS = 1024


def places(genes: Ints, g: int) -> Ints:
    """Return (g,) the position of each gene in `genes`; -1 if it is not there."""
    place = np.full(g, -1, np.int64)
    place[genes] = np.arange(len(genes))
    return place


def projected(known: Cells, genes: Ints, weights: Floats, bias: Floats) -> Floats:
    """Return (n, d) the values of `genes` times their (m, d) weights, plus the (d,) bias."""
    from scvec.views import compiled

    out, place = np.empty((known.shape[0], weights.shape[1]), np.float32), places(genes, known.shape[1])
    parts = known.data, known.indices, known.indptr, place, np.ascontiguousarray(weights, np.float32), bias

    def rows(lo: int, hi: int) -> None:
        compiled.project_rows(*parts, out, lo, hi)

    over_rows(rows, known.shape[0], ROWS)
    return out


def ranked(known: Cells, genes: Ints) -> tuple[Floats, Doubles]:
    """Return what a gene's rank adds, for each value of `known`, and (n,) what each gene of a cell has before.

    A cell's ranks on `genes`, minus their mean, are a vector of unit length: it has the second at genes that are not
    expressed, and the sum of both at the others.
    """
    from scvec.views import compiled

    amounts, ground = np.zeros(len(known.data), np.float32), np.zeros(known.shape[0])
    parts = known.data, known.indices, known.indptr, places(genes, known.shape[1]), len(genes)

    def rows(lo: int, hi: int) -> None:
        compiled.rank_rows(*parts, amounts, ground, lo, hi)

    over_rows(rows, known.shape[0], ROWS)
    return amounts, ground


def dense_ranks(known: Cells, genes: Ints) -> Floats:
    """Return (n, m) centred ranks of the genes of each cell, as unit vectors."""
    amounts, ground = ranked(known, genes)
    added = sp.csr_matrix((amounts, known.indices, known.indptr), shape=known.shape)[:, genes].toarray()
    return np.asarray(added + ground[:, None], np.float32)
