"""The loops of `scvec.embed.contributions`. Imports Numba: to be imported where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np

from scvec.core.jit import EXACT, SUMS, jit


@jit(SUMS)
def products(
    genes: Any, indptr: Any, packed: Any, n_genes: Any, tile: Any, vectors: Any, out: Any, lo: Any, hi: Any
) -> None:
    """Write for rows [lo, hi) the scalar products of their genes' packed weights with the row's vector to `out`.

    One tile of columns after the other, as in `scvec.embed.compiled.project_rows`.
    """
    padded = len(packed) // n_genes
    own = np.zeros(tile, np.float32)
    out[indptr[lo] : indptr[hi]] = 0
    for first in range(0, padded, tile):
        wide = min(tile, padded - first)
        base = n_genes * first
        for i in range(lo, hi):
            own[:] = 0
            for k in range(min(wide, vectors.shape[1] - first)):
                own[k] = vectors[i, first + k]
            for p in range(indptr[i], indptr[i + 1]):
                at = base + np.int64(genes[p]) * wide
                total = np.float32(0)
                for k in range(wide):
                    total += own[k] * packed[at + k]
                out[p] += total


@jit(EXACT)
def add_rows(data: Any, genes: Any, indptr: Any, scales: Any, codes: Any, sums: Any) -> None:
    """Add the values of each row, times its scale, to its group's `sums` in float64; a row of code -1 is in none."""
    for i in range(len(codes)):
        code = codes[i]
        if code >= 0:
            for p in range(indptr[i], indptr[i + 1]):
                sums[code, genes[p]] += scales[i] * np.float64(data[p])
