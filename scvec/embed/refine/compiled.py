"""The loops of `scvec.embed.refine.train`. Imports Numba, so import it only where it is used.

Each element of a result is summed in one order, so that training has the same bits with any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scvec.core.jit import EXACT, FUSED, jit


@jit(EXACT)
def drop(
    data: Any, genes: Any, indptr: Any, rows: Any, dropped: Any, drawn: Any, values: Any, own: Any, starts: Any
) -> None:
    """Write rows of a matrix, each without a share of its values and then scaled to unit length.

    `drawn` has a number from 0 to 1 for each value: those below the share of their row are dropped. Zeros are too.
    """
    n, at = 0, 0
    for i in range(len(rows)):
        starts[i] = n
        squares = 0.0
        for p in range(indptr[rows[i]], indptr[rows[i] + 1]):
            value = data[p]
            # Written in any case, and overwritten by the next one if it is dropped: a branch would be mispredicted.
            values[n], own[n] = value, genes[p]
            kept = (drawn[at] >= dropped[i]) & (value != 0)
            squares += np.float64(value) * np.float64(value) * kept
            n += kept
            at += 1
        scale = 1.0 / np.sqrt(squares) if squares > 0 else 1.0
        for j in range(starts[i], n):
            values[j] = np.float32(values[j] * scale)
    starts[len(rows)] = n


@jit(FUSED)
def add_outer(data: Any, genes: Any, indptr: Any, vectors: Any, out: Any) -> None:
    """Add the product of the transposed (n, g) matrix and (n, d) vectors to (g, d) `out`."""
    d = vectors.shape[1]
    for i in range(len(vectors)):
        for p in range(indptr[i], indptr[i + 1]):
            # Unsigned, as Numba would check for a negative position, and the loop below would not be vectorised.
            gene, row = np.uint64(genes[p]), np.uint64(i)
            for k in range(d):
                out[gene, k] += data[p] * vectors[row, k]


@jit(FUSED)
def descend(value: Any, speed: Any, gradient: Any, decay: Any, momentum: Any, rate: Any) -> None:
    """Take a step with Nesterov momentum and weight decay, in place: of (g, d) `value` and its `speed`."""
    for i in range(len(value)):
        for k in range(value.shape[1]):
            slope = gradient[i, k] + decay * value[i, k]
            speed[i, k] = momentum * speed[i, k] + slope
            value[i, k] -= rate * (slope + momentum * speed[i, k])
