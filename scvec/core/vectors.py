"""Vectors, dense and sparse, scaled to unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.core.types import Bools, Doubles, Floats

SAME = 1e-6
"""Cosine distance up to which two cells are the same one: vectors of equal expression in float32 differ by less."""


def lengths(vectors: NDArray[Any]) -> Doubles:
    """Return (n,) the lengths of (n, d) vectors, in float64."""
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)))


def unit_vectors(vectors: NDArray[Any], norms: NDArray[Any] | None = None) -> tuple[Floats, Bools]:
    """Return (n, d) unit vectors, and (n,) which of them are zero and stay so.

    Parameters
    ----------
    vectors
        (n, d) of any length.
    norms
        (n,) their lengths, where the caller has them; the division is done in their precision. None: `lengths`.
    """
    norms = lengths(vectors) if norms is None else norms
    empty = norms == 0
    return np.asarray(vectors / np.where(empty, 1.0, norms)[:, None], np.float32), empty


def unit_rows(cells: sp.csr_matrix[np.float32]) -> sp.csr_matrix[np.float32]:
    """Return sparse cells scaled to unit length; empty ones stay empty."""
    squares = sp.csr_matrix((cells.data.astype(np.float64) ** 2, cells.indices, cells.indptr), shape=cells.shape)
    norms = np.sqrt(np.asarray(squares @ np.ones(cells.shape[1])))
    scale = np.repeat(1.0 / np.where(norms > 0, norms, 1.0), np.diff(cells.indptr))
    return sp.csr_matrix(((cells.data * scale).astype(np.float32), cells.indices, cells.indptr), shape=cells.shape)
