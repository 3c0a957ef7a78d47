"""Cells as sentences: the genes that a cell expresses most, ordered by expression."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.core.types import Ints
from scvec.embed.projection import by_value, normalise
from scvec.embed.recipe import TARGET_SUM
from scvec.ingest.cells.scale import Values
from scvec.interpret.readout.spec import ReadoutSpec

Sentences = NDArray[np.int32]
"""(n, N) positions of genes in a table, -1 where a cell expresses fewer."""


def sentences(
    batch: sp.csr_matrix[np.float32],
    values: Values,
    columns: sp.csr_matrix[np.float32],
    spec: ReadoutSpec,
    first: int,
) -> Sentences:
    """Return the (n, N) sentences of a batch of cells of a matrix; N is at most the number of genes in the table.

    Parameters
    ----------
    batch, values
        (n, n_vars) cells, and what their values are.
    columns
        (n_vars, g) from `aligner`: its columns are the table's genes.
    spec
        How many genes, and whether their order is shuffled.
    first
        Position of the first cell in its file.
    """
    # The total does not change the order, and makes counts and log1p values agree.
    found = ranked(normalise(batch, values, TARGET_SUM, columns), min(spec.n_genes, columns.shape[1]))
    if spec.ablation == "shuffled-order":
        found = shuffled(found, spec.random_state, first)
    return found


def ranked(known: sp.csr_matrix[np.float32], n: int) -> Sentences:
    """Return the columns of each cell's n largest values above zero, the largest first; ties by column."""
    cells, order, rank = by_value(known)
    kept = order[(rank < n) & (known.data[order] > 0)]  # values above zero have the first ranks
    found = np.full((known.shape[0], n), -1, np.int32)
    start = np.searchsorted(cells[kept], np.arange(known.shape[0]))
    found[cells[kept], np.arange(len(kept)) - start[cells[kept]]] = known.indices[kept]
    return found


def shuffled(found: Sentences, random_state: int, first: int) -> Sentences:
    """Return sentences whose genes are shuffled, for each cell by the seed and the cell's position."""
    mixed = found.copy()
    for row, length in enumerate(lengths(found).tolist()):
        order = np.random.default_rng((random_state, first + row)).permutation(length)
        mixed[row, :length] = found[row, order]
    return mixed


def lengths(found: Sentences) -> Ints:
    """Return (n,) number of genes in each sentence."""
    return np.asarray((found >= 0).sum(axis=1), np.int64)
