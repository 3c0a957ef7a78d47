"""Which kind of index for how many cells, how large its parts are, and how many cells it is trained on.

What of the rule ``python -m benchmarks.search`` shows on a million cells, two cores:

- inverted lists, about twice the root of the number of cells, of which a few are visited;
- a code is one bit a dimension (RaBitQ, Gao and Long 2024, arXiv 2405.12497): of 384 dimensions it finds what a byte
  each (SQ8) finds, in a sixth of the memory.

What was found in trials whose scripts are not kept: up to `MAX_EXACT` cells a scan of all is fast enough; under
`BIT_DIMENSIONS` dimensions a bit is coarse, and a byte as fast; twice as many lists take longer to make and are no
faster to search; 4-bit product quantizers find less; a graph takes far longer to make, and cannot be merged.
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
"""From so many dimensions on a bit of each is enough to find candidates by."""

PART_BYTES, PART_ROWS = 128 * 2**20, 2**20
"""A part of an index is built in memory, where it takes up to twice as much as in the end."""

PER_LIST, MIN_SAMPLE = 64, 65_536
"""Cells that an index is trained on: so many a list, and at least so many for its codes."""


def resolve(spec: IndexSpec, n: int, dimension: int) -> str:
    """Return the factory for `n` cells: the one asked for, or with ``"auto"`` the one that the rule of the module says.

    Raises
    ------
    InputError
        If no index of so many cells fits into the memory asked for, or if the factory means nothing.
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
        f"at most {spec.memory / 2**20:,.0f} MB, as --memory says",
        "allow more, or take --index exact, which takes none and is slow",
    )


def lists(n: int) -> int:
    """Return how many inverted lists `n` cells are to have: about twice the root, a power of two."""
    return max(MIN_LISTS, min(MAX_LISTS, 1 << round(math.log2(2 * math.sqrt(max(1, n))))))


def part_rows(spec: IndexSpec, factory: str, dimension: int) -> int:
    """Return how many cells a part is to have, so that building one never takes much memory."""
    if factory == EXACT:
        return PART_ROWS
    from scvec.index import kinds

    return int(max(1, min(PART_ROWS, min(PART_BYTES, spec.memory) // kinds.bytes_per_cell(factory, dimension))))


def sample_rows(factory: str, dimension: int, n: int) -> int:
    """Return how many of `n` cells an index is to be trained on."""
    if factory == EXACT:
        return 0
    from scvec.index import kinds

    return min(n, max(MIN_SAMPLE, PER_LIST * kinds.lists(factory, dimension)))
