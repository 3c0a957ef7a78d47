"""The kind of index for a number of cells, the size of its parts, and the number of cells to train it on.

``python -m benchmarks.search`` shows, on a million cells and two cores:

- inverted lists, about twice the square root of the number of cells, of which a few are visited, serve well;
- a code of one bit per dimension (RaBitQ, Gao and Long 2024, arXiv 2405.12497) finds as much in 384 dimensions as one
  byte per dimension (SQ8), in a sixth of the memory.

Earlier trials, whose scripts were not kept, showed: up to `MAX_EXACT` cells, a scan of all is fast enough; below
`BIT_DIMENSIONS` dimensions a bit is coarse, and a byte as fast; twice as many lists take longer to build and are no
faster to search; 4-bit product quantizers find less; a graph takes far longer to build, and cannot be merged.
"""

from __future__ import annotations

import math

from scvec.errors import InputError
from scvec.index.lance import is_lance
from scvec.index.make import EXACT
from scvec.index.spec import IndexSpec

AUTO = "auto"
MAX_EXACT = 50_000
MIN_LISTS, MAX_LISTS = 64, 16_384
BIT_DIMENSIONS = 128
"""From this many dimensions on, one bit of each is enough to find candidates."""

PART_BYTES, PART_ROWS = 128 * 2**20, 2**20
"""The size of a part. It is built in memory, where it takes up to twice its final size."""

PER_LIST, MIN_SAMPLE = 64, 65_536
"""Cells to train an index on: so many per list, and at least so many for its codes."""


def resolve(spec: IndexSpec, n: int, dimension: int) -> str:
    """Return the factory for `n` cells: the one in `spec`, or for ``"auto"`` the one that the module's rule gives.

    Raises
    ------
    InputError
        If no index of so many cells fits into the memory allowed, or if the factory is invalid.
    """
    if spec.factory != AUTO:
        if spec.factory != EXACT and not is_lance(spec.factory):
            from scvec.index import kinds

            kinds.make(spec.factory, dimension)
        return spec.factory
    if n <= MAX_EXACT:
        return EXACT
    from scvec.index import kinds

    codes = ("SQ8", "RaBitQ") if dimension < BIT_DIMENSIONS else ("RaBitQ",)
    factories = [f"IVF{lists(n)},{code}" for code in codes]
    taken = {one: n * kinds.bytes_per_cell(one, dimension) + 4 * lists(n) * dimension for one in factories}
    for factory in factories:
        if taken[factory] <= spec.memory:
            return factory
    least = min(taken.values())
    raise InputError(
        f"an index of {n:,} cells of {dimension} dimensions takes {least / 2**20:,.0f} MB",
        f"at most the {spec.memory / 2**20:,.0f} MB of `memory`",
        "allow more, or use the index 'exact', which needs none and is slow",
    )


def lists(n: int) -> int:
    """Return the number of inverted lists for `n` cells: about twice the square root, a power of two."""
    return max(MIN_LISTS, min(MAX_LISTS, 1 << round(math.log2(2 * math.sqrt(max(1, n))))))


def part_rows(spec: IndexSpec, factory: str, dimension: int) -> int:
    """Return the number of cells in a part, so that building one never takes much memory."""
    if factory == EXACT:
        return PART_ROWS
    from scvec.index import kinds

    return int(max(1, min(PART_ROWS, min(PART_BYTES, spec.memory) // kinds.bytes_per_cell(factory, dimension))))


def sample_rows(factory: str, dimension: int, n: int) -> int:
    """Return how many of `n` cells to train an index on."""
    if factory == EXACT:
        return 0
    from scvec.index import kinds

    return min(n, max(MIN_SAMPLE, PER_LIST * kinds.lists(factory, dimension)))
