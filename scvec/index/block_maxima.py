"""The greatest product of each query with each block of vectors, in a Triton kernel that writes no other product.

Imports Triton, which reads ``TRITON_INTERPRET`` at import; import it only where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import triton
import triton.language as tl

from scvec.index.device_scan import BLOCK

if TYPE_CHECKING:
    import torch

BLOCKS_AT_ONCE = 256
"""Blocks that one program goes through: enough to hide its start, few enough that all processors end together."""


@dataclass(frozen=True)
class Shape:
    """How the kernel is cut.

    Attributes
    ----------
    queries
        Queries of one program, a power of 2, at least 16.
    warps
        Warps of one program.
    stages
        Blocks of vectors that are on their way at a time.
    """

    queries: int = 128
    warps: int = 4
    stages: int = 3


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - pointers, numbers and constants
    queries,
    vectors,
    maxima,
    n_queries,
    n_blocks,
    blocks_at_once,
    d: tl.constexpr,
    n_halves: tl.constexpr,
    at_once: tl.constexpr,
    block: tl.constexpr,
    size: tl.constexpr,
    stages: tl.constexpr,
):
    # Programs that run at the same time differ in their queries first, so that they read the same vectors, from L2.
    rows = tl.program_id(0) * at_once + tl.arange(0, at_once)
    first = tl.program_id(1) * blocks_at_once
    last = tl.minimum(first + blocks_at_once, n_blocks)
    columns = tl.arange(0, size)
    query = queries + rows.to(tl.int64)[:, None] * (2 * d) + columns[None, :]
    within = tl.arange(0, block)[:, None] * (n_halves * d) + columns[None, :]
    vector = vectors + first.to(tl.int64) * (block * n_halves * d) + within
    maximum = maxima + first.to(tl.int64) * n_queries + rows
    if d == size:
        # The queries stay where they are, and the only loop is over blocks, so that loads run ahead of products.
        high, low = tl.load(query), tl.load(query + d)
        for _ in tl.range(first, last, num_stages=stages):
            coarse = tl.load(vector)
            products = tl.dot(low, tl.trans(coarse))
            if n_halves == 2:
                products = tl.dot(high, tl.trans(tl.load(vector + d)), products)
            products = tl.dot(high, tl.trans(coarse), products)
            tl.store(maximum, tl.max(products, axis=1))
            vector += block * n_halves * d
            maximum += n_queries
    else:
        for _ in range(first, last):
            products = tl.zeros((at_once, block), tl.float32)
            for at in tl.range(0, d, size, num_stages=stages):
                high, low, coarse = tl.load(query + at), tl.load(query + d + at), tl.load(vector + at)
                products = tl.dot(low, tl.trans(coarse), products)
                if n_halves == 2:
                    products = tl.dot(high, tl.trans(tl.load(vector + d + at)), products)
                products = tl.dot(high, tl.trans(coarse), products)
            tl.store(maximum, tl.max(products, axis=1))
            vector += block * n_halves * d
            maximum += n_queries


def shape(dimension: int) -> Shape:
    """Return the cut for padded dimensions: with many, 4 warps have too few registers."""
    return Shape() if dimension == chunk(dimension) else Shape(warps=8)


def by_triton(
    queries: torch.Tensor, vectors: torch.Tensor, out: torch.Tensor, memory: int, cut: Shape | None = None
) -> None:
    """Compute `device_scan.Maxima` in one kernel, which takes no memory.

    Parameters
    ----------
    queries
        (m, 2, d) float16, contiguous: queries in halves; m is a multiple of the cut's.
    vectors
        (n, h, d) float16, contiguous: vectors in halves; n is a multiple of `BLOCK`.
    out
        (n / `BLOCK`, m) float32, contiguous.
    memory
        Not used.
    cut
        How the kernel is cut; None: `shape`.
    """
    del memory
    m, _, d = queries.shape
    cut, n_blocks, run = cut or shape(d), len(out), cast("Any", _kernel)
    run[m // cut.queries, triton.cdiv(n_blocks, BLOCKS_AT_ONCE)](
        queries,
        vectors,
        out,
        m,
        n_blocks,
        BLOCKS_AT_ONCE,
        d=d,
        n_halves=vectors.shape[1],
        at_once=cut.queries,
        block=BLOCK,
        size=chunk(d),
        stages=cut.stages,
        num_warps=cut.warps,
        enable_fp_fusion=True,
    )


def chunk(dimension: int) -> int:
    """Return how many dimensions are multiplied at a time: a power of 2 that divides a padded dimension."""
    return next(one for one in (64, 32, 16) if dimension % one == 0)
