"""The same cells twice in a reference, found by what they express and not by their names."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.atlas.reference import Atlas
from scvec.core.arrow import vectors_from_arrow
from scvec.core.types import Bools, Floats, Ints
from scvec.core.vectors import SAME
from scvec.store import Snapshot

FEW_GENES = 20
"""Cells with fewer expressed genes may be equal by chance."""

CLOSE = 1e-3
"""The relative difference between values up to which they are equal: those of counts and of their logarithms."""

SEARCHED = 1000
"""Cells of an extension that are looked for in the atlas."""

FIX = "the same cells vote twice; leave one of the files out"


def note_twins(logged: sp.csr_matrix[np.float32]) -> list[str]:
    """Return a note if some of (n, g) log-normalised cells occur twice; none if they do not."""
    n = int(twins(logged).sum())
    return [f"{n:,} of {logged.shape[0]:,} cells equal another one in all genes: {FIX}"] if n else []


def twins(logged: sp.csr_matrix[np.float32]) -> Bools:
    """Return (n,) whether a cell equals one before it, given (n, g) log-normalised cells."""
    found, first = np.zeros(logged.shape[0], bool), dict[bytes, int]()
    for i in range(logged.shape[0]):
        genes, values = _row(logged, i)
        if len(genes) < FEW_GENES:
            continue
        before = first.setdefault(genes.tobytes(), i)
        found[i] = before != i and np.allclose(values, _row(logged, before)[1], rtol=CLOSE)
    return found


def _row(matrix: sp.csr_matrix[np.float32], i: int) -> tuple[NDArray[np.int32], Floats]:
    part = slice(matrix.indptr[i], matrix.indptr[i + 1])
    return matrix.indices[part], matrix.data[part]


def note_known(atlas: Atlas, cells: Snapshot, rows: Ints) -> list[str]:
    """Return a note if cells that are added to an atlas are in it already; none if they are not.

    Parameters
    ----------
    atlas
        The atlas before they were added.
    cells
        Its table with them.
    rows
        (m,) the row ids of those that were added, ascending.
    """
    if not len(rows):
        return []
    some = rows[np.unique(np.linspace(0, len(rows) - 1, SEARCHED, dtype=np.int64))]
    places = np.searchsorted(np.asarray(cells.read(["row"])["row"]), some)
    vectors = vectors_from_arrow(cells.take(places, ["vector"])["vector"])
    n = int((atlas.search(vectors, 1).distances[:, 0] <= SAME).sum())
    looked = f"{n:,} of {len(some):,} added cells" + (" that were looked for" if len(some) < len(rows) else "")
    return [f"{looked} are in the atlas already (at distance 0): {FIX}"] if n else []
