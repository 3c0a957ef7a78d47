"""Vectors, dense and sparse, scaled to unit length."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def unit_rows(cells: sp.csr_matrix[np.float32]) -> sp.csr_matrix[np.float32]:
    """Return cells scaled to length one; empty ones stay empty."""
    squares = sp.csr_matrix((cells.data.astype(np.float64) ** 2, cells.indices, cells.indptr), shape=cells.shape)
    lengths = np.sqrt(np.asarray(squares @ np.ones(cells.shape[1])))
    scale = np.repeat(1.0 / np.where(lengths > 0, lengths, 1.0), np.diff(cells.indptr))
    return sp.csr_matrix(((cells.data * scale).astype(np.float32), cells.indices, cells.indptr), shape=cells.shape)
