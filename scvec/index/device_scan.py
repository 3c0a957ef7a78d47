"""The greatest products of queries with vectors on a torch device, without a top list over all of them.

10,000 queries have 3.3e11 scores with 33 million vectors. Only the greatest of each block of `BLOCK` vectors is kept.
The w vectors of greatest score lie in the w blocks of greatest maximum: any other block has w blocks above it, hence w
vectors above each of its own. Only these blocks are looked into, with float32 products. So no neighbour can be lost, no
list can overflow, and no shape depends on the data: the device computes on without waiting for the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from scvec.index import halves

if TYPE_CHECKING:
    import torch

BLOCK = 128
"""Vectors in a block: of these only the greatest score is kept."""

GROUP = 64
"""Blocks in a group: the greatest blocks are looked for in the groups of greatest maximum, by the same argument."""

FEW = 8
"""Up to this many times as many blocks as vectors to find, all products are kept: blocks are looked into one by one."""

QUERIES = 128
"""Queries at a time are a multiple of this, padded with zeros."""

MOST_QUERIES = 2048
"""Most queries at a time; with these a vector is read often enough to be worth its way from the device's memory."""

Maxima: TypeAlias = "Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], None]"
"""Writes to (n / `BLOCK`, m) the greatest products of (m, 2, d) queries and blocks of (n, h, d) vectors, in halves; the
last argument is the number of bytes that it may take."""


@dataclass(frozen=True)
class Greatest:
    """The vectors with the greatest products, by query.

    Attributes
    ----------
    scores
        (m, w) products, float32.
    places
        (m, w) rows of the vectors.
    outside
        (m,) no vector in a block that was not looked into has a greater product; infinite if that is not certain.
    """

    scores: torch.Tensor
    places: torch.Tensor
    outside: torch.Tensor

    @classmethod
    def none(cls, m: int, width: int, device: torch.device) -> Greatest:
        """Return w places for m queries, to be taken."""
        import torch

        scores = torch.full((m, width), -torch.inf, device=device)
        return cls(scores, torch.full((m, width), -1, device=device), scores.new_full((m,), -torch.inf))

    def at(self, places: torch.Tensor) -> Greatest:
        """Return the same vectors under other places."""
        return Greatest(self.scores, places, self.outside)

    def take(self, some: slice, other: Greatest) -> None:
        """Write the greatest of these and of others, of some of the queries, in place."""
        import torch

        scores, places = (
            torch.cat([self.scores[some], other.scores], 1),
            torch.cat([self.places[some], other.places], 1),
        )
        self.scores[some], order = torch.topk(scores, self.scores.shape[1], dim=1)
        self.places[some] = torch.gather(places, 1, order)
        self.outside[some] = torch.maximum(self.outside[some], other.outside)


def at_once(n: int, width: int, scratch: int) -> int:
    """Return how many queries are compared at a time with n vectors, so that their maxima take half of `scratch`."""
    blocks = -(-n // BLOCK) + GROUP
    each = 4 * blocks + 16 * width * GROUP
    return max(QUERIES, min(MOST_QUERIES, scratch // 2 // each // QUERIES * QUERIES))


def greatest(
    queries: torch.Tensor, vectors: torch.Tensor, n: int, width: int, scratch: int, maxima: Maxima
) -> Greatest:
    """Return the vectors with the `width` greatest products, or all if there are fewer.

    Parameters
    ----------
    queries
        (m, d) float32 unit vectors; m is at most `at_once`.
    vectors
        (N, h, D) in `halves`, contiguous; N is a multiple of `BLOCK`.
    n
        The first n vectors are meant, the others are zero.
    width
        Products to find.
    scratch
        Bytes of the device's memory to take, about.
    maxima
        What computes the greatest products of blocks.
    """
    import torch

    blocks = len(vectors) // BLOCK
    _, n_halves, d = vectors.shape
    fit = scratch // (8 * BLOCK * d * (2 * n_halves - 1))  # in half of the memory, as float32
    if blocks <= max(width, min(FEW * width, fit)):
        return _of_all(queries, vectors, n, width, scratch)
    parts = halves.halves(queries, 2, -(-len(queries) // QUERIES) * QUERIES)
    groups = -(-blocks // GROUP)
    found = torch.empty((groups * GROUP, len(parts)), device=queries.device)
    found[blocks:] = -torch.inf
    maxima(parts, vectors, found[:blocks], scratch // 4)
    tops, chosen = _highest(found[:, : len(queries)], width)
    del found
    return _inside(queries, vectors, n, (tops / halves.UNIT, chosen), scratch // 4)


def by_torch(queries: torch.Tensor, vectors: torch.Tensor, out: torch.Tensor, memory: int) -> None:
    """Compute `Maxima` with matrix products whose scores are written, in tiles, and read once."""
    import torch

    pairs = halves.pairs(vectors.shape[1])
    asked = torch.cat([queries[:, query] for query, _ in pairs], 1).T
    tile = max(1, memory // (BLOCK * (4 * len(queries) + 8 * len(asked))))
    mixed = _mixes(queries.device)
    for first in range(0, len(out), tile):
        some = vectors[first * BLOCK : (first + tile) * BLOCK]
        wide = torch.cat([some[:, vector] for _, vector in pairs], 1)
        scores = torch.mm(wide, asked, out_dtype=torch.float32) if mixed else wide.float() @ asked.float()
        torch.amax(scores.view(-1, BLOCK, len(queries)), 1, out=out[first : first + tile])


@contextmanager
def whole_float32() -> Iterator[None]:
    """Compute float32 products in full: with TF32 or bfloat16 they would be off by more than the margin."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _mixes(device: torch.device) -> bool:
    """Return whether torch multiplies float16 matrices into float32 there: on GPUs, from 2.8 on."""
    import torch

    if device.type != "cuda":
        return False
    try:
        one = torch.ones((16, 16), dtype=torch.float16, device=device)
        return torch.mm(one, one, out_dtype=torch.float32).dtype == torch.float32
    except (TypeError, RuntimeError):
        return False


def _of_all(queries: torch.Tensor, vectors: torch.Tensor, n: int, width: int, scratch: int) -> Greatest:
    """Return the greatest of all products."""
    import torch

    asked, wide, best = _scaled(queries, vectors.shape[2]), halves.whole(vectors), []
    for some in torch.split(asked, max(1, scratch // (16 * len(vectors)))):
        scores = wide @ some.T
        scores[n:] = -torch.inf
        best.append(_highest(scores, min(width, n)))
    scores, places = (torch.cat(some) for some in zip(*best, strict=True))
    return Greatest(scores, places, torch.full((len(queries),), -torch.inf, device=queries.device))


def _highest(maxima: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (m, width) greatest numbers of each column, descending, and their rows; a multiple of `GROUP` rows."""
    import torch

    groups = torch.unflatten(maxima, 0, (-1, GROUP))
    if len(groups) <= width:
        tops = torch.topk(maxima.T.contiguous(), width, dim=1)
        return tops.values, tops.indices
    best = torch.topk(groups.amax(1).T.contiguous(), width, dim=1).indices
    rows = (best[:, :, None] * GROUP + torch.arange(GROUP, device=best.device)).flatten(1)
    tops = torch.topk(maxima[rows, torch.arange(len(rows), device=rows.device)[:, None]], width, dim=1)
    return tops.values, torch.gather(rows, 1, tops.indices)


def _inside(
    queries: torch.Tensor,
    vectors: torch.Tensor,
    n: int,
    chosen: tuple[torch.Tensor, torch.Tensor],
    scratch: int,
) -> Greatest:
    """Return the greatest products within each query's chosen blocks, given with their maxima."""
    import torch

    tops, blocks = chosen
    m, width = blocks.shape
    _, n_halves, d = vectors.shape
    asked, shelves = _scaled(queries, d), vectors.view(-1, BLOCK, n_halves, d)
    # Halves, their float32 (of both, before they are added), and a list of scores and places.
    each = width * BLOCK * (d * (2 * n_halves + 4 * (2 * n_halves - 1)) + 24)
    allowed = 2 * halves.margin(d, n_halves)
    found = []
    for some in torch.split(torch.arange(m, device=blocks.device), max(1, scratch // each)):
        looked = halves.whole(shelves[blocks[some]].flatten(0, 1)).view(len(some), width * BLOCK, d)
        scores = torch.bmm(looked, asked[some, :, None])[:, :, 0]
        # What a kernel says of a block is true of its products, or the query is searched elsewhere.
        off = (scores.view(len(some), width, BLOCK).amax(2) - tops[some]).abs().amax(1)
        outside = torch.where(off <= allowed, tops[some, -1], torch.inf)
        places = (blocks[some][:, :, None] * BLOCK + torch.arange(BLOCK, device=blocks.device)).flatten(1)
        best = torch.topk(scores.masked_fill(places >= n, -torch.inf), min(width, n), dim=1)
        found.append(Greatest(best.values, torch.gather(places, 1, best.indices), outside))
    return Greatest(
        torch.cat([one.scores for one in found]),
        torch.cat([one.places for one in found]),
        torch.cat([one.outside for one in found]),
    )


def _scaled(queries: torch.Tensor, d: int) -> torch.Tensor:
    """Return queries padded to d dimensions, divided by the scale of the vectors' halves."""
    import torch

    return torch.nn.functional.pad(queries / halves.SCALE, (0, d - queries.shape[1]))
