"""The loops of views. Imports Numba, so import it only where it is used.

Each row is computed alone and in the order of its values: the same bits in any batch, with any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scvec.core.jit import EXACT, FUSED, jit


@jit(FUSED)
def project_rows(
    data: Any, indices: Any, indptr: Any, place: Any, weights: Any, bias: Any, out: Any, lo: Any, hi: Any
) -> None:
    """Write the bias plus the sum of each value times its gene's weights to `out`, for rows [lo, hi)."""
    d = weights.shape[1]
    for i in range(lo, hi):
        for k in range(d):
            out[i, k] = bias[k]
        for p in range(indptr[i], indptr[i + 1]):
            at = place[indices[p]]
            if at >= 0:
                value = data[p]
                for k in range(d):
                    out[i, k] += value * weights[at, k]


@jit(EXACT)
def rank_rows(
    data: Any, indices: Any, indptr: Any, place: Any, m: Any, amounts: Any, ground: Any, lo: Any, hi: Any
) -> None:
    """Write rank over that of genes that are not expressed, scaled to unit length, for the values of rows [lo, hi).

    `ground` receives what a gene that is not expressed has, after the mean rank is subtracted. Ties share their mean
    rank. A value of a gene without a place gets zero.
    """
    longest = 0
    for i in range(lo, hi):
        longest = max(longest, indptr[i + 1] - indptr[i])
    values, where = np.empty(longest, np.float32), np.empty(longest, np.int64)
    for i in range(lo, hi):
        n = 0
        for p in range(indptr[i], indptr[i + 1]):
            amounts[p] = 0.0
            if place[indices[p]] >= 0 and data[p] > 0:
                values[n], where[n] = data[p], p
                n += 1
        zeros = m - n
        lowest, mean = (zeros + 1) / 2, (m + 1) / 2
        order = np.argsort(values[:n])
        squares = zeros * (lowest - mean) ** 2
        j = 0
        while j < n:
            k = j
            while k + 1 < n and values[order[k + 1]] == values[order[j]]:
                k += 1
            rank = zeros + (j + k) / 2 + 1
            for t in range(j, k + 1):
                amounts[where[order[t]]] = rank - lowest
            squares += (k - j + 1) * (rank - mean) ** 2
            j = k + 1
        scale = 1 / np.sqrt(squares) if squares > 0 else 0.0
        for t in range(n):
            amounts[where[t]] *= scale
        ground[i] = (lowest - mean) * scale


@jit(FUSED)
def multiply_rows(points: Any, weights: Any, bias: Any, out: Any, lo: Any, hi: Any) -> None:
    """Write the bias plus the points times the weights to `out`, for rows [lo, hi)."""
    d, n = weights.shape
    for i in range(lo, hi):
        for k in range(n):
            out[i, k] = bias[k]
        for j in range(d):
            value = np.float64(points[i, j])
            for k in range(n):
                out[i, k] += value * weights[j, k]
